# SPDX-License-Identifier: Apache-2.0
"""The program as a user meets it, on the tiny model of tests/golden/tiny-chat: what it prints, what it leaves, how it refuses.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_cli.py
"""
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("TAPIR_BUILD", "build")
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
TAPIR = os.path.join(BUILD, "tapir")
MODEL = os.path.join(SOURCE, "tests", "golden", "tiny-chat")
TRAIN, TEST = os.path.join(MODEL, "train.jsonl"), os.path.join(MODEL, "test.jsonl")
FAST = ["--model", MODEL, "--dtype", "f32", "--template", "chatml", "--quiet"]


def tapir(*args, text="", env=None):
    return subprocess.run([TAPIR, *map(str, args)], input=text, capture_output=True, text=True, timeout=300, env=env)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name, content=None):
        path = os.path.join(self.dir, name)
        if content is not None:
            with open(path, "w") as f:
                f.write(content)
        return path

    def ok(self, *args, **more):
        r = tapir(*args, **more)
        self.assertEqual(r.returncode, 0, r.stderr + r.stdout)
        return r

    def refused(self, code, *words, args, **more):
        """One line on standard error with these words, nothing on standard output."""
        r = tapir(*args, **more)
        self.assertEqual(r.returncode, code, r.stderr + r.stdout)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        self.assertEqual(r.stdout, "")
        for word in words:
            self.assertIn(str(word), r.stderr)

    def finetune(self, out, *more, **kw):
        return self.ok("finetune", *FAST, "--data", TRAIN, "--blocks", 8, "--lr", 1e-2, "--out", out, *more, **kw)

    def log(self, out, key="grad_norm"):
        with open(os.path.join(out, "log.jsonl")) as f:
            return [r for r in map(json.loads, f) if key in r]


class Help(Case):
    def test_every_command_has_a_manual(self):
        overview = self.ok("--help").stdout
        for name in "finetune generate eval score tokenize convert merge inspect verify diff recover env".split():
            self.assertIn(name, overview)
            self.assertIn(name, self.ok(name, "--help").stdout)

    def test_env(self):
        self.assertIn("kernels:", self.ok("env").stdout)


class BadInput(Case):
    def test_usage(self):
        self.refused(2, "nearest", "finetune", args=["finetun"])
        self.refused(2, "--blocks", args=["finetune", "--block", 3])
        self.refused(2, "--lr", "abc", args=["finetune", *FAST, "--data", TRAIN, "--out", self.path("o"), "--lr", "abc"])
        self.refused(2, "--blocks", "1 to", args=["finetune", *FAST, "--data", TRAIN, "--out", self.path("o"), "--blocks", 0])
        self.refused(2, "--method", "diablo", args=["finetune", *FAST, "--data", TRAIN, "--out", self.path("o"), "--method", "x"])
        self.refused(2, "--model", args=["generate", "--prompt", "x"])
        self.refused(2, "--seed needs", args=["generate", "--seed"])

    def test_model(self):
        self.refused(1, "no/such", args=["generate", "--model", "no/such", "--prompt", "x"])
        self.refused(1, "empty.gguf", args=["generate", "--model", self.path("empty.gguf", ""), "--prompt", "x"])

    def test_data(self):
        out = ["--out", self.path("o")]
        run = ["finetune", *FAST, *out, "--blocks", 8, "--data"]
        self.refused(1, "missing.jsonl", args=run + [self.path("missing.jsonl")])
        self.refused(1, "a.jsonl:2:", args=run + [self.path("a.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt": \n')])
        self.refused(1, "b.jsonl", args=run + [self.path("b.jsonl", "\n\n")])
        self.refused(1, "c.jsonl:1", args=run + [self.path("c.jsonl", '{"question": "a"}\n')])

    def test_targets_and_blocks(self):
        run = ["finetune", *FAST, "--data", TRAIN, "--out", self.path("o")]
        self.refused(1, "w_proj", "q_proj", args=run + ["--targets", "w_proj"])
        self.refused(1, "81 blocks", "48", "q_proj", args=run + ["--blocks", 81])

    def test_out(self):
        self.refused(1, "--out", args=["finetune", *FAST, "--data", TRAIN, "--out", self.path("f", "a file") + "/x"])

    def test_finished_run(self):
        out = self.path("run")
        self.finetune(out, "--steps", 1)
        self.refused(1, "--overwrite", args=["finetune", *FAST, "--data", TRAIN, "--blocks", 8, "--steps", 1, "--out", out])
        self.finetune(out, "--steps", 1, "--overwrite")

    def test_adapter(self):
        self.refused(1, "none.h5", args=["generate", *FAST, "--prompt", "x", "--adapter", self.path("none.h5")])
        out = self.path("run")
        self.finetune(out, "--steps", 1)
        with open(os.path.join(out, "adapter.h5"), "rb") as f:
            whole = f.read()
        with open(self.path("cut.h5"), "wb") as f:
            f.write(whole[:len(whole) // 2])
        self.refused(1, "cut.h5", args=["generate", *FAST, "--prompt", "x", "--adapter", self.path("cut.h5")])


class Training(Case):
    def test_it_learns_and_leaves_a_run_folder(self):
        out = self.path("run")
        self.finetune(out, "--epochs", 6, "--batch", 8, "--valid", TEST, "--eval-every", 16, "--sample-every", 24)
        log = self.log(out)
        self.assertEqual([r["step"] for r in log], list(range(1, 49)))
        # The embedding is random and frozen, so there is a floor; that it falls steadily is what is shown here.
        self.assertLess(sum(r["loss"] for r in log[-8:]), sum(r["loss"] for r in log[:8]) - 8 * 0.1)
        for key in "loss lr grad_norm tokens target_tokens seconds tokens_per_s peak_mib".split():
            self.assertTrue(math.isfinite(log[0][key]), key)
        for name in "run.json log.jsonl adapter.h5 last.h5 loss.svg".split():
            self.assertTrue(os.path.getsize(os.path.join(out, name)) > 0, name)
        self.assertEqual([r["validation"] for r in self.log(out, "validation")], [16, 32, 48])
        self.assertEqual(len(self.log(out, "sample")), 2)
        self.assertEqual(len(self.log(out, "end")), 1)
        base = json.loads(self.ok("eval", *FAST, "--data", TEST).stdout)
        tuned = json.loads(self.ok("eval", *FAST, "--data", TEST, "--adapter", out).stdout)
        self.assertLess(tuned["value"], base["value"])

    def test_same_seed_same_bits(self):
        logs = []
        for name, more in (("a", []), ("b", []), ("c", ["--seed", 1])):
            self.finetune(self.path(name), "--steps", 12, "--dropout", 0.1, *more)
            logs.append([(r["loss"], r["grad_norm"]) for r in self.log(self.path(name))])
        self.assertEqual(logs[0], logs[1])
        self.assertNotEqual(logs[0], logs[2])
        with open(os.path.join(self.path("a"), "adapter.h5"), "rb") as a, open(os.path.join(self.path("b"), "adapter.h5"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_methods(self):
        for method in ("lora", "full"):
            out = self.path(method)
            self.ok("finetune", *FAST, "--data", TRAIN, "--method", method, "--lr", 3e-3, "--epochs", 3, "--out", out)
            log = self.log(out)
            self.assertLess(log[-1]["loss"], log[0]["loss"])
        model = os.path.join(self.path("full"), "model.h5")
        loss = json.loads(self.ok("eval", "--model", model, *FAST[2:], "--data", TRAIN).stdout)["value"]
        self.assertLess(loss, self.log(self.path("full"))[0]["loss"])

    def test_accumulation_counts_targets(self):
        self.finetune(self.path("a"), "--steps", 4, "--batch", 8, "--no-shuffle", "--clip", 0)
        self.finetune(self.path("b"), "--steps", 4, "--batch", 2, "--accum", 4, "--no-shuffle", "--clip", 0)
        for a, b in zip(self.log(self.path("a")), self.log(self.path("b"))):
            self.assertEqual(a["target_tokens"], b["target_tokens"])
            self.assertLess(abs(a["loss"] - b["loss"]), 1e-4 * a["loss"])
            self.assertLess(abs(a["grad_norm"] - b["grad_norm"]), 1e-3 * a["grad_norm"])

    def test_packing_and_grouping(self):
        for more in (["--pack"], ["--group-by-length"]):
            out = self.path(more[0][2:])
            self.finetune(out, "--epochs", 2, *more)
            self.assertTrue(all(math.isfinite(r["loss"]) for r in self.log(out)))

    def test_going_on_from_an_adapter(self):
        a, b = self.path("a"), self.path("b")
        self.finetune(a, "--epochs", 4)
        self.finetune(b, "--steps", 2, "--adapter", a)
        self.assertLess(self.log(b)[0]["loss"], self.log(a)[0]["loss"])

    def test_config_file_and_command_line(self):
        config = self.path("c.json", json.dumps({"steps": 3, "lr": 0.005, "no-shuffle": True}))
        self.ok("finetune", *FAST, "--data", TRAIN, "--blocks", 8, "--config", config, "--steps", 2, "--out", self.path("o"))
        log = self.log(self.path("o"))
        self.assertEqual(len(log), 2)
        with open(os.path.join(self.path("o"), "run.json")) as f:
            self.assertEqual(json.load(f)["options"]["lr"], 0.005)

    def test_looking_before_training(self):
        shown = self.ok("finetune", *FAST, "--data", TRAIN, "--blocks", 8, "--show-samples", 2).stdout
        self.assertIn("mask", shown)
        self.assertIn("<|im_start|>user", shown)
        plan = self.ok("finetune", *FAST, "--data", TRAIN, "--blocks", 8, "--dry-run").stdout
        self.assertIn("trainable", plan)

    def test_interrupt_saves_and_exits_130(self):
        out = self.path("run")
        p = subprocess.Popen([TAPIR, "finetune", *FAST, "--data", TRAIN, "--blocks", "8", "--steps", "1000000", "--out", out])
        for _ in range(600):
            time.sleep(0.1)
            if os.path.exists(os.path.join(out, "log.jsonl")) and os.path.getsize(os.path.join(out, "log.jsonl")) > 0:
                break
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(60), 130)
        self.ok("generate", *FAST, "--prompt", "x", "--max-new", 2, "--adapter", out)

    def test_nan_stops_with_its_place(self):
        model = self.path("model")
        shutil.copytree(MODEL, model)
        with open(os.path.join(model, "model.safetensors"), "r+b") as f:
            size = int.from_bytes(f.read(8), "little")
            at = json.loads(f.read(size))["model.layers.1.mlp.down_proj.weight"]["data_offsets"][0]
            f.seek(8 + size + at)
            f.write(bytes.fromhex("0000c07f"))
        r = tapir("finetune", "--model", model, *FAST[2:], "--data", TRAIN, "--blocks", 8, "--steps", 2, "--out", self.path("o"))
        self.assertEqual(r.returncode, 1)
        for word in ("step 1", "NaN", "line", "model.layers.1.mlp.down_proj"):
            self.assertIn(word, r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)


class Using(Case):
    def test_tokenize_both_ways(self):
        text = "What is 1 + 2 ?\nüñî 漢字 <|im_end|>\n"
        ids = self.ok("tokenize", "--model", MODEL, text=text).stdout
        self.assertEqual(len(ids.splitlines()), 2)
        back = self.ok("tokenize", "--model", MODEL, "--decode", text=ids).stdout
        self.assertEqual([json.loads(line) for line in back.splitlines()], text.splitlines())

    def test_score(self):
        lines = '{"prompt": "What is 1 + 2 ?", "completion": "3"}\n{"text": "hello"}\n'
        got = [json.loads(line) for line in self.ok("score", *FAST, "--data", "-", text=lines).stdout.splitlines()]
        self.assertEqual(len(got), 2)
        self.assertTrue(all(r["logprob"] < 0 and r["tokens"] > 0 for r in got))

    def test_generate(self):
        a = self.ok("generate", *FAST, "--prompt", "hello", "--max-new", 8).stdout
        b = self.ok("generate", *FAST, "--prompt", "-", "--max-new", 8, text="hello").stdout
        self.assertEqual(a, b)
        c = [self.ok("generate", *FAST, "--prompt", "x", "--max-new", 8, "--temperature", 1, "--top-k", 20, "--seed", s).stdout
             for s in (1, 1, 2)]
        self.assertEqual(c[0], c[1])

    def test_eval_metrics(self):
        for metric in ("number", "exact", "choice", "loss"):
            out = self.path(metric + ".jsonl")
            r = json.loads(self.ok("eval", *FAST, "--data", TEST, "--metric", metric, "--limit", 5, "--max-new", 8, "--out", out).stdout)
            self.assertEqual(sorted(r), ["high", "low", "metric", "n", "value"])
            self.assertLessEqual(r["low"], r["value"])
            self.assertLessEqual(r["value"], r["high"])

    def test_inspect(self):
        self.assertIn("model.embed_tokens.weight", self.ok("inspect", MODEL).stdout)
        self.finetune(self.path("o"), "--steps", 1)
        self.assertIn("block_A", self.ok("inspect", os.path.join(self.path("o"), "adapter.h5")).stdout)

    def test_ref_gives_the_same(self):
        a, b = (json.loads(self.ok("eval", *FAST, "--data", TEST, "--device", d).stdout)["value"] for d in ("cpu", "ref"))
        self.assertLess(abs(a - b), 1e-5)


if __name__ == "__main__":
    if not os.path.exists(TAPIR):
        print(f"{TAPIR} is not there: build first")
        sys.exit(77)
    unittest.main(verbosity=1)
