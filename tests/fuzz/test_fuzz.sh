#!/bin/sh
# Ten seconds for each reader; a minute with TAPIR_LONG=1.  ASan and libFuzzer of clang; skipped (77) without them.
seconds=10
[ -z "${TAPIR_LONG:-}" ] || seconds=60
exec sh "$(dirname "$0")/run.sh" "$seconds"
