#!/bin/sh
# Makes a clean root of Debian 12 or 13 and runs there, in a copy of this tree, tests/run.sh and the quickstart (QUICK=1).
# usage: fresh.sh 12|13 [COMMAND...]      (as root; needs debootstrap and network)
#   COMMAND...  what to run there instead, each a line for sh
#   MIRROR      of Debian; default: the one that this machine's apt uses
#   TMPDIR      where the root is made (some 4 GB; removed at the end); default /var/tmp
set -eu

number=${1:-}
case $number in
12) suite=bookworm ;;
13) suite=trixie ;;
*) echo "usage: fresh.sh 12|13 [COMMAND...]" >&2; exit 2 ;;
esac
shift
[ $# -gt 0 ] || set -- 'sh tests/run.sh' 'QUICK=1 sh tools/quickstart.sh'
cd "$(dirname "$0")/.."
tree=$PWD

skip() { echo "fresh: $1"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip 'needs root for chroot'
command -v debootstrap >/dev/null 2>&1 || skip 'debootstrap is not there (package debootstrap)'

# A mount namespace of our own: no mount made here can outlive this process or be seen elsewhere.
if [ -z "${TAPIR_FRESH_MOUNTS:-}" ]; then
    TAPIR_FRESH_MOUNTS=1 exec unshare --mount --propagation private sh "$tree/tests/fresh.sh" "$number" "$@"
fi

# The archive that this machine's apt reads: an address that ends in /debian.
# shellcheck disable=SC2016 # the format is apt's
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')}
[ -n "$mirror" ] || skip "no Debian mirror in this machine's apt configuration; set MIRROR"

root=$(mktemp -d "${TMPDIR:-/var/tmp}/tapir-fresh.XXXXXX")
chmod 755 "$root"
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    for point in proc sys dev/pts; do
        umount "$root/$point" 2>/dev/null || true
    done
    # nothing below may still be a mount when files are removed
    if grep -q " $root" /proc/self/mounts; then
        echo "fresh: something is still mounted in $root; it is left there" >&2
    else
        rm -rf --one-file-system "$root"
    fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

# The host's way to the network: proxies from the environment and from apt, certificates, pip's settings.
proxy=$(apt-config dump Acquire::http::Proxy 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(..*\)";$/\1/p')
[ -z "$proxy" ] || export http_proxy="${http_proxy:-$proxy}"

began=$(date +%s)
echo "fresh: debootstrap of $suite"
if ! debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1; then
    tail -n 5 "$root.log" >&2
    rm -f "$root.log"
    echo "fresh: debootstrap failed; its last lines stand above" >&2
    exit 1
fi
rm -f "$root.log"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sys "$root/sys" 2>/dev/null || true
cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp -L /etc/hosts "$root/etc/hosts" 2>/dev/null || true
{
    echo "deb $mirror $suite main"
    echo "deb $mirror $suite-updates main"
} >"$root/etc/apt/sources.list"
apt-config dump Acquire 2>/dev/null | grep -E '^Acquire::(https?::(Proxy|CaInfo)|Check-Valid-Until|Check-Date|Retries)' \
    >"$root/etc/apt/apt.conf.d/90host" || true
certificates=/etc/ssl/certs/ca-certificates.crt
if [ -s "$certificates" ]; then
    cp -L "$certificates" "$root/etc/host-certificates.crt"
fi
for file in /etc/pip.conf "${HOME:-/}/.config/pip/pip.conf" "${HOME:-/}/.pip/pip.conf"; do
    [ ! -f "$file" ] || cat "$file" >>"$root/etc/pip.conf"
done

mkdir -p "$root/srv/tapir"
if command -v git >/dev/null 2>&1 && git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z -co --exclude-standard
else
    find . \( -name 'build*' -o -name .cache -o -name .git \) -prune -o -type f -print0
fi | tar -c --null -T - -f - --ignore-failed-read | tar -x -f - -C "$root/srv/tapir"
data=${TAPIR_DATA:-../shared/data}
if [ -d "$data" ]; then
    mkdir -p "$root/srv/shared"
    cp -r "$data" "$root/srv/shared/data"
fi
echo "fresh: a clean $suite after $(($(date +%s) - began)) s"

# inside COMMAND: with nothing of this environment but what leads to the network
inside() {
    command=$1
    set -- PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_PROXY \
        PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT; do
        value=$(printenv "$name" || true)
        [ -z "$value" ] || set -- "$@" "$name=$value"
    done
    if [ -f "$root/etc/host-certificates.crt" ]; then
        set -- "$@" PIP_CERT=/etc/host-certificates.crt SSL_CERT_FILE=/etc/host-certificates.crt
    fi
    env -i "$@" chroot "$root" /bin/sh -c "cd /srv/tapir && $command"
}

failed=0
for what in "$@"; do
    echo "fresh: $suite: $what"
    if inside "$what"; then
        echo "fresh: $suite: $what: ok after $(($(date +%s) - began)) s"
    else
        echo "fresh: $suite: $what: FAILED after $(($(date +%s) - began)) s"
        failed=1
    fi
done
exit $failed
