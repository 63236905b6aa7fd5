# SPDX-License-Identifier: Apache-2.0
"""Small networks and single ops: Tapir (bench_small.c) beside PyTorch (torch_small.py), interleaved, the smaller time of all rounds.

    python bench_small.py --tapir BINARY [--case mlp --case gpt32 ...] [--threads 1 2] [--rounds 3] [--compile]

BINARY is bench_small.c, compiled as its head says. --compile: PyTorch through torch.compile as well; its smaller time counts.
"""
import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def collect(command, best):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr}")
    for line in done.stdout.splitlines():
        name, seconds = line.split()
        best[name] = min(best.get(name, float("inf")), float(seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tapir", required=True)
    parser.add_argument("--case", action="append")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    torch = [options.python, str(HERE / "torch_small.py")]
    for threads in options.threads:
        for case in options.case or ["mlp", "gpt32", "gpt1", "cnn", "ops"]:
            ours, theirs = {}, {}
            for _ in range(options.rounds):
                collect([options.tapir, case, str(threads)], ours)
                collect([*torch, case, str(threads)], theirs)
                if options.compile and case != "ops":
                    collect([*torch, case, str(threads), "--compile"], theirs)
            for name in ours:
                print(f"{threads} threads  {name:8}  Tapir {ours[name] * 1e6:10.1f} us  PyTorch {theirs[name] * 1e6:10.1f} us  "
                      f"{theirs[name] / ours[name]:6.2f} times as fast", flush=True)


main()
