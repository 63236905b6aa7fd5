# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of `tapir finetune`: a run that was stopped, killed or cut short goes on bit for bit, on the tiny model of
tests/golden/tiny-chat.

    TAPIR_BUILD=build TAPIR_SOURCE=. python3 tests/tools/test_resume.py
"""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("TAPIR_BUILD", "build")
SOURCE = os.environ.get("TAPIR_SOURCE", ".")
TAPIR = os.path.abspath(os.path.join(BUILD, "tapir"))
MODEL = os.path.join(SOURCE, "tests", "golden", "tiny-chat")
TRAIN, TEST = os.path.join(MODEL, "train.jsonl"), os.path.join(MODEL, "test.jsonl")
BASE = ["finetune", "--model", MODEL, "--template", "chatml", "--data", TRAIN, "--blocks", 8, "--rank", 4, "--lr", 1e-2,
        "--batch", 4, "--threads", 1]
# What a line of the log has that does not depend on the clock.
EXACT = ("step", "loss", "lr", "grad_norm", "tokens", "target_tokens", "validation", "best")


def tapir(*args, timeout=300):
    return subprocess.run([TAPIR, *map(str, args)], capture_output=True, text=True, timeout=timeout)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def run_ok(self, out, *more):
        r = tapir(*BASE, "--out", self.path(out), *more)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stderr

    def refused(self, out, *more):
        r = tapir(*BASE, "--out", self.path(out), "--quiet", *more)
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertEqual(len(r.stderr.splitlines()), 1, r.stderr)
        return r.stderr

    def log(self, out):
        with open(self.path(out, "log.jsonl")) as f:
            lines = [json.loads(line) for line in f]
        return [{k: r[k] for k in EXACT if k in r} for r in lines if "end" not in r]

    def steps(self, out):
        return sorted(n for n in os.listdir(self.path(out)) if n.startswith("step-"))

    def bytes(self, out, name):
        with open(self.path(out, name), "rb") as f:
            return f.read()

    def assert_same_run(self, a, b, *names):
        self.assertEqual(self.log(a), self.log(b))
        for name in names:
            self.assertTrue(self.bytes(a, name) == self.bytes(b, name), name)


class Matrix(Case):
    """Sixty steps at once, and the same command stopped after 20 and resumed: every file is the same."""

    def both(self, *more, best="adapter.h5"):
        more = ("--steps", 60, "--save-every", 20, *more)
        self.run_ok("a", *more)
        self.run_ok("b", *more, "--stop-after", 20)
        self.assertEqual(self.steps("b"), ["step-000020.h5"])
        told = self.run_ok("b", *more, "--resume")
        self.assertIn("resuming from", told)
        self.assertIn("step-000020.h5", told)
        self.assert_same_run("a", "b", best, "last.h5", "step-000040.h5", "step-000060.h5")
        self.assertEqual(len([r for r in self.log("b") if "step" in r]), 60)

    def test_diablo_f32(self):
        self.both("--dtype", "f32", "--accum", 2, "--pack", "--max-len", 96, "--dropout", 0.1, "--valid", TEST,
                  "--eval-every", 7)

    def test_diablo_bf16(self):
        self.both("--dtype", "bf16", "--accum", 3, "--group-by-length", "--dropout", 0.2, "--warmup", 25, "--schedule", "cosine")

    def test_lora_f32(self):
        self.both("--method", "lora", "--dtype", "f32", "--group-by-length", "--dropout", 0.1, "--weight-decay", 0.01)

    def test_lora_bf16(self):
        self.both("--method", "lora", "--dtype", "bf16", "--accum", 2, "--pack", "--max-len", 96,
                  "--dropout", 0.1, "--valid", TEST, "--eval-every", 10)

    def test_full_f32(self):
        self.both("--method", "full", "--dtype", "f32", "--accum", 2, "--pack", "--max-len", 96, "--lr", 1e-3, "--valid", TEST,
                  "--eval-every", 15, best="model.h5")

    def test_full_bf16(self):
        self.both("--method", "full", "--dtype", "bf16", "--accum", 2, "--group-by-length", "--lr", 1e-3, best="model.h5")

    def test_in_many_pieces(self):
        more = ("--dtype", "f32", "--steps", 30, "--valid", TEST, "--eval-every", 5, "--no-shuffle", "--log-every", 3)
        self.run_ok("a", *more)
        for step in (1, 5, 6, 17, 29):
            self.run_ok("b", *more, "--resume", "--stop-after", step)
        self.run_ok("b", *more, "--resume")
        self.assert_same_run("a", "b", "adapter.h5", "last.h5")
        self.assertEqual(self.bytes("a", "loss.svg"), self.bytes("b", "loss.svg"))

    def test_best_and_patience(self):
        """Without a rate nothing improves: the first validation is the best, and the run stops at the fifth, resumed or not."""
        more = ("--dtype", "f32", "--steps", 60, "--lr", 0, "--valid", TEST, "--eval-every", 2, "--patience", 4,
                "--save-every", 1)
        first = self.run_ok("a", *more)
        done = max(r["step"] for r in self.log("a") if "step" in r)
        self.assertIn("no longer improves", first)
        self.assertEqual(done, 10)
        for step in (done - 5, done - 2):
            self.run_ok("b", *more, "--resume", "--stop-after", step)
        self.assertIn("no longer improves", self.run_ok("b", *more, "--resume"))
        self.assert_same_run("a", "b", "adapter.h5", "last.h5")
        self.assertIn("no longer improves", self.run_ok("a", *more, "--resume"))  # there is nothing to do


class Stopped(Case):
    MORE = ("--dtype", "f32", "--steps", 120, "--save-every", 5, "--accum", 2, "--pack", "--max-len", 96,
            "--dropout", 0.1, "--valid", TEST, "--eval-every", 20)

    def start(self, out):
        return subprocess.Popen([TAPIR, *map(str, BASE), "--out", self.path(out), *map(str, self.MORE), "--resume"],
                                stderr=subprocess.DEVNULL)

    def test_killed_at_any_moment(self):
        self.run_ok("a", *self.MORE)
        chance, kills = random.Random(7), 0
        begun = time.monotonic()
        self.run_ok("c", *self.MORE)
        whole = time.monotonic() - begun
        for _ in range(12):
            p = self.start("b")
            try:
                p.wait(0.05 + chance.random() * whole / 3)
                break
            except subprocess.TimeoutExpired:
                p.send_signal(signal.SIGKILL)
                p.wait()
                kills += 1
        self.run_ok("b", *self.MORE, "--resume")
        self.assertGreater(kills, 2)
        self.assert_same_run("a", "b", "adapter.h5", "last.h5", "step-000115.h5", "step-000120.h5")
        self.assertEqual([n for n in os.listdir(self.path("b")) if n.startswith(".")], [])

    def test_signals_save_at_the_end_of_the_step(self):
        self.run_ok("a", *self.MORE)
        for number in (signal.SIGTERM, signal.SIGINT):
            p = self.start("b")
            for _ in range(600):
                time.sleep(0.05)
                log = self.path("b", "log.jsonl")
                if os.path.exists(log) and os.path.getsize(log) > 2000 * (1 + (number == signal.SIGINT)):
                    break
            p.send_signal(number)
            self.assertEqual(p.wait(60), 130)
            with open(self.path("b", "log.jsonl")) as f:
                end = json.loads(f.read().splitlines()[-1])
            self.assertEqual(end["end"], "interrupted")
            self.assertIn("step-%06d.h5" % end["steps"], self.steps("b"))
        self.run_ok("b", *self.MORE, "--resume")
        self.assert_same_run("a", "b", "adapter.h5", "last.h5", "step-000120.h5")


class Choosing(Case):
    MORE = ("--dtype", "f32", "--steps", 12, "--save-every", 2)

    def test_the_last_ones_are_kept(self):
        for keep, names in ((3, [8, 10, 12]), (1, [12]), (0, [2, 4, 6, 8, 10, 12])):
            self.run_ok("k%d" % keep, *self.MORE, "--keep", keep)
            self.assertEqual(self.steps("k%d" % keep), ["step-%06d.h5" % n for n in names])

    def test_damaged_ones_are_skipped_aloud(self):
        self.run_ok("a", *self.MORE)
        before, log = {n: self.bytes("a", n) for n in self.steps("a")}, self.log("a")
        with open(self.path("a", "step-000012.h5"), "r+b") as f:  # cut
            f.truncate(len(before["step-000012.h5"]) - 100)
        with open(self.path("a", "step-000010.h5"), "r+b") as f:  # one bit of the data
            at = before["step-000010.h5"].rfind(b"\x3f")
            f.seek(at)
            f.write(b"\x3e")
        with open(self.path("a", ".step-000012.h5.tmp.999999999"), "wb") as f:
            f.write(b"half")
        told = self.run_ok("a", *self.MORE, "--resume")
        for word in ("skipped: ", "step-000012.h5", "step-000010.h5", "resuming from", "step-000008.h5"):
            self.assertIn(word, told)
        self.assertEqual({n: self.bytes("a", n) for n in self.steps("a")}, before)
        self.assertEqual(self.log("a"), log)
        self.assertEqual([n for n in os.listdir(self.path("a")) if n.startswith(".")], [])

    def test_none_to_go_on_from(self):
        self.assertIn("begins anew", self.run_ok("a", *self.MORE, "--resume"))
        self.assertEqual(len([r for r in self.log("a") if "step" in r]), 12)
        self.assertIn("none.h5", self.refused("b", *self.MORE, "--resume=" + self.path("none.h5")))
        self.run_ok("c", "--dtype", "f32", "--steps", 2)
        self.assertIn("finished run", self.refused("c", *self.MORE, "--resume"))  # one without checkpoints
        self.assertIn("expected a checkpoint", self.refused("d", *self.MORE, "--resume=" + self.path("c", "adapter.h5")))

    def test_recover(self):
        """The checkpoint that recover names is the one that --resume takes, and --resume=FILE goes on from it."""
        self.run_ok("a", *self.MORE)
        last = self.bytes("a", "last.h5")
        for name, at in (("step-000012.h5", 0.5), ("step-000010.h5", 0.9)):
            with open(self.path("a", name), "r+b") as f:
                f.truncate(int(len(self.bytes("a", name)) * at))
        r = tapir("recover", self.path("a"))
        self.assertEqual((r.returncode, r.stdout), (0, self.path("a", "step-000008.h5") + "\n"))
        self.assertEqual([line.split()[0] for line in r.stderr.splitlines()], ["skipped", "skipped"])
        self.assertIn("resuming from " + r.stdout.strip(), self.run_ok("a", *self.MORE, "--resume=" + r.stdout.strip()))
        self.assertEqual(self.bytes("a", "last.h5"), last)
        self.assertEqual(tapir("recover", self.path("a")).stdout, self.path("a", "step-000012.h5") + "\n")

    def test_the_best_is_gone(self):
        """adapter.h5, the best so far, is no part of a checkpoint: without it the run says so and goes on."""
        more = (*self.MORE, "--valid", TEST, "--eval-every", 3)
        self.run_ok("a", *more)
        for damage in ("none", "cut", "bit"):
            self.run_ok(damage, *more, "--stop-after", 6)
            best = self.path(damage, "adapter.h5")
            data = bytearray(self.bytes(damage, "adapter.h5"))
            data[2000] ^= 1  # among the values
            os.unlink(best)
            if damage != "none":
                with open(best, "wb") as f:
                    f.write(data if damage == "bit" else data[:-50])
            told = [line for line in self.run_ok(damage, *more, "--resume").splitlines() if "is lost" in line]
            self.assertEqual(len(told), 1, told)
            self.assertIn(best, told[0])
            self.assertEqual(self.bytes(damage, "last.h5"), self.bytes("a", "last.h5"))
            self.assertEqual(tapir("verify", best).returncode, 0)

    def provenance(self, out, step):
        data = self.bytes(out, "step-%06d.h5" % step)
        at = data.index(b'"parent": {' if step > 2 else b'"xxh3_128"')
        return json.loads(data[data.rindex(b"{", 0, at) if step > 2 else data.rindex(b'{\n  "data"', 0, at):data.index(b"\n}", at) + 2])

    def test_provenance(self):
        self.run_ok("a", *self.MORE, "--keep", 0, "--valid", TEST)
        with open(TRAIN, "rb") as f:
            size = len(f.read())
        first, second, third = (self.provenance("a", step) for step in (2, 4, 6))
        self.assertEqual(set(first), {"data", "valid", "threads"})
        self.assertEqual((first["threads"], first["data"]["bytes"]), (1, size))
        self.assertRegex(first["data"]["xxh3_128"], "^[0-9a-f]{32}$")
        self.assertNotEqual(first["data"]["xxh3_128"], first["valid"]["xxh3_128"])
        self.assertEqual((second["parent"]["step"], third["parent"]["step"]), (2, 4))
        for parent in second["parent"], third["parent"]:
            shown = tapir("inspect", "--identity", self.path("a", "step-%06d.h5" % parent["step"])).stdout
            self.assertIn("identity " + parent["identity"], shown)
        self.run_ok("b", *self.MORE, "--valid", TEST, "--resume=" + self.path("a", "step-000004.h5"), "--stop-after", 6)
        self.assertEqual(self.bytes("a", "step-000006.h5"), self.bytes("b", "step-000006.h5"))

    def test_a_file_of_another_run(self):
        self.run_ok("a", *self.MORE)
        told = self.run_ok("b", *self.MORE, "--resume=" + self.path("a", "step-000008.h5"))
        self.assertIn("resuming from", told)
        self.assertEqual([r["step"] for r in self.log("b")], [9, 10, 11, 12])
        self.assertEqual(self.bytes("a", "last.h5"), self.bytes("b", "last.h5"))
        # Back in the same run: later ones stay until they are passed.
        self.run_ok("a", *self.MORE, "--resume=" + self.path("a", "step-000008.h5"), "--stop-after", 9)
        self.assertEqual(self.steps("a"), ["step-%06d.h5" % n for n in (8, 9, 10, 12)])
        self.assertEqual(len(self.log("a")), 9)

    def test_a_begun_run_is_not_overwritten(self):
        self.run_ok("a", *self.MORE, "--stop-after", 4)
        os.unlink(self.path("a", "adapter.h5"))
        self.assertIn("--resume", self.refused("a", *self.MORE))
        self.assertEqual(self.steps("a"), ["step-000002.h5", "step-000004.h5"])
        self.run_ok("a", "--dtype", "f32", "--steps", 1, "--overwrite")
        self.assertEqual(self.steps("a"), [])

    def test_options_must_be_the_same(self):
        self.run_ok("a", *self.MORE, "--stop-after", 4)
        changed = [("--lr", 0.02, "0.01"), ("--batch", 2, "4"), ("--accum", 2, "1"), ("--blocks", 4, "8"), ("--seed", 5, "0"),
                   ("--dropout", 0.5, "0"), ("--max-len", 100, "512"), ("--clip", 2, "1"), ("--schedule", "cosine", "linear"),
                   ("--warmup", 3, "0"), ("--steps", 13, "12"), ("--targets", "q_proj", "(q|k|v|up|down)_proj"),
                   ("--threads", 2, "1"), ("--weight-decay", 0.5, "0")]
        more = [str(x) for option, value, _ in changed for x in (option, value)]
        told = self.refused("a", *self.MORE, "--resume", *more, "--pack", "--no-shuffle")
        for option, value, old in changed:
            self.assertIn("%s %s, here %s" % (option, old, value), told)
        for flag in ("--pack", "--no-shuffle"):
            self.assertIn(flag + " off, here on", told)
        self.assertIn("--method diablo, here lora", self.refused("a", *self.MORE, "--resume", "--method", "lora"))
        self.assertIn("--valid none, here 16 samples", self.refused("a", *self.MORE, "--resume", "--valid", TEST))
        self.assertRegex(self.refused("a", *self.MORE, "--resume", "--data", TEST), r"--data 64 samples.* here 16 samples")
        # What changes no result may change.
        self.run_ok("a", *self.MORE, "--resume", "--log-every", 5, "--keep", 1, "--rank", 9)

    def test_the_data_may_move_but_not_change(self):
        self.run_ok("a", *self.MORE)
        moved = self.path("moved.jsonl")
        shutil.copy(TRAIN, moved)
        self.run_ok("b", *self.MORE, "--stop-after", 5)
        self.run_ok("b", *self.MORE, "--resume", "--data", moved)
        self.assert_same_run("a", "b", "last.h5", "step-000012.h5")
        with open(moved) as f:
            text = f.read()
        with open(moved, "w") as f:
            f.write(re.sub(r"\d", "7", text, count=1))
        self.assertRegex(self.refused("b", *self.MORE, "--resume", "--data", moved), "--data 64 samples, XXH3")


class Using(Case):
    def test_a_save_that_fails_does_not_end_the_run(self):
        os.makedirs(self.path("a", "step-000004.h5"))
        told = self.run_ok("a", "--dtype", "f32", "--steps", 6, "--save-every", 2, "--overwrite")
        self.assertIn("the training goes on", told)
        self.assertIn("step-000004.h5", told)
        self.assertIn("step-000006.h5", self.steps("a"))

    def test_no_room_for_a_checkpoint(self):
        """On a file system with 40 KiB left: no checkpoint is begun that has no room, the training goes on; the adapter has."""
        script = 'mount -t tmpfs -o size=512k none "$1" && mkdir "$1/run" && shift && "$@"; rc=$?; ls -a "$0/run"; exit $rc'
        folder = self.path("disk")
        os.makedirs(folder)
        if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", folder], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        args = [*BASE, "--out", folder + "/run", "--dtype", "f32", "--steps", 4, "--save-every", 2]
        train = 'head -c 480000 /dev/zero > "$0/fill"; shift; "$@"'
        r = subprocess.run(["unshare", "-rm", "sh", "-c", script, folder, folder, "sh", "-c", train, folder, "--", TAPIR,
                            *map(str, args)], capture_output=True, text=True, timeout=300)
        lines = [line for line in r.stderr.splitlines() if "not enough room" in line]
        self.assertRegex(lines[0], r"step 2: no checkpoint, the training goes on: .*/run/step-000002.h5: not enough room: it needs "
                                   r"\d+ bytes, the file system has \d+ free$")
        self.assertIn("step 4/4", r.stderr)
        self.assertIn("last.h5", r.stdout.split())
        self.assertFalse([n for n in r.stdout.split() if n.startswith("step-") or ".tmp." in n], r.stdout)

    def test_it_is_an_adapter_or_a_model(self):
        self.run_ok("a", "--dtype", "f32", "--steps", 4, "--save-every", 4)
        self.run_ok("b", "--dtype", "f32", "--steps", 4, "--save-every", 4, "--method", "full", "--lr", 1e-3)
        common = ["eval", "--dtype", "f32", "--template", "chatml", "--quiet", "--data", TEST]

        def value(*more):
            r = tapir(*common, *more)
            self.assertEqual(r.returncode, 0, r.stderr)
            return json.loads(r.stdout)["value"]

        self.assertEqual(value("--model", MODEL, "--adapter", self.path("a", "step-000004.h5")),
                         value("--model", MODEL, "--adapter", self.path("a", "last.h5")))
        self.assertEqual(value("--model", self.path("b", "step-000004.h5")), value("--model", self.path("b", "last.h5")))

    def test_it_is_listed(self):
        self.run_ok("a", "--dtype", "f32", "--steps", 2, "--save-every", 2)
        shown = tapir("inspect", self.path("a", "step-000002.h5")).stdout
        for word in ("training", "optimizer/state", "block_A"):
            self.assertIn(word, shown)


if __name__ == "__main__":
    if not os.path.exists(TAPIR):
        print(f"{TAPIR} is not there: build first")
        sys.exit(77)
    unittest.main(verbosity=1)
