#!/usr/bin/env bash
# Fails if a program needs a newer glibc than 2.34.
#
#   scripts/glibc.sh PROGRAM…
set -euo pipefail

readonly newest=2.34
for program in "$@"; do
    wanted=$(readelf --wide --version-info "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -1)
    if [ "$(printf '%s\n%s\n' "$wanted" "$newest" | sort -V | tail -1)" != "$newest" ]; then
        echo "glibc: $program needs glibc $wanted, newer than $newest" >&2
        exit 1
    fi
    echo "glibc: ${program##*/} needs glibc $wanted"
done
