#!/bin/sh
# What the built library shows: the shared one exports tp_ symbols alone, each with a version (core/tapir.map), and all that the
# public headers declare; the static one
# has no other names than tp_ and tpi_, and no variables that can change but the named exceptions.  One line per finding.
# usage: check_symbols.sh BUILD_FOLDER [root of the tree]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: check_symbols.sh BUILD_FOLDER}
root=${2:-$here/..}
shared=$(find "$build" -maxdepth 1 -name 'libtapir.so*' -type f | head -n 1)
static=$(find "$build" -maxdepth 1 -name 'libtapir.a' -type f | head -n 1)
[ -n "$shared" ] || { echo "$build: no libtapir.so"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

nm -D --defined-only "$shared" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u >"$work/exported"
: >"$work/findings"
[ ! -f "$root/core/tapir.map" ] || nm -D --defined-only "$shared" |
    grep -v -E '@@?TAPIR_[0-9]+$|[ ](TAPIR_[0-9]+|_init|_fini|_edata|_end|__bss_start)$' |
    sed "s|^.* |$(basename "$shared"): has no version: |" >>"$work/findings" || true
grep -v -E '^(tp_[a-z0-9_]+|TAPIR_[0-9]+|_init|_fini|_edata|_end|__bss_start)$' "$work/exported" |
    sed "s|^|$(basename "$shared"): exports |" >>"$work/findings" || true

PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here python3 - "$root" <<'END' | sort -u >"$work/declared"
import sys, check_api, csource
for header in csource.public_headers(sys.argv[1]):
    for _, name, _ in check_api.public_functions(sys.argv[1], header, lambda *a: None):
        print(name)
END
comm -23 "$work/declared" "$work/exported" | sed "s|^|$(basename "$shared"): does not have the declared |" >>"$work/findings"

if [ -n "$static" ]; then
    nm --defined-only -g "$static" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u |
        grep -v -E '^(tpi?_[A-Za-z0-9_]+|DW\.ref\..*|__odr_asan.*|_*asan.*)$' | sed 's|^|libtapir.a: has the global name |' \
        >>"$work/findings" || true
    # The exceptions: HDF5's lock, the CPU's features, jansson's allocator (DESIGN.md 2), the counters of failing allocations, and
    # the context that stands for "no memory for a context".
    may='(tpi_)?(hdf5_lock|cpu_features(\.[0-9]+)?|json_.*|fail_after|fail_always|tried|no_memory|__odr_asan.*|_*asan.*)'
    objdump -t "$static" 2>/dev/null | awk '
        /file format/ { sub(/:$/, "", $1); object = $1 }
        / \.(data|bss|tdata|tbss)[ \t]/ && / O / { print object " " $NF }' | grep -v -E " (\.hidden )?$may(\.[0-9]+)?\$" |
        sed 's|^|libtapir.a: a variable that can change: |' >>"$work/findings" || true
fi
cat "$work/findings"
[ ! -s "$work/findings" ]
