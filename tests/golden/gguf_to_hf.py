# SPDX-License-Identifier: Apache-2.0
"""Makes the Hugging Face directory of SmolLM2-135M-Instruct that the other scripts compare with.

    python gguf_to_hf.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --out DIR

The weights are those of the GGUF file, dequantised to f32 by transformers. They move into a fresh model, since the one that
transformers reads keeps a note of its quantisation. transformers makes a plain ByteLevel of the pre-tokenizer `smollm`; the
model's own one splits every digit off first, so that is put back.
Needs: torch, transformers, gguf, safetensors.
"""
import json
import os

import oracle

parser = oracle.arguments(__doc__, "gguf")
parser.add_argument("--out", required=True)
options = parser.parse_args()
oracle.need(options, "gguf")
torch, transformers = oracle.module("torch"), oracle.module("transformers")

source = dict(pretrained_model_name_or_path=os.path.dirname(os.path.abspath(options.gguf)), gguf_file=os.path.basename(options.gguf))
read = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
config = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "_name_or_path")}
model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
model.load_state_dict(read.state_dict())
model.save_pretrained(options.out)
transformers.AutoTokenizer.from_pretrained(**source).save_pretrained(options.out)

path = os.path.join(options.out, "tokenizer.json")
with open(path, encoding="utf-8") as f:
    tokenizer = json.load(f)
digits = {"type": "Digits", "individual_digits": True}
tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, tokenizer["pre_tokenizer"]]}
with open(path, "w", encoding="utf-8") as f:
    json.dump(tokenizer, f, ensure_ascii=False)
print(f"{options.out}: {sum(p.numel() for p in model.parameters()):,} parameters")
