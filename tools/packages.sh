#!/bin/sh
# Installs what Tapir needs from Debian's or Ubuntu's archive and is not there yet; says what.
# usage: packages.sh build | test
# build: compiler, Meson, libraries and cmocka (meson.build asks for it); test: that, clang, h5py and what traces system calls.
set -eu

# One list per use: names that Debian 12, Debian 13 and Ubuntu share.
build='gcc g++ libc6-dev make meson ninja-build pkg-config cmake libdnnl-dev libhdf5-dev libjansson-dev libpcre2-dev
    libutf8proc-dev libxxhash-dev libcmocka-dev python3 python3-pip'
test='clang libclang-rt-dev libomp-dev strace python3-h5py'

case ${1:-} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*) echo "usage: packages.sh build | test" >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null 2>&1; then
    echo "packages: this is neither Debian nor Ubuntu; these are needed by their names there: $wanted" >&2
    exit 0
fi
missing=
for name in $wanted; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $name" ;;
    esac
done
if [ -z "$missing" ]; then
    echo "packages: all there"
    exit 0
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
    command -v sudo >/dev/null 2>&1 || { echo "packages: as root, please: apt-get install$missing" >&2; exit 1; }
fi
echo "packages: installing with ${sudo:+sudo }apt-get:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of names
if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
    >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "packages: apt-get failed; its last lines stand above" >&2
    exit 1
fi
echo "packages: done"
