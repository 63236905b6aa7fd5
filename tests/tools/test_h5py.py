# SPDX-License-Identifier: Apache-2.0
"""Tapir and h5py read each other's files: groups of every size as h5py writes them, an adapter rewritten by h5py, and Tapir's own files
opened, read and extended by h5py.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_h5py.py      (needs h5py, numpy)
"""
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
except ImportError as e:
    print(f"needs h5py and numpy: {e}")
    sys.exit(77)

BUILD = os.environ.get("TAPIR_BUILD", "build")
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
TAPIR = os.path.join(BUILD, "tapir")
MODEL = os.path.join(SOURCE, "tests", "golden", "tiny-chat")
LIBVERS = [("v110", "v110"), "latest"]


def tapir(*args):
    return subprocess.run([TAPIR, *args], capture_output=True, text=True, timeout=120)


def mark(f, kind):
    f.attrs["tapir_format"] = np.bytes_("tapir-checkpoint")
    f.attrs["tapir_format_major"] = np.uint32(1)
    f.attrs["tapir_kind"] = np.bytes_(kind)
    f.attrs["complete"] = np.uint8(1)


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def inspect(self, path):
        r = tapir("inspect", path)
        self.assertEqual(r.returncode, 0, r.stderr)
        return [line.split() for line in r.stdout.splitlines()]

    def test_groups_of_every_size(self):
        for libver, ordered, n in itertools.product(LIBVERS, (False, True), (1, 8, 9, 46, 1200, 5000)):
            path = self.path("many.h5")
            with h5py.File(path, "w", libver=libver, track_order=ordered) as f:
                mark(f, "tensors")
                group = f.create_group("model/g", track_order=ordered)
                for i in range(n):
                    group[f"t{i * 7919 % n if n % 7919 else i}_{i}"] = np.full(2, i, dtype=np.float32)
                for i in range(n % 50):
                    group.attrs[f"k{i}"] = i
            lines = self.inspect(path)
            self.assertEqual(sum(line[0] == "tensor" for line in lines), n, (libver, ordered, n))
            self.assertEqual(sum(line[0] == "meta" and "@k" in line[1] for line in lines), n % 50, (libver, ordered, n))

    def test_an_adapter_for_all_layers(self):
        path = self.path("lora.h5")
        with h5py.File(path, "w", libver="latest") as f:
            mark(f, "adapter")
            f["config/adapter.json"] = np.frombuffer(b'{"method": "lora", "rank": 8}', dtype=np.uint8)
            for i, name in itertools.product(range(120), ("self_attn/q_proj", "self_attn/v_proj")):
                f[f"adapter/model/layers/{i}/{name}/lora_A"] = np.random.default_rng(i).standard_normal((8, 16)).astype(np.float32)
                f[f"adapter/model/layers/{i}/{name}/lora_B"] = np.zeros((16, 8), np.float32)
        self.assertEqual(sum(line[0] == "tensor" for line in self.inspect(path)), 480)

    def finetune(self, method, size):
        out = self.path(method)
        r = tapir("finetune", "--model", MODEL, "--dtype", "f32", "--template", "chatml", "--quiet", "--data",
                  os.path.join(MODEL, "train.jsonl"), "--method", method, *size, "--steps", "2", "--out", out)
        self.assertEqual(r.returncode, 0, r.stderr)
        return os.path.join(out, "adapter.h5")

    def evaluate(self, adapter):
        r = tapir("eval", "--model", MODEL, "--dtype", "f32", "--template", "chatml", "--quiet", "--data",
                  os.path.join(MODEL, "test.jsonl"), "--adapter", adapter)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def test_an_adapter_rewritten_by_h5py(self):
        """Everything copied by h5py into a file of its own, with an unknown group of many members beside it."""
        adapter = self.finetune("lora", ("--rank", "2"))
        copy = self.path("copy.h5")
        with h5py.File(adapter, "r") as a, h5py.File(copy, "w", libver="latest", track_order=True) as b:
            for key, value in a.attrs.items():
                if key != "content_xxh3":
                    b.attrs[key] = value
            for name in a:
                a.copy(name, b)
            for i in range(30):
                b[f"notes/n{i}"] = np.arange(i, dtype=np.int32)
        self.assertEqual(self.evaluate(copy), self.evaluate(adapter))

    def test_tapirs_files_in_h5py(self):
        for method, size in (("diablo", ("--blocks", "8")), ("lora", ("--rank", "2"))):
            adapter = self.finetune(method, size)
            before = self.evaluate(adapter)
            names = []
            with h5py.File(adapter, "r") as f:
                self.assertEqual(f.attrs["tapir_format"], b"tapir-checkpoint")
                self.assertIn(method.encode(), bytes(f["config/adapter.json"][()]).lower())

                def look(name, item):
                    names.append(name)
                    if isinstance(item, h5py.Dataset):
                        self.assertTrue(np.isfinite(item[()]).all())
                        self.assertEqual(int(item.attrs["xxh3"]) >= 0, True)

                f.visititems(look)
            lines = self.inspect(adapter)
            self.assertEqual(sum(n.startswith("adapter/") and n.split("/")[-1][:5] in ("block", "lora_") for n in names),
                             sum(line[0] == "tensor" for line in lines))
            with h5py.File(adapter, "r+", libver=("v110", "v110")) as f:  # what libhdf5 makes of our headers when it extends them
                del f.attrs["content_xxh3"]
                for i in range(40):
                    f.attrs[f"mine{i}"] = np.uint32(i)
                    f[f"mine/x{i}"] = np.arange(3)
                f["adapter"].attrs["seen"] = np.uint8(1)
            self.assertEqual(self.evaluate(adapter), before)


if __name__ == "__main__":
    unittest.main()
