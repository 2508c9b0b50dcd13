#!/bin/bash
# Builds eBPF programs: one object each.
#
#     extensions/build-bpf.sh OUT_DIR              all samples
#     extensions/build-bpf.sh OUT_DIR FILE...      these .c files
#
# FILE.c becomes OUT_DIR/FILE.o. Environment: CC (clang), MCPU (v3; v1 and v2 are older, v4 needs clang 18 or later), CFLAGS
# (behind the flags below). Safe to run several times at once: each object appears complete or not at all.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ $# -lt 1 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
out=$1
shift
mkdir -p "$out"

# Without -g there are no maps: their definitions are types.
flags=(
    -target bpf -mcpu="${MCPU:-v3}" -std=gnu11 -O2 -g -ffreestanding -Wall -Wextra
    # The tables of helpers and samples' parameters are not all used.
    -Wno-unused-parameter -Wno-unused-const-variable
    -I "$here/include"
)
read -r -a more_flags <<<"${CFLAGS:-}"

work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ $# -eq 0 ]; then
    set -- "$here"/bpf/*.c
fi
for source in "$@"; do
    stem=$(basename "$source" .c)
    "${CC:-clang}" "${flags[@]}" "${more_flags[@]}" -c "$source" -o "$work/$stem.o"
    mv "$work/$stem.o" "$out/$stem.o"
done
