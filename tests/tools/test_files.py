# SPDX-License-Identifier: Apache-2.0
"""The commands about files as a user meets them: convert, merge, verify, diff, recover, inspect, on the tiny models of tests/golden.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_files.py

What the packages of others make of the files is in tests/golden/parity_files.py.
"""
import json
import os
import re
import shutil
import struct
import unittest

from test_cli import BUILD, FAST, MODEL, SOURCE, TEST, TRAIN, Case, tapir

TINY = [os.path.join(SOURCE, "tests", "golden", name) for name in ("tiny-llama", "tiny-qwen2", "tiny-rope3", "tiny-chat")]
TYPES = os.path.join(SOURCE, "tests", "golden", "gguf", "types.gguf")
PEFT = os.path.join(SOURCE, "tests", "golden", "peft-lora")
H5 = os.path.join(SOURCE, "tests", "golden", "h5")


def safetensors(folder):
    """name -> (dtype, shape, bytes) of a directory, and the metadata of its first file."""
    got, meta = {}, None
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            with open(os.path.join(folder, name), "rb") as f:
                blob = f.read()
            size = struct.unpack("<Q", blob[:8])[0]
            assert size % 8 == 0
            header = json.loads(blob[8:8 + size])
            meta = meta or header.get("__metadata__", {})
            for key, e in header.items():
                if key != "__metadata__":
                    begin, end = e["data_offsets"]
                    got[key] = e["dtype"], e["shape"], blob[8 + size + begin:8 + size + end]
    return got, meta


def texts(folder):
    got = {}
    for name in os.listdir(folder):
        if name.endswith((".json", ".jinja")) and "index" not in name and name != "golden.json":
            with open(os.path.join(folder, name), "rb") as f:
                got[name] = f.read()
    return got


class Files(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.no_leftovers)

    def no_leftovers(self):
        if os.path.isdir(self.dir):
            for _, folders, files in os.walk(self.dir):
                self.assertEqual([n for n in folders + files if ".tmp." in n], [])

    def convert(self, source, name, *options):
        self.ok("convert", source, self.path(name), *options)
        return self.path(name)

    def same(self, a, b):
        out = self.ok("diff", a, b).stdout
        self.assertEqual(len(out.splitlines()), 1, out)

    def differ(self, a, b):
        r = tapir("diff", a, b)
        self.assertEqual(r.returncode, 1, r.stderr)
        return r.stdout.splitlines()

    def meta(self, path):
        lines = [l[8:] for l in self.ok("inspect", path).stdout.splitlines() if l.startswith("meta ")]
        return dict(l.split(" = ", 1) for l in lines)

    def score(self, model, *more):
        lines = self.ok("score", "--model", model, "--dtype", "f32", "--template", "chatml", "--quiet", "--data", TEST, *more).stdout
        return [json.loads(l)["logprob"] for l in lines.splitlines()]

    def close(self, a, b, most):
        self.assertEqual(len(a), len(b))
        self.assertLess(max(abs(x - y) for x, y in zip(a, b)), most)

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()


class Convert(Files):
    def test_directory_to_h5_and_back(self):
        for model in TINY:
            with self.subTest(model):
                name = os.path.basename(model)
                back = self.convert(self.convert(model, name + ".h5"), name)
                (was, _), (got, meta) = safetensors(model), safetensors(back)
                self.assertEqual(was, got)
                self.assertEqual(meta["format"], "pt")
                self.assertEqual(texts(model), texts(back))

    def test_all_ways_round(self):
        for model in TINY:
            with self.subTest(model):
                name = os.path.basename(model)
                gguf = self.convert(model, name + ".gguf")
                h5 = self.convert(gguf, name + ".h5")
                again = self.convert(h5, name + "2.gguf")
                folder = self.convert(gguf, name)
                self.same(again, gguf)
                self.same(folder, model)
                self.same(self.convert(gguf, name + "3.gguf"), gguf)
                self.same(self.convert(folder, name + "4.h5"), model)

    def test_equal_content_equal_bytes(self):
        for end in (".h5", ".gguf"):
            self.assertEqual(self.read(self.convert(MODEL, "a" + end)), self.read(self.convert(MODEL, "b" + end)))

    def test_answers_stay(self):
        want, ids = self.score(MODEL), self.ok("tokenize", "--model", MODEL, text="What is 5 + 5 ?<|im_end|> x\n").stdout
        gguf = self.convert(MODEL, "m.gguf")
        for path in gguf, self.convert(MODEL, "m.h5"), self.convert(gguf, "m"), self.convert(gguf, "n.h5"):
            self.assertEqual(self.score(path), want)
            self.assertEqual(self.ok("tokenize", "--model", path, text="What is 5 + 5 ?<|im_end|> x\n").stdout, ids)
            self.assertEqual(self.ok("generate", "--model", path, "--quiet", "--prompt", "5 + 5", "--max-new", 8).stdout,
                             self.ok("generate", "--model", MODEL, "--quiet", "--prompt", "5 + 5", "--max-new", 8).stdout)

    def test_dtypes(self):
        for dtype, most in ("bf16", 2 ** -8), ("f16", 2 ** -10):
            gguf = self.convert(MODEL, dtype + ".gguf", "--dtype", dtype)
            listed = self.ok("inspect", gguf).stdout
            self.assertIn("input_layernorm.weight F32 [48]", listed)
            self.assertIn("embed_tokens.weight " + dtype.upper(), listed)
            h5 = self.convert(MODEL, dtype + ".h5", "--dtype", dtype)
            kinds = {l.split()[1] for l in self.differ(gguf, h5)[:-1]}
            self.assertTrue(all("norm" in k for k in kinds), kinds)  # GGUF keeps them f32
            config = json.loads(texts(self.convert(h5, dtype))["config.json"])
            self.assertEqual(config["dtype"], {"bf16": "bfloat16", "f16": "float16"}[dtype])
            self.assertEqual({t for t, _, _ in safetensors(self.path(dtype))[0].values()}, {dtype.upper()})
            for line in self.differ(gguf, MODEL)[:-1]:
                if line.startswith("differs"):
                    self.assertLess(float(re.search(r"max ([^,]*)", line)[1]), most)
        # rows of 48 and 80 are no multiple of 32: such matrices stay; tiny-llama has rows of 64
        r = self.ok("convert", MODEL, self.path("none.gguf"), "--dtype", "q8_0")
        self.assertIn("no multiple of 32", r.stderr)
        self.same(self.path("none.gguf"), MODEL)
        quant = self.convert(TINY[0], "q.gguf", "--dtype", "q8_0")
        self.assertIn("q_proj.weight Q8_0 [64, 64]", self.ok("inspect", quant).stdout)
        self.assertEqual(self.meta(quant)["general.file_type"], "7")
        back = self.convert(quant, "q.h5")
        self.assertNotIn("Q8_0", self.ok("inspect", back).stdout)  # quantised tensors become f32
        self.assertEqual({l.split()[0] for l in self.differ(back, quant)}, {"dtype", "total"})
        self.same(self.convert(back, "q2.gguf", "--dtype", "q8_0"), quant)

    def test_q8_0_blocks(self):
        """Each block against the rule, computed here."""
        weights, _ = safetensors(TINY[0])
        shape, raw = weights["model.layers.0.mlp.gate_proj.weight"][1:]
        x = struct.unpack(f"<{shape[0] * shape[1]}f", raw)
        blob = self.read(self.convert(TINY[0], "q.gguf", "--dtype", "q8_0"))
        f32 = lambda v: struct.unpack("<f", struct.pack("<f", v))[0]
        for i in range(0, 256, 32):
            block = x[i:i + 32]
            d = f32(max(map(abs, block)) / 127)
            r = f32(1 / d)
            q = [int(abs(v) + 0.5) * (1 if v > 0 else -1) for v in (f32(v * r) for v in block)]
            self.assertIn(struct.pack("<e32b", d, *q), blob)

    def test_shards(self):
        folder = self.convert(MODEL, "s", "--shard", 0.05)
        names = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
        self.assertGreater(len(names), 3)
        self.assertEqual(names[0], f"model-00001-of-{len(names):05}.safetensors")
        with open(os.path.join(folder, "model.safetensors.index.json")) as f:
            index = json.load(f)
        got, _ = safetensors(folder)
        self.assertEqual(set(index["weight_map"]), set(got))
        self.assertEqual(index["metadata"]["total_size"], sum(len(b) for _, _, b in got.values()))
        self.assertEqual(got, safetensors(MODEL)[0])
        self.assertEqual(self.score(folder), self.score(MODEL))
        self.assertEqual(self.meta(folder)["source_identity"], self.meta(self.convert(folder, "x.h5"))["source_identity"])

    def test_tied_weights_once(self):
        listed = self.ok("inspect", self.convert(MODEL, "m.h5")).stdout
        self.assertIn("lm_head.weight", listed)  # a second name
        self.assertLess(os.path.getsize(self.path("m.h5")), 1.3 * os.path.getsize(os.path.join(MODEL, "model.safetensors")))
        self.assertNotIn("lm_head.weight", safetensors(self.convert(self.path("m.h5"), "m"))[0])
        self.assertNotIn("lm_head", self.ok("inspect", self.convert(self.path("m.h5"), "m.gguf")).stdout)

    def test_identity_travels(self):
        out = self.path("run")
        self.finetune(out, "--steps", 2)
        h5 = self.convert(MODEL, "m.h5")
        gguf = self.convert(h5, "m.gguf")
        folder = self.convert(gguf, "m")
        identity = {self.meta(h5)["source_identity"], self.meta(gguf)["tapir.source_identity"], self.meta(folder)["source_identity"]}
        self.assertEqual(len(identity), 1)
        for path in h5, gguf, folder, self.convert(folder, "b.h5", "--dtype", "bf16"):
            self.score(path, "--adapter", out)

    def test_bare_tensors(self):
        self.same(self.convert(os.path.join(MODEL, "model.safetensors"), "t.h5"), os.path.join(MODEL, "model.safetensors"))
        self.assertIn("tensors", self.ok("inspect", self.path("t.h5")).stdout.splitlines()[0])
        self.same(self.convert(self.path("t.h5"), "t"), MODEL)
        self.refused(1, "config.json", args=["convert", self.path("t.h5"), self.path("t.gguf")])

    def test_overwrite(self):
        for name in "m.h5", "m.gguf", "m":
            path = self.convert(MODEL, name)
            self.refused(1, name, "there already", args=["convert", TINY[0], path])
            self.same(path, MODEL)
            self.convert(TINY[0], name, "--overwrite")
            self.assertEqual(tapir("diff", path, TINY[0]).returncode, 0)
            self.convert(path, name, "--overwrite")  # onto itself
            self.assertEqual(tapir("diff", path, TINY[0]).returncode, 0)
        self.path("f", "precious")
        self.refused(1, "no directory", args=["convert", MODEL, self.path("f"), "--overwrite"])
        os.makedirs(self.path("d/sub"))
        self.refused(1, "sub", args=["convert", MODEL, self.path("d"), "--overwrite"])
        os.makedirs(self.path("x.h5"))
        self.refused(1, "x.h5", args=["convert", MODEL, self.path("x.h5"), "--overwrite"])
        self.assertEqual(sorted(os.listdir(self.path("d"))), ["sub"])

    def test_refused(self):
        self.refused(2, "IN OUT", args=["convert", MODEL])
        self.refused(2, "unexpected", args=["convert", MODEL, self.path("a"), self.path("b")])
        self.refused(2, "--dtype", args=["convert", MODEL, self.path("a.h5"), "--dtype", "q4_0"])
        self.refused(1, "Q8_0", "GGUF", args=["convert", MODEL, self.path("a.h5"), "--dtype", "q8_0"])
        self.refused(1, "no/such", args=["convert", self.path("no/such"), self.path("a.h5")])
        self.refused(1, "no/folder", args=["convert", MODEL, self.path("no/folder/a.h5")])
        self.refused(1, "no/folder", args=["convert", MODEL, self.path("no/folder/a")])
        self.refused(1, "safetensors", args=["convert", MODEL, self.path("a.safetensors")])
        self.refused(1, "adapter", args=["convert", PEFT, self.path("a.h5")])
        shutil.copytree(MODEL, self.path("bad"))
        with open(self.path("bad/model.safetensors"), "r+b") as f:
            f.truncate(100000)
        for name in "o.h5", "o.gguf", "o":
            self.refused(1, "bad", args=["convert", self.path("bad"), self.path(name)])
            self.assertFalse(os.path.exists(self.path(name)))

    def test_damage_on_the_way(self):
        """Bytes of IN that are not what their hash says: OUT stays as it was."""
        h5 = self.convert(MODEL, "m.h5")
        blob = bytearray(self.read(h5))
        at = blob.find(safetensors(MODEL)[0]["model.layers.1.mlp.up_proj.weight"][2][:64])
        blob[at] ^= 1
        with open(h5, "wb") as f:
            f.write(blob)
        for name in "o.gguf", "o":
            path = self.convert(TINY[0], name)
            self.refused(1, "up_proj", "damaged", args=["convert", h5, path, "--overwrite"])
            self.assertEqual(tapir("diff", path, TINY[0]).returncode, 0)

    def test_tokenizers(self):
        """Each kind that GGUF has a name for comes back with the same ids; others are refused."""
        config = texts(MODEL)["config.json"]
        sample = "Hello, world!  It's 12345 o'clock;\tna\u00efve \u4f60\u597d x=3.14 I'LL e\u0301 \U0001f600 <|end|>\n"
        for kind in "smollm", "llama3", "qwen2", "llama2":
            with self.subTest(kind):
                folder = self.path(kind)
                shutil.copytree(MODEL, folder)
                for name in "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "model.safetensors":
                    os.remove(os.path.join(folder, name))
                shutil.copy(os.path.join(SOURCE, "tests", "golden", "tokenizers", kind + ".json"), os.path.join(folder, "tokenizer.json"))
                with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
                    f.write('{"bos_token": "<s>"}' if kind.startswith("llama") else "{}")
                self.enlarge(folder, json.loads(config), 800)
                r = self.ok("convert", folder, self.path(kind + ".gguf"))
                self.assertEqual(r.stderr, "")
                back = self.convert(self.path(kind + ".gguf"), kind + "-back")
                want = self.ok("tokenize", "--model", folder, text=sample).stdout
                self.assertEqual(self.ok("tokenize", "--model", self.path(kind + ".gguf"), text=sample).stdout, want)
                self.assertEqual(self.ok("tokenize", "--model", back, text=sample).stdout, want)
        shutil.copy(os.path.join(SOURCE, "tests", "golden", "tokenizers", "gpt2.json"), os.path.join(folder, "tokenizer.json"))
        self.refused(1, "no name in GGUF", args=["convert", folder, self.path("no.gguf")])

    def enlarge(self, folder, config, rows):
        """A model of zeros with a larger vocabulary."""
        tensors, _ = safetensors(MODEL)
        tensors["model.embed_tokens.weight"] = "F32", [rows, 48], bytes(rows * 48 * 4)
        header, at = {}, 0
        for name, (dtype, shape, data) in tensors.items():
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
            at += len(data)
        text = json.dumps(header).encode()
        with open(os.path.join(folder, "model.safetensors"), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + b"".join(d for _, _, d in tensors.values()))
        config["vocab_size"] = rows
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f)


class Merge(Files):
    def check(self, *method):
        out = self.path("run" + method[-1])
        self.finetune(out, "--steps", 6, *method)
        want, base = self.score(MODEL, "--adapter", out), self.score(MODEL)
        self.assertGreater(max(abs(a - b) for a, b in zip(want, base)), 1e-2)
        for name in "m.h5", "m.gguf", "m":
            line = self.ok("merge", "--model", MODEL, "--adapter", out, "--out", self.path(name), "--overwrite").stdout
            self.assertRegex(line, r"^merged \d+ weights; stored - exact: max \S+ \(\S+ of the largest value\), rms \S+ \(\S+ of theirs\)\n$")
            self.close(self.score(self.path(name)), want, 2e-4)
        self.same(self.path("m"), self.path("m.h5"))
        self.assertNotIn("source_identity", self.meta(self.path("m.h5")))
        self.refused(1, "--any-base", args=["score", "--model", self.path("m.h5"), "--adapter", out, "--data", TEST, "--quiet"])
        return out

    def test_diablo(self):
        self.check("--method", "diablo")

    def test_lora(self):
        self.check("--method", "lora")

    def test_rounding(self):
        out = self.path("run")
        self.finetune(out, "--steps", 3)
        got = {}
        for dtype in "f32", "bf16", "f16":
            line = self.ok("merge", "--model", MODEL, "--adapter", out, "--out", self.path(dtype), "--dtype", dtype).stdout
            numbers = re.findall(r"(\d\.?\d*(?:e-\d+)?)", line.split("exact:")[1])
            got[dtype] = [float(n) for n in numbers]
        for (dtype, eps) in ("f32", 2 ** -24), ("bf16", 2 ** -9), ("f16", 2 ** -12):
            relative_max, relative_rms = got[dtype][1], got[dtype][3]
            self.assertLessEqual(relative_max, eps * 2.1, got)
            self.assertTrue(eps / 8 < relative_rms < eps * 1.1, got)

    def test_peft_folder(self):
        with open(os.path.join(PEFT, "adapter_config.json")) as f:
            base = json.load(f).get("base_model_name_or_path") or ""
        model = next((m for m in TINY if os.path.basename(m) in base), None)
        if model is None:
            self.skipTest("the adapter of tests/golden/peft-lora names no tiny model")
        self.ok("merge", "--model", model, "--adapter", PEFT, "--out", self.path("m.h5"))
        self.assertNotEqual(self.differ(self.path("m.h5"), model), [])

    def test_refused(self):
        out = self.path("run")
        self.finetune(out, "--steps", 1)
        self.refused(2, "--adapter", args=["merge", "--model", MODEL, "--out", self.path("m")])
        self.refused(1, "--any-base", args=["merge", "--model", TINY[0], "--adapter", out, "--out", self.path("m")])
        self.refused(1, "none.h5", args=["merge", "--model", MODEL, "--adapter", self.path("none.h5"), "--out", self.path("m")])
        self.refused(1, "block_A", args=["merge", "--model", TINY[0], "--adapter", out, "--out", self.path("m"), "--any-base", "--quiet"])
        self.assertFalse(os.path.exists(self.path("m")))
        self.ok("merge", "--model", MODEL, "--adapter", os.path.join(out, "adapter.h5"), "--out", self.path("m.h5"))
        self.refused(1, "there already", args=["merge", "--model", MODEL, "--adapter", out, "--out", self.path("m.h5")])


class Look(Files):
    def test_verify(self):
        h5, gguf = self.convert(MODEL, "m.h5"), self.convert(MODEL, "m.gguf")
        lines = self.ok("verify", h5, gguf, MODEL).stdout.splitlines()
        self.assertEqual([l.split(": ")[0] for l in lines], [h5, gguf, MODEL])
        blob = bytearray(self.read(h5))
        at = blob.find(safetensors(MODEL)[0]["model.norm.weight"][2])
        blob[at + 5] ^= 16
        with open(self.path("bad.h5"), "wb") as f:
            f.write(blob)
        r = tapir("verify", self.path("bad.h5"), gguf, self.path("none"))
        self.assertEqual(r.returncode, 1)
        self.assertEqual(len(r.stdout.splitlines()), 3)
        self.assertIn("norm", r.stdout.splitlines()[0])
        self.assertIn("well", r.stdout.splitlines()[1])
        self.refused(2, "FILE", args=["verify"])

    def test_diff(self):
        a = self.convert(MODEL, "a.h5")
        blob = bytearray(self.read(os.path.join(MODEL, "model.safetensors")))
        shutil.copytree(MODEL, self.path("b"))
        at = blob.find(safetensors(MODEL)[0]["model.layers.0.self_attn.o_proj.weight"][2])
        value = struct.unpack("<f", blob[at:at + 4])[0]
        blob[at:at + 4] = struct.pack("<f", value + 0.5)
        with open(self.path("b/model.safetensors"), "wb") as f:
            f.write(blob)
        lines = self.differ(a, self.path("b"))
        self.assertEqual(len(lines), 2)
        self.assertEqual(lines[0], f"differs  model.layers.0.self_attn.o_proj.weight: max 0.5, rms {0.5 / 48:.6g}, 1 of 2304 values")
        self.assertEqual(lines[1], "total    19 tensors equal, 1 not")
        kinds = {l.split()[0] for l in self.differ(TINY[0], TINY[1])}
        self.assertEqual(kinds, {"shape", "differs", "extra", "total"} & kinds | {"extra", "total"})
        self.assertIn("missing", {l.split()[0] for l in self.differ(TINY[1], TINY[0])})
        self.refused(1, "none", args=["diff", a, self.path("none")])
        self.refused(2, "A B", args=["diff", a])

    def test_recover(self):
        self.refused(1, "none", args=["recover", self.path("none")])
        os.makedirs(self.path("run"))
        self.refused(1, "step-NNNNNN.h5", args=["recover", self.path("run")])
        good = self.read(self.convert(MODEL, "m.h5"))
        for step in 2, 10, 30, 40:
            with open(self.path(f"run/step-{step:06}.h5"), "wb") as f:
                f.write(good if step < 30 else good[:-200] if step == 30 else b"")
        with open(self.path("run/step-000099.h5.x"), "wb") as f:
            f.write(good)
        r = self.ok("recover", self.path("run"))
        self.assertEqual(r.stdout, self.path("run/step-000010.h5") + "\n")
        self.assertEqual(len(r.stderr.splitlines()), 2)
        self.assertTrue(all(l.startswith("skipped ") for l in r.stderr.splitlines()), r.stderr)
        for step in 2, 10:
            os.remove(self.path(f"run/step-{step:06}.h5"))
        r = tapir("recover", self.path("run"))
        self.assertEqual((r.returncode, r.stdout), (1, ""))

    def test_inspect_every_kind(self):
        out = self.path("run")
        self.finetune(out, "--steps", 1)
        kinds = {"model": self.convert(MODEL, "m.h5"), "adapter": os.path.join(out, "adapter.h5")}
        for kind, path in kinds.items():
            self.assertIn(f"Tapir HDF5, {kind}", self.ok("inspect", path).stdout.splitlines()[0])
        for path in MODEL, TYPES, PEFT, os.path.join(MODEL, "model.safetensors"):
            self.assertRegex(self.ok("inspect", path).stdout, r"total +\d+ tensors")
        for name in sorted(os.listdir(H5)):
            if name.endswith(".h5"):
                r = tapir("inspect", os.path.join(H5, name))
                self.assertIn(r.returncode, (0, 1))
                self.assertLessEqual(len(r.stderr.splitlines()), 1)

    def test_model_takes_h5(self):
        h5 = self.convert(MODEL, "m.h5")
        fast = ["--model", h5, *FAST[2:]]
        self.ok("generate", *fast, "--prompt", "5 + 5", "--max-new", 4)
        self.ok("score", *fast, "--data", TEST)
        self.ok("eval", *fast, "--data", TEST)
        self.ok("tokenize", "--model", h5, text="a b\n")
        self.ok("finetune", *fast, "--data", TRAIN, "--blocks", 8, "--steps", 2, "--out", self.path("run"))
        self.ok("merge", "--model", h5, "--adapter", self.path("run"), "--out", self.path("n.h5"))
        self.ok("generate", *fast, "--adapter", self.path("run"), "--prompt", "5 + 5", "--max-new", 4)

    def test_help(self):
        overview = self.ok("--help").stdout
        for name in "convert merge verify diff recover inspect".split():
            self.assertIn(name, overview)
            self.assertGreater(len(self.ok(name, "--help").stdout.splitlines()), 4)


if __name__ == "__main__":
    unittest.main()
