#!/bin/sh
# Fuzzes Tapir's readers with libFuzzer (clang) under ASan; a finding is kept under BUILD/fuzz/found and ends it with 1.
# usage: run.sh SECONDS [hdf5|safetensors|gguf|tokenizer|config|jsonl]...
# SECONDS of processor time for each target, two at a time.  TAPIR_BUILD: a build folder (build); CLANG: the compiler (clang).
# Exits 77 without a clang that has the fuzzer.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:?usage: run.sh SECONDS [TARGET]...}
shift
[ "$#" -gt 0 ] || set -- hdf5 safetensors gguf tokenizer config jsonl
build=$(cd "${TAPIR_BUILD:-build}" && pwd) || exit 1
clang=${CLANG:-clang}
export TAPIR_SOURCE="$PWD"
work=$build/fuzz
mkdir -p "$work/found" "$work/tmp"
export TMPDIR="$work/tmp"

printf 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return n > 99 && *p; }\n' >"$work/probe.c"
if ! $clang -fsanitize=fuzzer,address "$work/probe.c" -o "$work/probe" 2>/dev/null; then
    echo "needs clang with libFuzzer (package libclang-rt-dev)"
    exit 77
fi

# Readers are compiled for the fuzzer; all else comes from the build's library.
readers=$(ls core/json*.c core/regex.c core/readfile.c nn/files/*.c models/llama_config.c models/text/*.c)
headers=$(ls nn/files/*.h core/*.h tests/fuzz/*.h | tr '\n' ' ')
flags="-g -O1 -std=gnu11 -D_GNU_SOURCE -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address -I. -w"
flags="$flags $(pkg-config --cflags jansson libpcre2-8 libutf8proc libxxhash hdf5-serial)"
libs="$(pkg-config --libs jansson libpcre2-8 libutf8proc libxxhash hdf5-serial)"
libs="$libs $(pkg-config --libs lapacke 2>/dev/null || echo -llapacke) -ldnnl -lgomp -lm -lpthread"
{
    printf 'all:'
    for source in $readers $(printf 'tests/fuzz/fuzz_%s.c ' "$@"); do
        printf ' %s/%s.o' "$work" "$(basename "$source" .c)"
    done
    echo
    for source in $readers $(printf 'tests/fuzz/fuzz_%s.c ' "$@"); do
        object=$work/$(basename "$source" .c).o
        printf '%s: %s %s\n\t%s %s -c %s -o %s\n' "$object" "$source" "$headers" "$clang" "$flags" "$source" "$object"
    done
} >"$work/Makefile"
if ! make -s -j2 -f "$work/Makefile" all >"$work/log" 2>&1; then
    tail -n 20 "$work/log"
    exit 1
fi

# one TARGET: builds and runs it; its last line says how many inputs there were
one() {
    objects=
    for source in $readers; do
        [ "$1/$source" = hdf5/nn/files/h5_sum.c ] || objects="$objects $work/$(basename "$source" .c).o"
    done
    # shellcheck disable=SC2086 # lists of words
    $clang -fsanitize=fuzzer,address "$work/fuzz_$1.o" $objects "$build/libtapir.a" $libs \
        -o "$work/fuzz_$1" >"$work/$1.log" 2>&1 || return 1
    mkdir -p "$work/corpus/$1"
    # A text of 64 KiB is long for every reader.  Told by a signal, libFuzzer ends well.
    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 \
        "$work/fuzz_$1" -max_total_time=$((seconds * 30)) -max_len=65536 -timeout=1200 -rss_limit_mb=1024 -malloc_limit_mb=600 \
        -artifact_prefix="$work/found/$1-" -print_final_stats=1 "$work/corpus/$1" "tests/fuzz/corpus/$1" \
        >>"$work/$1.log" 2>&1 &
    fuzzer=$!
    ticks=$(($(getconf CLK_TCK) * seconds))
    while
        used=$(sed 's/.*) //' "/proc/$fuzzer/stat" 2>/dev/null | awk '{ print $12 + $13 }')
        [ "${used:-$ticks}" -lt "$ticks" ]
    do
        sleep 1
    done
    kill -USR1 "$fuzzer" 2>/dev/null
    wait "$fuzzer"
}

failed=0
while [ "$#" -gt 0 ]; do
    one "$1" &
    first=$! first_name=$1 second=
    shift
    if [ "$#" -gt 0 ]; then
        one "$1" &
        second=$! second_name=$1
        shift
    fi
    for pair in "$first $first_name" ${second:+"$second $second_name"}; do
        name=${pair#* }
        if wait "${pair%% *}"; then
            echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log") inputs in $seconds s, no finding"
        else
            tail -n 45 "$work/$name.log" | cut -c1-300
            echo "$name: a finding, or it did not run: $work/$name.log"
            failed=1
        fi
    done
done
exit "$failed"
