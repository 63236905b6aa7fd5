#!/bin/sh
# Installs, builds and tests everything on a Debian or Ubuntu; the last line says "N passed, N failed, N skipped".
# usage: run.sh [--long]
#   --long  the long lane: TAPIR_LONG=1 for every test, then the scripts of tests/long
# Tests find their files by TAPIR_DATA (the data folder; ../shared/data where that exists) and TAPIR_MODEL_GGUF (fetched once into
# .cache where it is not set); a test that lacks one of them is skipped, and the reason stands here.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
long=0
for argument in "$@"; do
    case $argument in
    --long) long=1 ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' tests/run.sh; exit 0 ;;
    *) echo "run.sh: unknown option $argument; there is --long" >&2; exit 2 ;;
    esac
done

passed=0 failed=0 skipped=0
failures='' skips=''
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
export PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
jobs=$(nproc 2>/dev/null || echo 1)
[ "$jobs" -le 2 ] || jobs=2
began=$(date +%s)
newline='
'
tab=$(printf '\t')

title() {
    part_began=$(date +%s)
    printf -- '---- %s\n' "$1"
}
took() { printf '     %s: %d s\n' "$1" $(($(date +%s) - part_began)); }
pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    failures="$failures     failed: $1$newline"
    printf '     failed: %s\n' "$1"
}
skip() {
    skipped=$((skipped + 1))
    skips="$skips     skipped: $1: $2$newline"
    printf '     skipped: %s: %s\n' "$1" "$2"
}
finish() {
    printf -- '---- in all: %d s\n%s%s' $(($(date +%s) - began)) "$skips" "$failures"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" -eq 0 ]
    exit
}

# script NAME COMMAND...: 0 passes, 77 skips with its last line as the reason, all else fails and shows the output's end
script() {
    name=$1
    shift
    status=0
    "$@" >"$work/out" 2>&1 || status=$?
    case $status in
    0) pass ;;
    77) skip "$name" "$(tail -n 1 "$work/out")" ;;
    *) tail -n 40 "$work/out"; fail "$name (exit $status)" ;;
    esac
}

# build FOLDER COMPILER MESON_OPTIONS...
build() {
    folder=$1 compiler=$2
    shift 2
    title "$folder ($compiler)"
    again=
    [ ! -f "$folder/build.ninja" ] || again=--reconfigure
    if ! env CC="$compiler" meson setup $again "$folder" "$@" >"$work/out" 2>&1; then
        tail -n 20 "$work/out"
        if grep -q -i 'openmp.*\(NO\b\|not found\)' "$work/out"; then
            fail "$folder: configure: $compiler has no OpenMP here (for clang: the package libomp-dev of the same version)"
        else
            fail "$folder: configure: $(grep -m 1 ERROR "$work/out" || echo "see above")"
        fi
    elif ! meson compile -C "$folder" -j "$jobs" >"$work/out" 2>&1; then
        grep -E -A 6 'error:|FAILED|undefined reference' "$work/out" | head -n 60 || tail -n 40 "$work/out"
        fail "$folder: compile"
    else
        took "$folder"
        return 0
    fi
    took "$folder"
    return 1
}

# meson_tests FOLDER MULTIPLIER: runs them, adds up the results of its log
meson_tests() {
    title "meson test in $1"
    log=$1/meson-logs/testlog.json
    rm -f "$log"
    status=0
    meson test -C "$1" --no-rebuild --num-processes "$jobs" --timeout-multiplier "$2" >"$work/out" 2>&1 || status=$?
    if ! python3 tests/meson_results.py "$log" "$1" >"$work/results" 2>"$work/err"; then
        cat "$work/out" "$work/err"
        fail "$1: meson test"
    fi
    count=$failed
    while IFS=$tab read -r what name reason; do
        case $what in
        pass) pass ;;
        skip) skip "$name" "$reason" ;;
        fail) fail "$name: $reason" ;;
        show) printf '     | %s\n' "$name" ;;
        note) printf '     note: %s: %s\n' "$name" "$reason" ;;
        esac
    done <"$work/results"
    if [ "$status" -ne 0 ] && [ "$failed" -eq "$count" ]; then
        tail -n 20 "$work/out"
        fail "$1: meson test ended with $status"
    fi
    took "meson test in $1"
}

title 'packages'
sh tools/packages.sh test || fail 'packages'
for tool in gcc g++ clang meson ninja pkg-config python3; do
    command -v "$tool" >/dev/null 2>&1 || fail "$tool is not there"
done
[ "$failed" -eq 0 ] || finish
took 'packages'

if [ -z "${TAPIR_DATA:-}" ] && [ -d ../shared/data ]; then
    TAPIR_DATA=$(cd ../shared/data && pwd)
fi
if [ -z "${TAPIR_MODEL_GGUF:-}" ]; then
    title 'model'
    TAPIR_MODEL_GGUF=$(sh tools/fetch_model.sh) || TAPIR_MODEL_GGUF=
    took 'model'
fi
[ -z "${TAPIR_DATA:-}" ] || export TAPIR_DATA
[ -z "${TAPIR_MODEL_GGUF:-}" ] || export TAPIR_MODEL_GGUF
[ "$long" -eq 0 ] || export TAPIR_LONG=1
echo "     TAPIR_DATA: ${TAPIR_DATA:-not set}; TAPIR_MODEL_GGUF: ${TAPIR_MODEL_GGUF:-not set}"

# Threads that wait asleep: two tests share the cores.
export OMP_WAIT_POLICY=passive
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
[ ! -f tests/lsan.supp ] || export LSAN_OPTIONS="suppressions=$root/tests/lsan.supp:print_suppressions=0"

release=0 asan=0
build build-release gcc --buildtype=release && release=1
build build-asan gcc --buildtype=debug -Db_sanitize=address,undefined -Db_lundef=false && asan=1
build build-clang clang --buildtype=release

title 'checks'
for check in tests/check_*.sh tests/check_*.py; do
    case $check in
    *check_symbols.sh) [ "$release" -eq 1 ] && script "$check" sh "$check" build-release ;;
    *.sh) script "$check" sh "$check" ;;
    *.py) script "$check" python3 "$check" ;;
    esac
done
took 'checks'

[ "$release" -eq 0 ] || meson_tests build-release 1
[ "$asan" -eq 0 ] || meson_tests build-asan 5

if [ "$release" -eq 1 ]; then
    title 'scripts'
    export TAPIR_SOURCE="$root" TAPIR_BUILD="$root/build-release"
    find tests -name 'test_*.sh' -o -name 'test_*.py' | LC_ALL=C sort >"$work/scripts"
    [ "$long" -eq 0 ] || find tests/long -name '*.sh' | LC_ALL=C sort >>"$work/scripts"
    while read -r file; do
        case $file in
        tests/long/*) printf '     %s\n' "$file" ;;
        esac
        case $file in
        *.sh) script "$file" sh "$file" </dev/null ;;
        *.py) script "$file" python3 "$file" </dev/null ;;
        esac
    done <"$work/scripts"
    took 'scripts'
fi
finish
