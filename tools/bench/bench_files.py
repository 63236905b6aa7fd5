# SPDX-License-Identifier: Apache-2.0
"""Saving and loading beside cp, cat and a plain write on the same disk; prints only.

    python3 bench_files.py [--build build] [--dir .] [--mib 1024] [--rounds 3] [--model DIR]

Each round does, in turn: `cp` of the model file and `sync` of the copy; saving as much from memory with tp_writer (hashes, read
back, fsync and rename included); `cat` of the file from a cold cache (its pages are dropped first) and from a warm one; loading all
tensors (hashes compared) cold and warm; a plain write and fsync of 10 MB, and saving an adapter of that size.  With --model also
`tapir generate --max-new 1` from that directory and from the same model as .h5, both warm.

Times are the least of the rounds, the median beside it, with CPU seconds of user and kernel.  Before each of them as much memory is touched
and freed as it may need: virtual machines hand free memory back to their host, and whoever touches it next waits up to thirty times
as long for it, be it for a tensor or for the copy that cp leaves in the page cache.
"""
import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def used():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def timed(*command):
    """(seconds, CPU seconds)"""
    cpu, start = used(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, used() - cpu


def cold(path):
    """Drops the file's pages from the cache."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def plain(path, data):
    cpu, start = time.process_time(), time.perf_counter()
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    return time.perf_counter() - start, time.process_time() - cpu


class Bench:
    def __init__(self, options, work):
        self.options, self.work, self.times, self.cpu = options, work, {}, {}
        self.program = os.path.join(work, "bench_files")
        flags = ["-L" + options.build, "-ltapir", "-Wl,-rpath," + os.path.abspath(options.build)]
        subprocess.run(["cc", "-O2", "-I" + str(ROOT), str(ROOT / "tools/bench/bench_files.c"), "-o", self.program, *flags], check=True)

    def note(self, what, seconds):
        self.times.setdefault(what, []).append(seconds[0])
        self.cpu.setdefault(what, []).append(seconds[1])

    def run(self, *words):
        done = subprocess.run([self.program, *map(str, words)], check=True, stdout=subprocess.PIPE)
        return tuple(map(float, done.stdout.split()))

    def ready(self):
        subprocess.run([self.program, "touch", str(4 * self.options.mib)], check=True)

    def path(self, name):
        return os.path.join(self.work, name)

    def fresh(self, name):
        """A name that nothing stands at, so that nobody pays for freeing an old file."""
        if os.path.exists(self.path(name)):
            os.remove(self.path(name))
        os.sync()
        return self.path(name)

    def model(self):
        source, mib = self.path("source.h5"), self.options.mib
        self.run("save", source, mib, 64)
        for _ in range(self.options.rounds):
            copy = self.fresh("copy")
            timed("cat", source)
            self.ready()
            self.note("cp + sync", timed("sh", "-c", f"cp '{source}' '{copy}' && sync '{copy}'"))
            saved = self.fresh("saved.h5")
            self.ready()
            self.note("save", self.run("save", saved, mib, 64))
            for what, measure in ("cat", lambda: timed("cat", source)), ("load", lambda: self.run("load", source)):
                cold(source)
                self.ready()
                self.note(what + ", cold", measure())
                self.ready()
                self.note(what + ", warm", measure())

    def adapter(self):
        data = os.urandom(10 << 20)
        for _ in range(3 * self.options.rounds):
            self.note("write + fsync, 10 MB", plain(self.fresh("plain"), data))
            self.note("adapter, 10 MB", self.run("save", self.fresh("adapter.h5"), 10, 64))

    def start(self):
        tapir, h5 = os.path.join(self.options.build, "tapir"), self.path("model.h5")
        subprocess.run([tapir, "convert", self.options.model, h5], check=True)
        for _ in range(2 + self.options.rounds):
            for what, model in ("generate, safetensors", self.options.model), ("generate, .h5", h5):
                self.note(what, timed(tapir, "generate", "--model", model, "--quiet", "--prompt", "Hello", "--max-new", "1"))

    def show(self):
        best = {k: min(v) for k, v in self.times.items()}
        for what, seconds in best.items():
            print(f"{what:24} {seconds:8.3f} s (median {statistics.median(self.times[what]):.3f}), {min(self.cpu[what]):7.3f} of CPU")
        print("load average:", *os.getloadavg())
        for what, a, b, bound in (("saving a model", "cp + sync", "save", 0.8), ("loading, cold", "cat, cold", "load, cold", 0.8),
                                  ("loading, warm", "cat, warm", "load, warm", 0.4),
                                  ("saving an adapter", "write + fsync, 10 MB", "adapter, 10 MB", 0.5),
                                  ("start of generate", "generate, safetensors", "generate, .h5", 1.0)):
            if a in best and b in best:
                print(f"{what:24} {best[a] / best[b]:8.2f} times as fast as {a}; wanted {bound:g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--dir", default=".", help="a folder on the disk that is measured")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="a Hugging Face directory")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="bench-files-", dir=options.dir)
    try:
        bench = Bench(options, work)
        bench.model()
        bench.adapter()
        if options.model:
            bench.start()
        bench.show()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
