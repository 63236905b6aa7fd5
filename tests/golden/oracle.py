# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this folder share: where oracles are found, how tapir is run, how a test is skipped.

Every path is an option or an environment variable:

    --hf       TAPIR_MODEL_HF    SmolLM2-135M-Instruct as a Hugging Face directory (made by gguf_to_hf.py)
    --gguf     TAPIR_MODEL_GGUF  the same weights as a GGUF file
    --diablo   DIABLO_DIR        folder with block_linear.py of the official DiaBlo code (github ziyangjoy/DiaBlo, diablo/)
    --data     TAPIR_DATA        folder with mawps/train.jsonl and mawps/test.jsonl; gsm8k/ is used where it is there
    --tapir    TAPIR             the program; default: build/tapir of this repository

A script whose oracle is absent prints one line and exits with 77, which Meson counts as skipped.
"""
import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATHS = {
    "hf": ("TAPIR_MODEL_HF", None),
    "gguf": ("TAPIR_MODEL_GGUF", None),
    "diablo": ("DIABLO_DIR", None),
    "data": ("TAPIR_DATA", ROOT / "tools" / "data"),
    "tapir": ("TAPIR", ROOT / "build" / "tapir"),
}


def skip(reason):
    print(f"{pathlib.Path(sys.argv[0]).name}: skipped: {reason}")
    sys.exit(77)


def arguments(doc, *names):
    """A parser with an option for each path in `names`; the script adds its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in names:
        variable, default = PATHS[name]
        parser.add_argument("--" + name, default=os.environ.get(variable, default), help=f"default: ${variable}, else {default}")
    return parser


def need(options, *names):
    """Stops as skipped unless each path is given and exists."""
    for name in names:
        path = getattr(options, name)
        if not path:
            skip(f"no --{name} and no {PATHS[name][0]}")
        if not os.path.exists(path):
            skip(f"{path} does not exist (--{name}, {PATHS[name][0]})")


def module(name):
    """Imports a Python package that the tests may lack."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        skip(f"Python cannot import {name}: {e}")


def read_jsonl(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def write_jsonl(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path, value):
    """Readable JSON whose lists of numbers stand on one line each."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(pretty(value, "") + "\n")


def pretty(value, indent):
    if isinstance(value, dict) and value:
        inner = indent + "  "
        return "{\n" + ",\n".join(f"{inner}{json.dumps(k)}: {pretty(v, inner)}" for k, v in value.items()) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        inner = indent + "  "
        return "[\n" + ",\n".join(inner + pretty(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def run_tapir(options, *words, stdin=None):
    """Runs tapir and returns what it wrote to standard output, as bytes; an error of it ends the script."""
    command = [str(options.tapir), *map(str, words)]
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.stderr.buffer.write(done.stderr)
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    return done.stdout
