# SPDX-License-Identifier: Apache-2.0
"""Writes tiny-chat/: a Hugging Face directory with everything (model, tokenizer, chat template) and data to train it on.

    python golden_tiny_chat.py

The model is random: 2 layers, 48 wide, 320 rows. The tokenizer is byte-level BPE with a few merges and the tokens of chatml.
train.jsonl and test.jsonl hold sums of small numbers. Needs: torch, transformers, tokenizers.
"""
import json
import os

import oracle

torch, transformers, tokenizers = (oracle.module(name) for name in ("torch", "transformers", "tokenizers"))
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def samples(count, start):
    out = []
    for i in range(count):
        a, b = (start + 7 * i) % 10, (3 * start + 11 * i) % 10
        out.append({"prompt": f"What is {a} + {b} ?", "completion": f"{a}+{b} = {a + b}\n#### {a + b}", "answer": str(a + b)})
    return out


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny-chat")
    os.makedirs(folder, exist_ok=True)
    tok = tokenizers.Tokenizer(tokenizers.models.BPE())
    tok.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    lines = samples(64, 1)
    tok.train_from_iterator([s["prompt"] + " " + s["completion"] for s in lines] + ["user assistant system"] * 20, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<|endoftext|>", eos_token="<|im_end|>",
                                                pad_token="<|im_end|>", unk_token="<|endoftext|>")
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, vocab_size=320, tie_word_embeddings=True, max_position_embeddings=256,
                                      bos_token_id=0, eos_token_id=2, pad_token_id=2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    for name, data in (("train", lines), ("test", samples(16, 5))):
        with open(os.path.join(folder, name + ".jsonl"), "w") as f:
            f.writelines(json.dumps(s) + "\n" for s in data)


if __name__ == "__main__":
    main()
