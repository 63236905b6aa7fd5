#!/bin/sh
# The checks themselves: each must accept a small good tree and name the fault in each of its broken copies.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1
tree=$work/tree
count=0 failed=0

# A tree in which nothing is wrong.
fresh() {
    rm -rf "$tree"
    mkdir -p "$tree/core" "$tree/ops/cpu" "$tree/nn/files" "$tree/optim" "$tree/models" "$tree/peft" "$tree/tools" "$tree/tests"
    printf '/* tapir.h - all of it. */\n#ifndef TAPIR_H\n#define TAPIR_H\n#include "core/core.h"\n#endif\n' >"$tree/tapir.h"
    cat >"$tree/core/core.h" <<'END'
/* core.h - contexts. */
#ifndef TP_CORE_H
#define TP_CORE_H
#ifdef __cplusplus
extern "C" {
#endif
#define TP_API __attribute__((visibility("default")))

typedef struct tp_ctx tp_ctx;

/* Whether nothing has failed, and the number of failures. */
TP_API int tp_ok(const tp_ctx *ctx);
TP_API int tp_failures(const tp_ctx *ctx);

#ifdef __cplusplus
}
#endif
#endif
END
    cat >"$tree/core/core.c" <<'END'
/* core.c - contexts. */
#include "core/core.h"

#include <string.h>

/* Words such as free(x), abort() and <hdf5.h> do no harm in comments. */
int tp_ok(const tp_ctx *ctx)
{
    return ctx != NULL && strlen("free(1) exit(1) printf(1)") > 0;
}

int tp_failures(const tp_ctx *ctx)
{
    return !tp_ok(ctx);
}
END
    cat >"$tree/tests/test_core.c" <<'END'
/* test_core.c - contexts. */
#include "core/core.h"

int main(void)
{
    return tp_ok(NULL) + tp_failures(NULL);
}
END
}

library() {
    mkdir -p "$tree/build"
    (cd "$tree" && gcc -I. -fPIC -fvisibility=hidden -c core/core.c -o build/core.o && ar rcs build/libtapir.a build/core.o &&
        gcc -shared -o build/libtapir.so.0 build/core.o)
}

run_check() {
    case $1 in
    *.py) python3 "$here/$1" "$tree" ;;
    check_symbols.sh) library && sh "$here/$1" "$tree/build" "$tree" ;;
    *) sh "$here/$1" "$tree" ;;
    esac
}

# good CHECK: no finding in the tree as it is
good() {
    count=$((count + 1))
    if ! run_check "$1" >"$work/said" 2>&1 || [ -s "$work/said" ]; then
        failed=$((failed + 1))
        echo "$1: complains about a good tree: $(head -n 1 "$work/said")"
    fi
}

# bad CHECK TEXT: exit status 1 and a line that has TEXT; then the tree is made anew
bad() {
    count=$((count + 1))
    status=0
    run_check "$1" >"$work/said" 2>&1 || status=$?
    if [ "$status" -ne 1 ] || ! grep -q -F -e "$2" "$work/said"; then
        failed=$((failed + 1))
        echo "$1: status $status, expected a finding with '$2', said: $(head -n 3 "$work/said")"
    fi
    fresh
}

# put FILE TEXT: appends TEXT (with \n) to a file of the tree, which begins with a head comment
put() {
    [ -f "$tree/$1" ] || printf '/* a file. */\n' >"$tree/$1"
    printf '%b' "$2" >>"$tree/$1"
}

# function_of N: a function of N lines
function_of() {
    printf 'int tp_long(const tp_ctx *ctx)\n{\n'
    i=1
    while [ "$i" -lt "$1" ]; do
        echo '    ctx = 0;'
        i=$((i + 1))
    done
    printf '    return ctx != 0;\n}\n'
}

fresh
for check in check_layers.sh check_style.py check_api.py check_headers.sh check_symbols.sh; do good $check; done

put core/a.c '#include "ops/ops.h"\n'; bad check_layers.sh 'core/a.c:2: core may not include ops'
put peft/a.c '#include "models/models.h"\n'; bad check_layers.sh 'peft may not include models'
put models/a.c '#include "peft/peft.h"\n'; bad check_layers.sh 'models may not include peft'
put optim/a.c '#include "models/models.h"\n'; bad check_layers.sh 'optim may not include models'
put ops/a.c '#include "tapir.h"\n'; bad check_layers.sh 'ops may not include tapir.h'
put ops/a.c '#include <tapir.h>\n'; bad check_layers.sh '<tapir.h>: for programs only'
put ops/a.c '#include "../core/core.h"\n'; bad check_layers.sh 'no .. in an include'
put nn/a.c '#include "ops/cpu/isa.h"\n'; bad check_layers.sh 'headers stay in ops'
put nn/a.c '#include <jansson.h>\n'; bad check_layers.sh '<jansson.h>: only in core/json.c'
put nn/a.c '#include <pcre2.h>\n'; bad check_layers.sh '<pcre2.h>: only in core/regex.c'
put core/a.c '#include <xxhash.h>\n'; bad check_layers.sh '<xxhash.h>: only in core/hash.c'
put nn/a.c '#include <hdf5.h>\n'; bad check_layers.sh '<hdf5.h>: only in one file of nn/files'
put nn/files/a.c '#include <hdf5.h>\n'; put nn/files/b.c '#include <hdf5.h>\n'; bad check_layers.sh 'hdf5.h in more than one file'
put models/a.c '#include <utf8proc.h>\n'; bad check_layers.sh '<utf8proc.h>: only in models/text'
put ops/cpu/a.c '#include <oneapi/dnnl/dnnl.h>\n'; bad check_layers.sh 'only in ops/cpu/onednn*.[ch]'
put ops/a.c '#include <lapacke.h>\n'; bad check_layers.sh '<lapacke.h>: only in ops/cpu'
put core/a.c '#include <curl/curl.h>\n'; bad check_layers.sh '<curl/curl.h>: unknown'
put ops/a.c 'int f(void *p)\n{\n    free (p);\n}\n'; bad check_layers.sh 'free(): only core/memory.c'
put ops/a.c 'char *f(void)\n{\n    return strdup("x");\n}\n'; bad check_layers.sh 'strdup(): only core/memory.c'
put core/memory.c 'char *f(void)\n{\n    return malloc(1);\n}\n'; good check_layers.sh; fresh
put ops/a.c 'void f(struct x *p)\n{\n    p->free(p);\n    p->ops.free(p);\n}\n'; good check_layers.sh; fresh
put ops/a.c '#ifdef TP_HAVE_CUDA\n#endif\n'; bad check_layers.sh '#if for a backend or a CPU'
put ops/cpu/a.c '#ifdef __AVX2__\n#endif\n'; good check_layers.sh; fresh

put core/a.c '/* '"$(printf '%0130d' 0)"' */\n'; bad check_style.py '136 columns'
put a.md "$(printf '%0131d' 0)"'\n'; bad check_style.py '131 columns'
put tests/a.py "$(printf '# %0150d' 0)"'\n'; good check_style.py; fresh
put core/a.c '\tint x;\n'; bad check_style.py 'a tab'
put core/a.c 'int x; \n'; bad check_style.py 'space at the end'
put core/a.c 'int x;'; bad check_style.py 'no newline at the end'
yes '' | head -n 498 >>"$tree/core/core.c"; bad check_style.py 'lines; fewer than 500'
put ops/cpu/a.c ''; yes '' | head -n 798 >>"$tree/ops/cpu/a.c"; good check_style.py; fresh
function_of 60 >>"$tree/core/core.c"; good check_style.py; fresh
function_of 61 >>"$tree/core/core.c"; bad check_style.py 'tp_long() has 61 lines; at most 60'
put nn/core.c ''; bad check_style.py 'names are unique'
printf 'int x;\n' >"$tree/core/a.c"; bad check_style.py 'no head comment'
put core/a.c 'void f(void) {\n}\n'; bad check_style.py 'the brace of a function'
put core/a.c 'void f(char* p);\n'; bad check_style.py 'pointers are written'
put core/a.c 'typedef int my_t;\n'; bad check_style.py 'a type ends in _t'
put core/a.c 'void f(char *p)\n{\n    strcpy(p, "x");\n}\n'; bad check_style.py 'strcpy() is not used here'
put tools/a.c 'int f(void)\n{\n    return system("x");\n}\n'; bad check_style.py 'system() is not used here'
for word in 'abort()' 'exit(1)' 'printf("x")' 'puts("x")'; do
    put core/a.c "void f(void)\n{\n    $word;\n}\n"; bad check_style.py 'the library neither prints nor exits'
done
put core/a.c 'void f(void)\n{\n    fprintf(stderr, "x");\n}\n'; bad check_style.py 'the library neither prints nor exits'
put core/a.c 'int tp_ctx_finish(tp_ctx *ctx)\n{\n    fprintf(stderr, "x");\n}\n'; good check_style.py; fresh
for word in TODO FIXME 'not implemented'; do put core/a.c "/* $word */\n"; bad check_style.py 'left over'; done
for room in work root home tmp; do put core/a.c "/* /$room/x */\n"; bad check_style.py 'a path of one machine'; done
put core/a.c '/* deb.debian.org */\n'; bad check_style.py 'names a registry'
put core/a.c '#define A(x) do { x; } while (0)\n'; bad check_style.py 'is a body of code'
put core/a.c '#define A(x) if (x) \\\\\n    return 1\n'; bad check_style.py 'has return in it'
put core/a.c '#include "core.c"\n'; bad check_style.py 'includes core.c'

# in_header TEXT: puts TEXT at the end of core.h's declarations
in_header() {
    awk -v text="$1" '/^#ifdef __cplusplus/ && ++n == 2 { printf "%s", text } { print }' "$tree/core/core.h" >"$work/h"
    mv "$work/h" "$tree/core/core.h"
}
in_header '\nTP_API int tp_bare(tp_ctx *ctx);\n'; bad check_api.py 'tp_bare has no comment before it'
in_header '/* ---- a section ---- */\n\nTP_API int tp_bare(tp_ctx *ctx);\n'; bad check_api.py 'tp_bare has no comment before it'
in_header '/* ok */\nTP_API int tp_new(tp_ctx *ctx);\n'; bad check_api.py 'tp_new is in no test'
in_header '/* ok */\nTP_API int tp_new(int x);\n'; bad check_api.py 'tp_new: the first parameter is "int x"'
in_header '/* ok */\nTP_API int tp_newX(tp_ctx *ctx);\n'; bad check_api.py 'tp_newX is public and not named'
in_header '/* ok */\nTP_API int tp_ok(tp_ctx *ctx);\n'; bad check_api.py 'tp_ok is declared in core/core.h too'
put core/inner.h 'TP_API int tp_inner(void);\n'; bad check_api.py 'TP_API in a header that tapir.h does not reach'

in_header 'size_t tp_size(void);\n'; bad check_headers.sh 'core/core.h: as C11'
in_header 'int tp_f(int class);\n'; bad check_headers.sh 'core/core.h: as C++17'
in_header 'enum { TP_X };\n'; good check_headers.sh; fresh
put tapir.h '#include "nn/nn.h"\n'; bad check_headers.sh 'tapir.h: includes nn/nn.h, which is not there'

put core/core.c 'TP_API int helper;\n'; bad check_symbols.sh 'exports helper'
put core/core.c 'int helper(void)\n{\n    return 1;\n}\n'; bad check_symbols.sh 'libtapir.a: has the global name helper'
in_header '/* ok */\nTP_API int tp_absent(tp_ctx *ctx);\n'; bad check_symbols.sh 'does not have the declared tp_absent'
put core/core.c 'int tpi_next(void)\n{\n    static int n;\n\n    return n++;\n}\n'
bad check_symbols.sh 'a variable that can change'

echo "check_selftest: $((count - failed)) of $count"
[ "$failed" -eq 0 ]
