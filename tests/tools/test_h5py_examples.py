# SPDX-License-Identifier: Apache-2.0
"""Tapir's files and h5py: the two examples, one in C and one in Python, read what the other wrote.  Skipped where h5py is
not there (Debian's package python3-h5py).

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_h5py_examples.py
"""
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(os.environ.get("TAPIR_BUILD", "build"))
SOURCE = os.path.abspath(os.environ.get("TAPIR_SOURCE", "."))
EXAMPLES = os.path.join(SOURCE, "tools", "examples")
TAPIR = os.path.join(BUILD, "tapir")
CHAT = os.path.join(SOURCE, "tests", "golden", "tiny-chat")

try:
    import h5py
    import numpy
except ImportError:
    print("h5py is not there: apt-get install python3-h5py")
    sys.exit(77)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def run_ok(self, *command):
        r = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, cwd=self.dir)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def finetune(self, out, *more):
        self.run_ok(TAPIR, "finetune", "--model", CHAT, "--template", "chatml", "--data", os.path.join(CHAT, "train.jsonl"),
                    "--blocks", 8, "--quiet", "--out", self.path(out), "--steps", 2, "--save-every", 2, *more)

    def show(self, path):
        return self.run_ok(sys.executable, os.path.join(EXAMPLES, "read_with_h5py.py"), path)


class Examples(Case):
    def test_c_reads_what_h5py_wrote_and_the_other_way(self):
        program = self.path("checkpoint")
        self.run_ok(*shlex.split(os.environ.get("CC", "cc")), "-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror",
                    "-I" + SOURCE, os.path.join(EXAMPLES, "checkpoints.c"), "-L" + BUILD, "-Wl,-rpath," + BUILD, "-ltapir",
                    "-lm", "-o", program)
        self.run_ok(sys.executable, os.path.join(EXAMPLES, "read_with_h5py.py"), "--write", self.path("data.h5"))
        told = self.run_ok(program, "40", self.path("data.h5"))
        self.assertIn("resumed after step 20, 320 rows seen", told)
        self.assertIn("never stopped: yes", told)
        shown = self.show(self.path("checkpoint.h5"))
        for word in ("tapir_kind: training", "step: 20", "own/mean: float32 of 4 bytes, [5]", "optimizer/state/in/weight/m"):
            self.assertIn(word, shown)

    def test_what_h5py_wrote_is_verified(self):
        self.run_ok(sys.executable, os.path.join(EXAMPLES, "read_with_h5py.py"), "--write", self.path("data.h5"))
        listed = self.run_ok(TAPIR, "inspect", self.path("data.h5"))
        for word in ("half.table F16 [2, 3]", "x F32 [64, 5]", "data@rows = 64"):
            self.assertIn(word, listed)


class Values(Case):
    """h5py and the bytes of the safetensors file agree on every value."""

    def tensors(self):
        with open(os.path.join(CHAT, "model.safetensors"), "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
            data = f.read()
        return {k: (v, data[slice(*v["data_offsets"])]) for k, v in header.items() if k != "__metadata__"}

    def test_a_checkpoint_of_full_finetuning(self):
        for dtype in ("f32", "bf16"):
            self.finetune(dtype, "--method", "full", "--dtype", dtype, "--lr", 0)
            known = self.tensors()
            with h5py.File(self.path(dtype, "step-000002.h5"), "r") as f:
                for name, (about, raw) in known.items():
                    self.assertEqual(about["dtype"], "F32")
                    want = numpy.frombuffer(raw, "f4").reshape(about["shape"])
                    if dtype == "bf16":  # nearest even
                        bits = want.view("u4").astype("u8")
                        want = (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype("u4").view("f4")
                    got = f["model/" + name.replace(".", "/")][()]
                    self.assertEqual(got.dtype, numpy.float32)  # bf16 is shown as float32
                    self.assertTrue((got == want).all(), name)
                self.assertEqual(f.attrs["step"], 2)
                self.assertEqual(f["optimizer"].attrs["type"], b"adamw")
                if dtype == "bf16":
                    self.assertIn("master", f["optimizer/state/model/norm/weight"])
                config = f["config/train.json"][()].tobytes().decode()
                self.assertIn('"method": "full"', config)

    def test_tied_weights_are_one_data_set(self):
        self.finetune("full", "--method", "full", "--dtype", "f32")
        with h5py.File(self.path("full", "step-000002.h5"), "r") as f:
            a, b = f["model/lm_head/weight"], f["model/model/embed_tokens/weight"]
            self.assertEqual(h5py.h5o.get_info(a.id).addr, h5py.h5o.get_info(b.id).addr)
            self.assertEqual(a.attrs["name"].decode(), "model.embed_tokens.weight\nlm_head.weight")
        self.assertIn("the same as", self.show(self.path("full", "step-000002.h5")))

    def test_an_adapter(self):
        self.finetune("run", "--dtype", "bf16")
        shown = self.show(self.path("run", "adapter.h5"))
        self.assertIn("tapir_kind: adapter", shown)
        self.assertIn("adapter/model/layers/0/self_attn/q_proj/block_A: float32", shown)
        self.assertIn("config/adapter.json", shown)


if __name__ == "__main__":
    if not os.path.exists(TAPIR):
        print(f"{TAPIR} is not there: build first")
        sys.exit(77)
    unittest.main(verbosity=1)
