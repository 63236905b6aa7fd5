#!/bin/sh
# Every public header (those that tapir.h reaches) compiles alone, as C11 and as C++17.  One line per finding, exit 1 on any.
# usage: check_headers.sh [root of the tree]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-$here/..}
cd "$root"
bad=0

# try NAME HEADER COMPILER FLAGS...: says the first error of a header that is included twice by an otherwise empty program
try() {
    what=$1 header=$2
    shift 2
    said=$(printf '#include "%s"\n#include "%s"\nint main(void) { return 0; }\n' "$header" "$header" |
        "$@" -I. -fsyntax-only - 2>&1) && return 0
    printf '%s: as %s: %s\n' "$header" "$what" "$(printf '%s\n' "$said" | grep -m1 -E 'error|warning' || printf '%s' "$said")"
    bad=1
}

headers=$(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here python3 -c 'import csource; print("\n".join(csource.public_headers(".")))')
for header in $headers; do
    try C11 "$header" "${CC:-gcc}" -x c -std=c11 -pedantic -Wall -Wextra -Wshadow -Wstrict-prototypes -Wundef -Werror
    try C++17 "$header" "${CXX:-g++}" -x c++ -std=c++17 -Wall -Wextra -Werror
done
missing=$(sed -n 's/^#include "\(.*\)".*/\1/p' tapir.h | while read -r included; do
    [ -f "$included" ] || echo "tapir.h: includes $included, which is not there"
done)
[ -z "$missing" ] || { printf '%s\n' "$missing"; bad=1; }
exit $bad
