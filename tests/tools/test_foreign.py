# SPDX-License-Identifier: Apache-2.0
"""HDF5 files of strangers: only with --foreign, in a process of their own that can do little; what libhdf5 does there, the program ends
with what it has read or with one line.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_foreign.py      (TAPIR_LONG=1: many more damaged files)
"""
import os
import random
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

BUILD = os.environ.get("TAPIR_BUILD", "build")
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
TAPIR = os.path.join(BUILD, "tapir")
SHIM = os.path.abspath(os.path.join(BUILD, "tests", "liballoc_shim.so"))
GOLDEN = os.path.join(SOURCE, "tests", "golden", "h5")
FOREIGN = os.path.join(GOLDEN, "foreign.h5")
LONG = bool(os.environ.get("TAPIR_LONG"))


def inspect(*args, env=None):
    return subprocess.run([TAPIR, "inspect", *args], capture_output=True, text=True, timeout=200, env=env)


class Foreign(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def refused(self, *args, words=()):
        r = inspect(*args)
        self.assertEqual((r.returncode, len(r.stderr.splitlines()), r.stdout), (1, 1, ""), r.stderr)
        for word in words:
            self.assertIn(word, r.stderr)

    def test_what_it_holds(self):
        r = inspect("--foreign", "--identity", FOREIGN)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        lines = r.stdout.splitlines()
        for line in ("meta    images@title = of variable length", "tensor  images/train I16 [2, 3, 4]", "tensor  packed F32 [20, 30]",
                     "tensor  double F64 [5]", "tensor  flags BOOL [2]", "identity 00527ae6c46a4bd4327f018958ae0f69"):
            self.assertIn(line, lines)
        self.assertEqual(sum("passed over" in line for line in lines), 2)
        checkpoint = inspect("--foreign", os.path.join(GOLDEN, "by_h5py.h5"))
        self.assertIn("tensor  adapter/layers/0/q_proj/lora_A F32 [2, 3]", checkpoint.stdout.splitlines())

    def test_refusals(self):
        self.refused(FOREIGN, words=("foreign.h5", "no Tapir checkpoint", "--foreign"))
        self.refused("--foreign", "--identity", os.path.join(GOLDEN, "bomb.h5"), words=("bomb.h5", "256 times its size"))
        self.refused("--foreign", os.path.join(SOURCE, "README.md"), words=("README.md", "HDF5 says"))
        self.refused("--foreign", self.dir, words=(self.dir,))
        self.refused("--foreign", os.path.join(self.dir, "none"), words=("No such file",))
        self.refused("--foreign", self.path("empty.h5", b""), words=("empty.h5",))

    def convert(self, source, name, *more):
        out = os.path.join(self.dir, name)
        r = subprocess.run([TAPIR, "convert", "--foreign", source, out, *more], capture_output=True, text=True, timeout=200)
        return r, out

    def test_conversion(self):
        """Into .h5 and a directory: the same tensors, '.' for '/' in their names, every value that of the file."""
        lines = {}
        for name in "a.h5", "a":
            r, out = self.convert(FOREIGN, name)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "", ""))
            self.assertEqual(subprocess.run([TAPIR, "verify", out], capture_output=True).returncode, 0)
            shown = inspect("--identity", out).stdout.splitlines()
            lines[name] = sorted(" ".join(line.replace(" model ", " ").split()) for line in shown if line.split()[0] in ("tensor", "identity"))
            self.assertFalse(any("images@title" in line for line in shown))
        self.assertEqual(lines["a.h5"], lines["a"])
        for line in "tensor images.train I16 [2, 3, 4]", "tensor packed F32 [20, 30]", "tensor flags BOOL [2]":
            self.assertIn(line, lines["a"])
        r, _ = self.convert(FOREIGN, "a.h5")
        self.assertEqual((r.returncode, len(r.stderr.splitlines())), (1, 1))
        self.assertIn("a.h5: it is there already", r.stderr)
        self.assertEqual(self.convert(FOREIGN, "a.h5", "--overwrite")[0].returncode, 0)
        r, out = self.convert(os.path.join(GOLDEN, "bomb.h5"), "b.h5")
        self.assertEqual((r.returncode, len(r.stderr.splitlines()), os.path.exists(out)), (1, 1, False))

    def test_conversion_of_what_h5py_writes(self):
        try:
            import h5py
            import numpy
        except ImportError:
            self.skipTest("h5py is not there")
        path = os.path.join(self.dir, "keras.h5")
        values = {"layers/dense/kernel:0": numpy.arange(12, dtype="<f4").reshape(3, 4), "layers/dense/bias:0": numpy.ones(4, ">f4"),
                  "step": numpy.int64(7), "half": numpy.arange(5, dtype="<f2"), "none": numpy.zeros((0, 3), "<f8")}
        with h5py.File(path, "w") as f:
            for name, v in values.items():
                f.create_dataset(name, data=v, **({"compression": "gzip", "chunks": True} if v.ndim == 2 and v.size else {}))
            f.attrs["source_identity"] = "0" * 32  # of a stranger: not believed
        r, out = self.convert(path, "k.h5")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        with h5py.File(out, "r") as f:
            self.assertFalse(any("0" * 32 in str(v) for v in f.attrs.values()))
            for name, v in values.items():
                got = f["model/" + name.replace(".", "/")][()]
                self.assertTrue(numpy.array_equal(got, v) and got.dtype == v.dtype.newbyteorder("<"), name)
        with h5py.File(path, "a") as f:
            f["layers.dense/bias:0"] = 1.5
        for name in "x.h5", "x":
            r, out = self.convert(path, name)
            self.assertEqual((r.returncode, len(r.stderr.splitlines()), os.path.exists(out)), (1, 1, False), r.stderr)
            self.assertIn("keras.h5: ", r.stderr)
            self.assertIn("layers.dense.bias:0", r.stderr)

    def test_damage(self):
        with open(FOREIGN, "rb") as f:
            good = f.read()
        rng = random.Random(1)
        files = []
        for i in range(4000 if LONG else 120):
            bad = bytearray(good)
            if i % 8 == 0:
                bad = bad[:rng.randrange(len(bad))]
            for _ in range(rng.choice((1, 1, 4))):
                if bad:
                    bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            if i % 3 == 0 and len(bad) > 16:
                at = rng.randrange(len(bad) - 8)
                bad[at:at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f\0\0\0\0"))
            files.append(self.path(f"{i}.h5", bytes(bad)))

        def one(path):
            r = inspect("--foreign", "--identity", path)
            if r.returncode not in (0, 1) or len(r.stderr.splitlines()) != r.returncode or r.stdout and r.returncode:
                return f"{path}: exit {r.returncode}: {r.stderr!r}"
            return ("crashed" if "crashed" in r.stderr else "refused") if r.returncode else "read"

        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(one, files))
        print({e: ends.count(e) for e in ("read", "refused", "crashed")})
        self.assertEqual([e for e in ends if len(e) > 8], [])

    def test_refused_memory(self):
        """Where a crash of libhdf5 is an error like another: allocations refused to it."""
        if not os.path.exists(SHIM):
            self.skipTest(f"{SHIM} is not there")
        env = dict(os.environ, LD_PRELOAD=SHIM, TAPIR_SHIM_LIB="hdf5")
        for i in list(range(1, 400, 7 if LONG else 40)) + list(range(400, 12000, 40 if LONG else 1500)):
            for more in ("", "+"):
                r = inspect("--foreign", "--identity", FOREIGN, env=dict(env, TAPIR_SHIM_FAIL=f"{i}{more}"))
                self.assertIn(r.returncode, (0, 1), (i, more, r.stderr))
                self.assertEqual(len(r.stderr.splitlines()), r.returncode, (i, more, r.stderr))

    def test_what_the_process_can_do(self):
        """After the filter no file is opened, nothing is sent or started."""
        trace = os.path.join(self.dir, "trace")
        if not shutil.which("strace") or subprocess.run(["strace", "-o", trace, "true"], capture_output=True).returncode:
            self.skipTest("strace is not there, or may not trace")
        subprocess.run(["strace", "-f", "-o", trace, TAPIR, "inspect", "--foreign", "--identity", FOREIGN], capture_output=True, check=True)
        with open(trace) as f:
            lines = f.read().splitlines()
        filtered = [line.split()[0] for line in lines if "PR_SET_SECCOMP" in line and line.endswith("= 0")]
        self.assertEqual(len(filtered), 1)
        at = max(i for i, line in enumerate(lines) if "PR_SET_SECCOMP" in line)
        calls = {line.split(None, 1)[1].split("(")[0] for line in lines[at + 1:] if line.split()[0] == filtered[0] and "(" in line}
        self.assertLessEqual(calls, {"read", "pread64", "write", "close", "fstat", "newfstatat", "lseek", "brk", "mmap", "munmap", "mremap",
                                     "madvise", "mprotect", "futex", "getrandom", "clock_gettime", "exit_group", "rt_sigprocmask"})
        for what in ("RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_FSIZE"):
            self.assertTrue(any(what in line for line in lines), what)


if __name__ == "__main__":
    unittest.main()
