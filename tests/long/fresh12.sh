#!/bin/sh
# A clean Debian 12: builds, tests and the quickstart.
exec sh "$(dirname "$0")/../fresh.sh" 12
