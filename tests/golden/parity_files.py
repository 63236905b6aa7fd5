# SPDX-License-Identifier: Apache-2.0
"""Do the packages of others read what `tapir convert` writes, with equal tensors, logits and ids?

    python parity_files.py [--hf DIR]    the tiny models of this folder, and with --hf that model too

Each model is written as GGUF (in its own dtype, f16, bf16, q8_0), as a Hugging Face directory by way of .h5 and by way of GGUF:
the gguf package lists and dequantises the tensors, safetensors and h5py load them, transformers computes logits from each file
(`gguf_file=`) in f32, which must equal those of the original where no dtype was changed, and encodes texts to the same ids with
the same chat template.
Needs: torch, transformers, safetensors, gguf, h5py.
"""
import os
import sys
import tempfile

import oracle

TINY = "tiny-llama", "tiny-qwen2", "tiny-rope3", "tiny-chat"
TEXTS = ["Hello, world!  It's 12345 o'clock;\tna\u00efve \u4f60\u597d x=3.14 I'LL e\u0301 \U0001f600 <|im_end|>\n", "  a\n\n b  "]
# transformers has no use for rope_freqs.weight, in which GGUF keeps Llama 3's scaling
PASSED_OVER = {"tiny-rope3"}


class Check:
    def __init__(self, options, work):
        self.options, self.work, self.failed = options, work, 0
        self.torch, self.transformers = oracle.module("torch"), oracle.module("transformers")
        self.gguf, self.safetensors, self.h5py = oracle.module("gguf"), oracle.module("safetensors.torch"), oracle.module("h5py")
        self.transformers.utils.logging.set_verbosity_error()
        self.transformers.utils.logging.disable_progress_bar()

    def say(self, ok, name, text):
        self.failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name}: {text}")

    def convert(self, source, name, *more):
        oracle.run_tapir(self.options, "convert", source, os.path.join(self.work, name), *more)
        return os.path.join(self.work, name)

    def logits(self, path, gguf=None):
        model = self.transformers.AutoModelForCausalLM.from_pretrained(path, gguf_file=gguf, dtype=self.torch.float32).eval()
        rows = model.get_input_embeddings().weight.shape[0]
        ids = self.torch.tensor([[(7 * i * i + 3 * i + 1) % min(rows, 4000) for i in range(24)]])
        with self.torch.no_grad():
            return model(ids).logits

    def close(self, name, path, want, most, gguf=None):
        worst = (self.logits(path, gguf) - want).abs().max().item() / want.abs().max().item()
        self.say(worst <= most, name, f"logits differ by {worst:.3g} of the largest, at most {most:g}")

    def tensors(self, name, folder, gguf, h5):
        """The same tensors through each package."""
        want = {}
        for file in sorted(os.listdir(folder)):
            if file.endswith(".safetensors"):
                want.update(self.safetensors.load_file(os.path.join(folder, file)))
        with self.h5py.File(h5) as f:
            bad = [k for k, v in want.items()
                   if not (self.torch.tensor(f["model/" + k.replace(".", "/")][()]).to(v.dtype) == v).all()]
        self.say(not bad, name, f"{len(want)} tensors through h5py, {len(bad)} of them not equal {bad[:3]}")
        reader = self.gguf.GGUFReader(gguf)
        got = {t.name: self.gguf.quants.dequantize(t.data, t.tensor_type).reshape(tuple(reversed(t.shape.tolist())))
               for t in reader.tensors}
        embed = self.torch.tensor(got["token_embd.weight"])
        same = bool((embed == want["model.embed_tokens.weight"].float()).all())
        self.say(same, name, f"{len(got)} tensors through gguf, the embedding is {'' if same else 'not '}equal")

    def blocks(self, name, folder, gguf):
        """q8_0 as the gguf package makes it."""
        name, down = name + ", q8_0", "model.layers.0.mlp.down_proj.weight"
        for file in sorted(os.listdir(folder)):
            if file.endswith(".safetensors"):
                w = self.safetensors.load_file(os.path.join(folder, file)).get(down)
                if w is not None and w.shape[1] % 32 == 0:
                    want = self.gguf.quants.quantize(w.float().numpy(), self.gguf.GGMLQuantizationType.Q8_0)
                    got = next(t.data for t in self.gguf.GGUFReader(gguf).tensors if t.name == "blk.0.ffn_down.weight")
                    self.say(bool((got == want).all()), name, f"{want.size} bytes as the gguf package quantises them")

    def tokenizer(self, name, want, path, gguf=None):
        tok = self.transformers.AutoTokenizer.from_pretrained(path, gguf_file=gguf)
        ids = all(tok(t).input_ids == want(t).input_ids for t in TEXTS)
        chat = tok.chat_template == want.chat_template
        self.say(ids and chat, name, f"{len(TEXTS)} texts with {'' if ids else 'not '}the same ids, {'the same' if chat else 'another'} template")

    def model(self, source, name):
        want = self.logits(source)
        gguf, h5 = self.convert(source, name + ".gguf"), self.convert(source, name + ".h5")
        by_h5, by_gguf = self.convert(h5, name + "-h5"), self.convert(gguf, name + "-gguf")
        self.tensors(name, source, gguf, h5)
        self.close(name + ", directory from .h5", by_h5, want, 0)
        self.close(name + ", directory from .gguf", by_gguf, want, 2e-6)
        if name in PASSED_OVER:
            print(f"     {name}: transformers passes over rope_freqs.weight in GGUF, so there is nothing to compare")
        else:
            self.close(name + ", GGUF", self.work, want, 0, name + ".gguf")
            for dtype, most in ("f16", 2e-3), ("bf16", 1.5e-2), ("q8_0", 6e-2):
                self.convert(source, f"{name}-{dtype}.gguf", "--dtype", dtype)
                if dtype == "q8_0":
                    self.blocks(name, source, os.path.join(self.work, f"{name}-q8_0.gguf"))
                self.close(f"{name}, GGUF in {dtype}", self.work, want, most, f"{name}-{dtype}.gguf")
        if os.path.exists(os.path.join(source, "tokenizer.json")):
            tok = self.transformers.AutoTokenizer.from_pretrained(source)
            self.tokenizer(name + ", directory from .h5", tok, by_h5)
            self.tokenizer(name + ", directory from .gguf", tok, by_gguf)
            if "Digits" not in str(tok.backend_tokenizer.pre_tokenizer):  # transformers passes over tokenizer.ggml.pre
                self.tokenizer(name + ", GGUF", tok, self.work, name + ".gguf")


def main():
    parser = oracle.arguments(__doc__, "hf", "tapir")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        check = Check(options, work)
        for name in TINY:
            check.model(str(oracle.HERE / name), name)
        if options.hf and os.path.isdir(options.hf):
            check.model(options.hf, os.path.basename(os.path.normpath(options.hf)))
    sys.exit(check.failed > 0)


if __name__ == "__main__":
    main()
