#!/bin/sh
# Ids, log probabilities, greedy continuations and twenty training steps against what transformers, peft and the official
# DiaBlo code gave (stored in tests/golden), on SmolLM2 from its GGUF file.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
[ -n "${TAPIR_MODEL_GGUF:-}" ] || { echo 'TAPIR_MODEL_GGUF is not set: no model to compare'; exit 77; }
python3 -c 'import numpy' 2>/dev/null || { echo 'numpy is not there: python3-numpy'; exit 77; }
tapir=${TAPIR_BUILD:-$here/build-release}/tapir
python3 "$here/tests/golden/parity_score.py" --stored --tapir "$tapir"
for case in diablo-64 diablo-50 full; do
    python3 "$here/tests/golden/parity_train.py" --stored --case "$case" --tapir "$tapir"
done
if python3 -c 'import safetensors' 2>/dev/null; then
    python3 "$here/tests/golden/parity_train.py" --stored --case lora-16 --tapir "$tapir"
else
    echo 'lora-16 left out: the Python package safetensors is not there'
fi
if python3 -c 'import torch, transformers, safetensors, gguf, h5py' 2>/dev/null; then
    python3 "$here/tests/golden/parity_files.py" --tapir "$tapir"
else
    echo 'files left out: torch, transformers, safetensors, gguf and h5py are not all there'
fi
