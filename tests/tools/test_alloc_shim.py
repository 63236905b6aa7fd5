# SPDX-License-Identifier: Apache-2.0
"""Memory refused inside HDF5, jansson and PCRE2 (tests/faults/alloc_shim.c): the program finetunes, saves and loads, and ends with one
clear line and exit 1, or copes; it never crashes or hangs, and what it says it has saved is whole.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_alloc_shim.py      (TAPIR_LONG=1: many more refusals)
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

BUILD = os.environ.get("TAPIR_BUILD", "build")
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
TAPIR = os.path.join(BUILD, "tapir")
SHIM = os.path.abspath(os.path.join(BUILD, "tests", "liballoc_shim.so"))
MODEL = os.path.join(SOURCE, "tests", "golden", "tiny-chat")
SAMPLE = 1500 if os.environ.get("TAPIR_LONG") else 50  # refusals of a library in a command
COMMON = ["--model", MODEL, "--dtype", "f32", "--template", "chatml", "--quiet"]


def run(args, library, fail="", count=None):
    env = dict(os.environ, LD_PRELOAD=SHIM, TAPIR_SHIM_LIB=library, OMP_NUM_THREADS="1")
    if fail:
        env["TAPIR_SHIM_FAIL"] = fail
    if count:
        env["TAPIR_SHIM_COUNT"] = count
    return subprocess.run([TAPIR, *args], env=env, capture_output=True, text=True, timeout=60)


def sampled(n):
    """The first ones, where things begin, the last ones, where they are torn down, and some of each part between."""
    edge = SAMPLE // 4
    picked = set(range(1, min(n, edge) + 1)) | set(range(max(1, n - edge), n + 1))
    picked |= {1 + i * n // SAMPLE for i in range(SAMPLE)}
    return sorted(picked)[:: max(1, len(picked) // SAMPLE)]


class Refused(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def finetune(self, out):
        return ["finetune", *COMMON, "--data", os.path.join(MODEL, "train.jsonl"), "--blocks", "8", "--steps", "1", "--out", out]

    def generate(self, out):
        return ["generate", *COMMON, "--prompt", "a", "--max-new", "2", "--adapter", out]

    def one(self, args, library, fail, out):
        """What is wrong with the run, or None; whether it failed as it should."""
        what = f"{args[0]}: {library} refused at {fail}"
        try:
            r = run(args, library, fail)
        except subprocess.TimeoutExpired:
            return f"{what}: hangs", False
        lines = r.stderr.splitlines()
        if r.returncode not in (0, 1) or (r.returncode == 1 and len(lines) != 1) or (r.returncode == 0 and lines):
            return f"{what}: exit {r.returncode}: {r.stderr[:400]!r}", False
        if out and r.returncode == 0:
            r = subprocess.run([TAPIR, *self.generate(out)], capture_output=True, text=True, timeout=60)
            if r.returncode != 0:
                return f"{what}: says that it has saved, but: {r.stderr!r}", False
            return None, False
        return None, r.returncode == 1

    def sweep(self, library, command):
        base = os.path.join(self.dir, "base")
        if not os.path.exists(base):
            r = subprocess.run([TAPIR, *self.finetune(base)], capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 0, r.stderr)
        count = os.path.join(self.dir, "count")
        make = self.finetune if command == "finetune" else self.generate
        r = run(make(os.path.join(self.dir, "count-run") if command == "finetune" else base), library, "", count)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(count) as f:
            n = int(f.read())
        if library == "hdf5":
            return n
        jobs = [(i, f"{i}{more}") for i in sampled(n) for more in ("", "+")]

        def job(k):
            out = os.path.join(self.dir, f"{library}-{k[1]}") if command == "finetune" else base
            result = self.one(make(out), library, k[1], out if command == "finetune" else None)
            if out != base:
                shutil.rmtree(out, ignore_errors=True)
            return result

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(job, jobs))
        wrong = [w for w, _ in results if w]
        failed = sum(f for _, f in results)
        print(f"{command}, {library}: {n} allocations, {len(jobs)} runs, {failed} failed with one line, {len(wrong)} wrongly")
        self.assertEqual(wrong[:20], [])
        self.assertGreater(failed, 0)
        return n

    def test_hdf5(self):
        """Saving and loading do without libhdf5, which does not survive it; what it reads for --foreign is in test_foreign.py."""
        self.assertEqual([self.sweep("hdf5", c) for c in ("finetune", "generate")], [0, 0])

    def test_jansson(self):
        self.sweep("jansson", "finetune")
        self.sweep("jansson", "generate")

    def test_pcre2(self):
        self.sweep("pcre2", "finetune")
        self.sweep("pcre2", "generate")


if __name__ == "__main__":
    if not os.path.exists(SHIM):
        print(f"{SHIM} is not there: build it first")
        sys.exit(77)
    unittest.main()
