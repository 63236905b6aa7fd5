#!/bin/sh
# From a fresh Debian or Ubuntu to a language model that DiaBlo has taught to solve word problems.
# usage: sh tools/quickstart.sh
#   MODEL=path   a model directory or GGUF file of one's own; default: SmolLM2-135M-Instruct, fetched once into .cache
#   QUICK=1      a short run: a minute once built
#   OUT=folder   the run folder; default run-quickstart
# Nothing is installed but packages of the system's archive; everything else stays in this folder.
set -eu
cd "$(dirname "$0")/.."

quick=${QUICK:-0}
out=${OUT:-run-quickstart}
data=tools/data/mawps
settings='--template chatml --method diablo --blocks 64 --lr 6e-3 --schedule linear --clip 0 --seed 0'
answers='--template chatml --max-new 32'
problem=2 # the line of test.jsonl that is shown before and after
if [ "$quick" != 0 ]; then
    batch=4 epochs=1 budget=15 warmup=2 limit='--limit 16'
else
    batch=16 epochs=1 budget=480 warmup=10 limit=''
fi

began=$(date +%s)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
say() { printf '\n== %s\n' "$1"; }
fail() { printf 'quickstart: %s\n' "$1" >&2; exit 1; }
seconds() { echo $(($(date +%s) - began)); }

# field NAME FILE: the value of a field of the last JSON line that has it
field() {
    python3 -c '
import json, sys
rows = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8") if line.startswith("{")]
print([row[sys.argv[1]] for row in rows if sys.argv[1] in row][-1])' "$1" "$2"
}

say 'Packages'
sh tools/packages.sh build

say 'Building Tapir in build'
again=
[ ! -f build/build.ninja ] || again=--reconfigure
if ! { meson setup $again build --buildtype=release && meson compile -C build -j "$(nproc)" tapir:executable; } \
    >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    fail 'the build failed; its last lines stand above'
fi
tapir=build/tapir
[ -x "$tapir" ] || tapir=build/tools/tapir
[ -x "$tapir" ] || fail 'the build left no program tapir'
echo "built after $(seconds) s"

say 'Model'
model=${MODEL:-$(sh tools/fetch_model.sh)}
echo "$model"
dtype=f32
if grep -q -w -E 'avx512_bf16|amx_bf16' /proc/cpuinfo 2>/dev/null; then
    dtype=bf16
    echo 'this CPU multiplies bf16: bf16 it is'
else
    echo 'this CPU does not multiply bf16: f32 it is'
fi

# measure NAME OPTIONS...: eval on the test problems; the result goes to $work/NAME.json
measure() {
    name=$1
    shift
    # shellcheck disable=SC2086 # lists of options
    "$tapir" eval --model "$model" --dtype "$dtype" --data "$data/test.jsonl" --metric number $answers $limit "$@" \
        >"$work/$name.json"
    python3 - "$work/$name.json" <<'END'
import json, sys
row = json.loads(open(sys.argv[1]).read().strip().split('\n')[-1])
print(f"right: {100 * row['value']:.1f} % of {row['n']} test problems "
      f"(95 % interval {100 * row['low']:.1f} to {100 * row['high']:.1f} %)")
END
}

# answer OPTIONS...: what the model writes to the problem that is shown
answer() {
    python3 - "$data/test.jsonl" "$problem" >"$work/prompt" <<'END'
import json, sys
with open(sys.argv[1], encoding='utf-8') as lines:
    sys.stdout.write(json.loads(lines.read().split('\n')[int(sys.argv[2]) - 1])['prompt'])
END
    # shellcheck disable=SC2086 # a list of options
    "$tapir" generate --model "$model" --dtype "$dtype" --quiet $answers --prompt - "$@" <"$work/prompt"
}

say 'Before: the model as it is'
measure before
answer >"$work/answer.before"

say 'Ten steps, to see how long it takes'
# shellcheck disable=SC2086 # a list of options
"$tapir" finetune --model "$model" --dtype "$dtype" --data "$data/train.jsonl" --out "$work/probe" $settings --batch "$batch" \
    --steps 10 --quiet
# The first two steps warm caches up and are left out; the median forgives a moment in which the machine did something else.
python3 - "$work/probe/log.jsonl" "$data/train.jsonl" "$batch" "$epochs" "$budget" >"$work/plan" <<'END'
import json, statistics, sys
log, data, batch, epochs, budget = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
rows = [json.loads(line) for line in open(log, encoding='utf-8') if line.strip()]
steps = [row['seconds'] for row in rows if 'loss' in row and 'seconds' in row][2:]
each = statistics.median(steps)
lines = sum(1 for line in open(data, encoding='utf-8') if line.strip())
whole = int(-(-lines // batch) * epochs)
taken = max(10, min(whole, int(budget / each)))
print(whole, taken, f'{each:.2f}', round(whole * each), round(taken * each), round(100 * taken / whole))
END
read -r whole taken each whole_s taken_s share <"$work/plan"
echo "a step takes $each s; all $whole steps of $batch problems would take $whole_s s"
if [ "$taken" -lt "$whole" ]; then
    echo "training on $share % of the problems: $taken steps, about $taken_s s"
else
    echo "training on all problems: $taken steps, about $taken_s s"
fi

say 'Training with DiaBlo'
# shellcheck disable=SC2086 # a list of options
"$tapir" finetune --model "$model" --dtype "$dtype" --data "$data/train.jsonl" --out "$out" --overwrite $settings \
    --batch "$batch" --steps "$taken" --warmup "$warmup"

say 'After: the same model with the adapter'
measure after --adapter "$out"
answer --adapter "$out" >"$work/answer.after"

say 'One test problem'
cat "$work/prompt"
printf '\n\n-- before:\n'
cat "$work/answer.before"
printf '\n-- after:\n'
cat "$work/answer.after"

say 'Done'
for file in adapter.h5 log.jsonl loss.svg run.json; do
    [ -s "$out/$file" ] || fail "$out has no $file"
done
python3 - "$(field value "$work/before.json")" "$(field value "$work/after.json")" <<'END'
import sys
print('right before: %.1f %%, after: %.1f %%' % tuple(100 * float(x) for x in sys.argv[1:]))
END
echo "$out holds the adapter (adapter.h5), the log (log.jsonl), its picture (loss.svg) and all options (run.json)"
echo "ask it something:  $tapir generate --model $model --adapter $out --template chatml --prompt '...'"
echo "in all: $(seconds) s"
