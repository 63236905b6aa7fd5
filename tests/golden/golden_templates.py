# SPDX-License-Identifier: Apache-2.0
r"""Writes templates.jsonl: conversations as transformers' apply_chat_template renders them.

    python golden_templates.py            rewrite templates.jsonl
    python golden_templates.py --check    render again and compare with templates.jsonl

Two kinds of lines. {"template", "jinja", "bos", "eos"} is a template's text, by which Tapir recognises it: once with \n in its
literals and once with real line breaks, for model files hold either. {"template", "messages", "generation", "text"} is a
conversation, whether the header of an answer follows it, and the rendered string; null where the template refuses.
smollm2 is also compared with the model's own template if TAPIR_MODEL_HF is set.
Needs: transformers, tokenizers.
"""
import os
import sys

import oracle

GOLDEN = oracle.HERE / "templates.jsonl"

TURN = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
ANSWER = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
SYSTEM = "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nDEFAULT<|im_end|>\\n' }}{% endif %}"


def chatml(default):
    system = SYSTEM.replace("DEFAULT", default) if default else ""
    return "{% for message in messages %}" + system + TURN + "{% endfor %}" + ANSWER


TEMPLATES = {
    "smollm2": dict(jinja=chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"), bos="<|im_start|>", eos="<|im_end|>"),
    "chatml": dict(jinja=chatml(None), bos="<s>", eos="<|im_end|>"),
    "qwen2": dict(jinja=chatml("You are a helpful assistant."), bos=None, eos="<|im_end|>"),
    "llama3": dict(
        jinja="{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "
        "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
        "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        bos="<|begin_of_text|>", eos="<|eot_id|>"),
    "mistral": dict(
        jinja="{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
        bos="<s>", eos="</s>"),
}


def talk(*turns):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[who], "content": text} for who, text in turns]


CONVERSATIONS = [
    talk(("u", "What is 2 + 3?")),
    talk(("u", "What is 2 + 3?"), ("a", "2+3 = 5\n#### 5")),
    talk(("s", "Answer with a number only."), ("u", "What is 2 + 3?")),
    talk(("s", "Answer with a number only."), ("u", "What is 2 + 3?"), ("a", "5"), ("u", "And 5 + 7?")),
    talk(("u", "Hi"), ("a", "Hello! How can I help?"), ("u", "Tell me a joke."), ("a", "No."), ("u", "Please!")),
    talk(("u", "  spaces at both ends\t\n"), ("a", "\n  kept or trimmed  ")),
    talk(("u", ""), ("a", "")),
    talk(("s", ""), ("u", "An empty system message.")),
    talk(("u", "Is <|im_end|> a token? And </s>, <|eot_id|>, [/INST]?"), ("a", "<|im_start|>system\nNo.")),
    talk(("u", "Größe, 数学, привет 👩‍💻"), ("a", "it's \"quoted\" \\n & <b>bold</b>")),
    talk(("a", "The assistant speaks first."), ("u", "May it?")),
    talk(("u", "One."), ("s", "A late system message."), ("u", "Two.")),
]


def rows():
    transformers, tokenizers = oracle.module("transformers"), oracle.module("tokenizers")
    for name, template in TEMPLATES.items():
        spellings = [template["jinja"], template["jinja"].replace("\\n", "\n")]
        for spelling in sorted(set(spellings), key=spellings.index):
            yield {"template": name, **template, "jinja": spelling}
        bare = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bare, bos_token=template["bos"], eos_token=template["eos"])
        for messages in CONVERSATIONS:
            for generation in (False, True):
                texts = {render(tokenizer, spelling, messages, generation) for spelling in spellings}
                assert len(texts) == 1, texts
                yield {"template": name, "messages": messages, "generation": generation, "text": texts.pop()}


def render(tokenizer, jinja, messages, generation):
    try:
        return tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False, add_generation_prompt=generation)
    except Exception as e:  # the template's own raise_exception
        assert "roles" in str(e), e
        return None


def model_disagrees(folder):
    transformers = oracle.module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer.chat_template != TEMPLATES["smollm2"]["jinja"].replace("\\n", "\n")


parser = oracle.arguments(__doc__, "hf")
parser.add_argument("--check", action="store_true")
options = parser.parse_args()
made = list(rows())
if options.hf and os.path.exists(options.hf) and model_disagrees(options.hf):
    sys.exit("the model's chat_template is not the one kept here as smollm2")
if options.check:
    same = made == oracle.read_jsonl(GOLDEN)
    print(f"{GOLDEN.name}: {len(made)} lines, {'equal' if same else 'DIFFERENT'}")
    sys.exit(not same)
oracle.write_jsonl(GOLDEN, made)
print(f"{GOLDEN.name}: {len(made)} lines, {os.path.getsize(GOLDEN):,} bytes")
