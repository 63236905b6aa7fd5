# SPDX-License-Identifier: Apache-2.0
"""A save is killed, or failed, at each of its system calls (strace -e inject) and its writes are cut short: afterwards a good checkpoint
is there and loads, a half-written one is never taken, the error names path and cause, and the program goes on.  Then the order of writes
and flushes is replayed as a loss of power would leave the disk, for every prefix.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/faults/test_save_faults.py      (needs strace; TAPIR_LONG=1: every fault)
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

BUILD = os.path.abspath(os.environ.get("TAPIR_BUILD", "build"))
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
SAVE, TAPIR = os.path.join(BUILD, "tests", "save_one"), os.path.join(BUILD, "tapir")
MODEL = os.path.abspath(os.path.join(SOURCE, "tests", "golden", "tiny-chat"))
LONG = bool(os.environ.get("TAPIR_LONG"))
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("TAPIR_", "LSAN", "LD_"))} | {"OMP_NUM_THREADS": "1", "LC_ALL": "C"}
CAUSE = {"ENOSPC": "No space left on device", "EIO": "Input/output error", "EDQUOT": "Disk quota exceeded",
         "EINTR": "Interrupted system call"}
ON_FILES = "openat pwrite64 write pread64 fsync rename close newfstatat fstat fchmod sync_file_range unlink".split()
MARKS = [f(f"tapir-save-{what}") for what in ("begins", "ends") for f in (str, lambda s: "".join(f"\\x{c:02x}" for c in s.encode()))]
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")


def run(*args, **more):
    return subprocess.run(args, capture_output=True, text=True, timeout=60, env=ENV | more.pop("env", {}), **more)


def strace(options, *args):
    """Its own messages go to a file, so that standard error is the program's."""
    return run("strace", "-f", "-qq", "-o", os.devnull, *options, *args)


class Faults(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def traced(self, *options):
        """The system calls of one save over an old file, each with how many of its kind came before in the program."""
        path = os.path.join(self.dir, "traced.h5")
        self.assertEqual(run(SAVE, "save", path, "1").returncode, 0)
        trace = os.path.join(self.dir, "trace")
        r = run("strace", "-o", trace, *options, SAVE, "save", path, "2")
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(trace) as f:
            lines = f.read().splitlines()
        seen, calls, inside = {}, [], False
        for line in lines:
            m = CALL.match(line)
            if not m:
                continue
            name = m[1]
            seen[name] = seen.get(name, 0) + 1
            if name == "access" and any(mark in line for mark in MARKS):
                inside = any(mark in line for mark in MARKS[:2])
            elif inside:
                calls.append((name, seen[name], line))
        self.assertGreater(len(calls), 40)
        return calls

    def good(self, path):
        r = run(SAVE, "check", path)
        return r.stdout.strip() if r.returncode == 0 else f"damaged: {r.stderr.strip()}"

    def one(self, job):
        """What is wrong after one fault, or None."""
        k, inject, cause, env = job
        folder = os.path.join(self.dir, str(k))
        os.mkdir(folder)
        path = os.path.join(folder, "x.h5")
        shutil.copy(os.path.join(self.dir, "old.h5"), path)
        try:
            r = strace(["-e", inject], SAVE, "save", path, "2") if inject else run(SAVE, "save", path, "2", env=env)
        except subprocess.TimeoutExpired:
            return f"{job}: hangs"
        value = self.good(path)
        lines = r.stderr.splitlines()
        left = [n for n in os.listdir(folder) if n != "x.h5"]
        shutil.rmtree(folder)
        if value not in ("1", "2"):
            return f"{job}: exit {r.returncode}, {value}, {lines}"
        if cause is None:  # killed
            return None if r.returncode in (-9, 137, 0) else f"{job}: exit {r.returncode} {lines}"
        if r.returncode not in (0, 1, 3) or (r.returncode != 1 and value != "2") or len(lines) != (0, 2, 0, 1)[r.returncode]:
            return f"{job}: exit {r.returncode}, value {value}, {lines}"
        if any(path not in line or cause not in line for line in lines):
            return f"{job}: does not name path and cause: {lines}"
        if left and "unlink" not in str(inject):
            return f"{job}: left behind: {left}"
        return None

    def check(self, jobs, what):
        with ThreadPoolExecutor(2) as pool:
            wrong = [w for w in pool.map(self.one, jobs) if w]
        print(f"{what}: {len(jobs)} faults, {len(wrong)} with another end than they should have")
        self.assertEqual(wrong[:10], [])

    def test_every_call(self):
        self.assertEqual(run(SAVE, "save", os.path.join(self.dir, "old.h5"), "1").returncode, 0)
        jobs = []
        for name, n, line in self.traced():
            jobs.append((f"inject={name}:signal=KILL:when={n}", None))
            if name in ON_FILES:
                for error, cause in CAUSE.items():
                    jobs += [(f"inject={name}:error={error}:when={n}", cause), (f"inject={name}:error={error}:when={n}+", cause)]
            if name in ("pwrite64", "write"):  # said to be written in part, and nothing was
                size = int(line.rsplit("= ", 1)[1])
                jobs += [(f"inject={name}:retval={k}:when={n}", "does not read back the same") for k in {1, size // 2, size}]
        # A call that is interrupted each time it is made is made for ever.
        jobs = [j for j in jobs if not (j[0].endswith("+") and "EINTR" in j[0])]
        if not LONG:
            random.Random(1).shuffle(jobs)
            jobs = jobs[:45]
        self.check([(k, inject, cause, {}) for k, (inject, cause) in enumerate(jobs)], "system calls")

    def test_short_writes(self):
        self.assertEqual(run(SAVE, "save", os.path.join(self.dir, "old.h5"), "1").returncode, 0)
        jobs = [(i, None, "", {"TAPIR_SHORT": str(i)}) for i in range(1, 29 if LONG else 6)]
        self.check(jobs, "short writes")

    # ---- loss of power ----------------------------------------------------------------------------------------------------------

    def replay(self, events, old, rng):
        """What may be on the disk after some events: names and bytes that were flushed, and any of the others."""
        tmp, flushed, writes, renamed, name_flushed = None, 0, [], False, False
        for name, args in events:
            if name == "openat" and "O_CREAT" in args:
                tmp, writes, flushed = b"", [], 0
            elif name == "pwrite64" and tmp is not None:
                m = re.match(r'\d+<[^>]*>, "((?:\\x..)*)", \d+, (\d+)$', args)
                writes.append((int(m[2]), bytes.fromhex(m[1].replace("\\x", ""))))
            elif name == "fsync" and ".tmp." in args or name == "fsync" and ".h5" in args:
                flushed = len(writes)
            elif name == "rename":
                renamed = True
            elif name == "fsync" and renamed:
                name_flushed = True
        states = set()
        for variant in range(6):
            kept = writes[:flushed] + [w for w in writes[flushed:] if variant == 0 or (variant > 1 and rng.random() < 0.5)]
            image = bytearray(max([at + len(p) for at, p in kept], default=0))
            for at, p in kept:
                image[at:at + len(p)] = p
            if renamed and (name_flushed or variant % 2 == 0):
                states.add(bytes(image))
            else:
                states.add(old)
        return states

    def test_loss_of_power(self):
        rng, prefixes, distinct = random.Random(1), 0, 0
        for save in range(10 if LONG else 2):
            calls = self.traced("-y", "-xx", "-s", "1000000")
            with open(os.path.join(self.dir, "traced.h5"), "rb") as f:
                new = f.read()
            self.assertEqual(run(SAVE, "save", os.path.join(self.dir, "old.h5"), "1").returncode, 0)
            with open(os.path.join(self.dir, "old.h5"), "rb") as f:
                old = f.read()
            events = []
            for name, _, line in calls:
                if name in ("openat", "pwrite64", "fsync", "rename"):
                    args = line[line.index("(") + 1:line.rindex(")")]
                    args = re.sub(r'"((?:\\x..)*)"', lambda m: m[0] if name == "pwrite64" else
                                  '"' + bytes.fromhex(m[1].replace("\\x", "")).decode() + '"', args)
                    args = re.sub(r"<((?:\\x..)*)>", lambda m: "<" + bytes.fromhex(m[1].replace("\\x", "")).decode() + ">", args)
                    events.append((name, args))
            self.assertEqual([n for n, _ in events if n in ("fsync", "rename")], ["fsync", "rename", "fsync"])
            self.assertEqual(self.replay(events, old, rng), {new})
            for n in range(len(events) + 1):
                prefixes += 1
                for state in self.replay(events[:n], old, rng):
                    if state in (old, new):
                        continue
                    distinct += 1
                    path = os.path.join(self.dir, "state.h5")
                    with open(path, "wb") as f:
                        f.write(state)
                    self.assertIn(self.good(path), ("1", "2"), (save, n, events[:n][-1:]))
        print(f"loss of power: {prefixes} prefixes, in {distinct} of their states neither the old nor the new file")
        self.assertEqual(distinct, 0)

    # ---- the program ------------------------------------------------------------------------------------------------------------

    def test_finetune(self):
        """The program's saves at the end of a run: one line with path and cause, what is there loads."""
        args = [TAPIR, "finetune", "--model", MODEL, "--dtype", "f32", "--template", "chatml", "--quiet", "--data",
                os.path.join(MODEL, "train.jsonl"), "--blocks", "8", "--steps", "1", "--overwrite", "--out"]
        first = os.path.join(self.dir, "first")
        self.assertEqual(run(*args, first).returncode, 0)
        trace = os.path.join(self.dir, "trace")
        names = ("pwrite64", "fsync", "rename")
        run("strace", "-f", "-o", trace, "-e", "trace=" + ",".join(names), *args, first)
        with open(trace) as f:
            lines = f.read().splitlines()
        total = {n: sum(f" {n}(" in line for line in lines) for n in names}
        jobs = [(name, n, fault) for name in names for n in range(1, total[name] + 1)
                for fault in ("signal=KILL", "error=ENOSPC", "error=EIO", "error=EDQUOT")]
        if not LONG:
            random.Random(2).shuffle(jobs)
            jobs = jobs[:10]

        def one(job):
            name, n, fault = job
            out = os.path.join(self.dir, f"{name}-{n}-{fault}")
            shutil.copytree(first, out)
            r = strace(["-e", f"inject={name}:{fault}:when={n}"], *args, out)
            files = [os.path.join(out, f) for f in os.listdir(out) if f.endswith(".h5") and not f.startswith(".")]
            bad = [f for f in files if run(TAPIR, "eval", *args[2:9], "--data", os.path.join(MODEL, "test.jsonl"),
                                           "--adapter", f).returncode]
            shutil.rmtree(out)
            lines = r.stderr.splitlines()
            if bad or len(files) < 2:
                return f"{job}: {files}, of which do not load: {bad}"
            if fault != "signal=KILL" and r.returncode != 0:
                if r.returncode != 1 or len(lines) != 1 or CAUSE[fault[6:]] not in lines[0] or out not in lines[0]:
                    return f"{job}: exit {r.returncode}: {lines}"
            return None

        with ThreadPoolExecutor(2) as pool:
            wrong = [w for w in pool.map(one, jobs) if w]
        print(f"finetune: {len(jobs)} faults, {len(wrong)} with another end than they should have")
        self.assertEqual(wrong[:10], [])


if __name__ == "__main__":
    if not shutil.which("strace"):
        print("needs strace")
        sys.exit(77)
    if not os.path.exists(SAVE):
        print(f"{SAVE} is not there: build it first")
        sys.exit(77)
    if run("strace", "-o", os.devnull, "true").returncode != 0:
        print("strace may not trace here")
        sys.exit(77)
    unittest.main()
