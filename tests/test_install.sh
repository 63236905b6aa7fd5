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
flags=$(pkg-config --cflags --libs tapir)
# shellcheck disable=SC2086
for file in "$source"/tools/examples/*.c; do
    name=$(basename "$file" .c)
    ${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror "$file" $flags -lm -o "$root/$name"
    [ "$(wc -l < "$file")" -lt 120 ] || { echo "$name.c has 120 lines or more"; exit 1; }
    grep -q "^- \`$name.c\`: " "$source/README.md" || { echo "$name.c is no line of the README"; exit 1; }
done
# shellcheck disable=SC2086
${CXX:-c++} -x c++ -std=c++17 -pedantic -Wall -Wextra -Werror "$source/tools/examples/linear_regression.c" $flags \
    -o "$root/linear_regression_cpp"
# shellcheck disable=SC2046
${CC:-cc} -std=c11 "$source/tools/examples/linear_regression.c" $(pkg-config --cflags tapir) "$lib/libtapir.a" \
    $(PKG_CONFIG_SYSROOT_DIR='' pkg-config --static --libs tapir | sed 's/-ltapir//') -o "$root/linear_regression_static"
[ -L "$lib/libtapir.so.0" ]
page=$(find "$root" -name tapir.html)
for function in tp_ctx_new tp_matmul tp_samples_next tp_attach; do
    grep -q "<a id=\"$function\">" "$page" || { echo "the reference has no $function"; exit 1; }
done
cd "$root"
data=$source/tools/data
# check NAME CONDITION: an awk condition on x, the last number of the last line of out.txt that has one
check() {
    awk "{ for (i = 1; i <= NF; i++) if (\$i ~ /^[0-9.]+\$/) x = \$i } END { exit !($2) }" out.txt ||
        { cat out.txt; echo "$1: expected $2"; exit 1; }
}
./linear_regression > out.txt
./linear_regression_cpp | cmp - out.txt
./linear_regression_static | cmp - out.txt
grep -o "loss [0-9.]*" out.txt > loss.txt
mv loss.txt out.txt
check linear_regression "x < 0.02"
./custom_op | grep -q "largest error of the gradient"
./mlp | tail -n 1 | grep -q "right 9[5-9]\|right 100"
./digits_mlp "$data/digits.csv" | sed -n 's/^right: \([0-9.]*\) .*/\1/p' > out.txt
check digits_mlp "x >= 96"
./digits_cnn "$data/digits.csv" | sed -n 's/^right: \([0-9.]*\) .*/\1/p' > out.txt
check digits_cnn "x >= 98"
./char_gpt "$data/alice.txt" > gpt.txt
grep "^step" gpt.txt > out.txt
check char_gpt "x < 2.1"
[ "$(grep -v "^step" gpt.txt | wc -c)" -gt 250 ]
./autoencoder "$data/digits.csv" | sed -n 's/^step 800  loss \([0-9.]*\) .*/\1/p' > out.txt
check autoencoder "x > 0 && x < 0.025"
./gru | sed -n 's/^on new numbers *error //p' > out.txt
check gru "x > 0 && x < 0.02"
./bilinear_attention > out.txt
awk '/^largest/ { ok = $NF < 1e-6 } END { exit !ok }' out.txt
check bilinear_attention "x > 85"
./policy_gradient | sed -n 's/^round 60 .*: \([0-9.]*\) of 200/\1/p' > out.txt
check policy_gradient "x > 150"
./two_optimizers "$data/digits.csv" > out.txt
check two_optimizers "x < 0.3"
./distillation "$data/digits.csv" > all.txt
sed -n 's/^student of the teacher.*right \([0-9.]*\) .*/\1/p' all.txt > out.txt
check distillation "x > 92"
./checkpoints | grep -q "the same bits as never stopped: yes"
./custom_adapter | grep -q "6 layers loaded again"
./custom_adapter_mlp "$data/digits.csv" > all.txt
sed -n 's/^in negative, loaded again: right \([0-9.]*\) .*/\1/p' all.txt > out.txt
check custom_adapter_mlp "x > 70"
[ "$(sed -n 's/^in negative, .*: //p' all.txt | sort -u | wc -l)" -eq 1 ]
# The program of the design on a tiny model with a tokenizer, which the tests ship.
"./finetune_llama" "$source/tests/golden/tiny-chat" "$source/tests/golden/tiny-chat/train.jsonl" adapter.h5 30 8 > out.txt
awk '/^step/ { if (!first) first = $4; last = $4 } END { exit !(last < first) }' out.txt ||
    { cat out.txt; echo "the loss did not fall"; exit 1; }
[ -s adapter.h5 ]
# A wrong path ends with one line and exit status 1.
if ./finetune_llama no/such/model > out.txt 2> err.txt; then echo "a missing model was no error"; exit 1; fi
[ "$(wc -l < err.txt)" -eq 1 ] || { cat err.txt; echo "expected one line"; exit 1; }
