#!/bin/sh
# The installed library serves programs outside the tree: every example compiles against it by pkg-config and runs.
set -eu
build=${TAPIR_BUILD:?the build folder}
source=${TAPIR_SOURCE:?the source folder}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT INT TERM
meson install -C "$build" --destdir "$root" --quiet
pc=$(find "$root" -name tapir.pc | head -n 1)
[ -n "$pc" ] || { echo "no tapir.pc was installed"; exit 1; }
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="$(dirname "$pc")" PKG_CONFIG_SYSROOT_DIR="$root" LD_LIBRARY_PATH="$lib"
for example in custom_op mlp custom_adapter checkpoints finetune_llama; do
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror "$source/tools/examples/$example.c" \
        $(pkg-config --cflags --libs tapir) -lm -o "$root/$example"
done
cd "$root"
./custom_op | grep -q "largest error of the gradient"
./mlp | tail -n 1 | grep -q "right 9[5-9]\|right 100"
./checkpoints | grep -q "the same bits as never stopped: yes"
./custom_adapter | grep -q "6 layers loaded again"
# The program of the design on a tiny model with a tokenizer, which the tests ship.
"./finetune_llama" "$source/tests/golden/tiny-chat" "$source/tests/golden/tiny-chat/train.jsonl" adapter.h5 30 8 > out.txt
awk '/^step/ { if (!first) first = $4; last = $4 } END { exit !(last < first) }' out.txt ||
    { cat out.txt; echo "the loss did not fall"; exit 1; }
[ -s adapter.h5 ]
# A wrong path ends with one line and exit status 1.
if ./finetune_llama no/such/model > out.txt 2> err.txt; then echo "a missing model was no error"; exit 1; fi
[ "$(wc -l < err.txt)" -eq 1 ] || { cat err.txt; echo "expected one line"; exit 1; }
