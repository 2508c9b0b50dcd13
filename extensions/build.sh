#!/bin/bash
# Builds extensions: one relocatable object each.
#
#     extensions/build.sh OUT_DIR              all samples
#     extensions/build.sh OUT_DIR FILE...      these .c and .rs files
#
# A C file becomes OUT_DIR/STEM.o, so does a Rust file. Environment: CC (clang if it is there, else gcc), CFLAGS
# (behind the flags below; CFLAGS=-O0 for one), RUSTC, RUSTFLAGS, LD, OBJCOPY. Safe to run several times at once: each object
# appears complete or not at all.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ $# -lt 1 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
out=$1
shift
mkdir -p "$out"

if [ -z "${CC:-}" ]; then
    CC=gcc
    if command -v clang >/dev/null; then CC=clang; fi
fi
RUSTC=${RUSTC:-rustc}
LD=${LD:-ld}
OBJCOPY=${OBJCOPY:-objcopy}

# -mcmodel=kernel: the guest places extensions in the top 2 GiB. No PIC: no indirection through tables.
# Unwind tables and -g stay on the host, where reports and `stack` read them. No stack protector: its
# canary lies in thread-local storage, which guests have not. The red zone is safe: interrupts have stacks of their own.
# Tail calls would leave functions out of the backtraces of reports.
c_flags=(
    -std=c11 -O2 -g -ffreestanding -fno-stack-protector -fno-pic -fno-pie -mcmodel=kernel
    -fcf-protection=none -fno-optimize-sibling-calls -fasynchronous-unwind-tables -Wall -Wextra
    -I "$here/include"
)
read -r -a more_c_flags <<<"${CFLAGS:-}"

# As above. Fat LTO takes what is used of core, alloc and uio_extension into the one object.
rust_flags=(
    --edition 2024 -C opt-level=2 -C debuginfo=2 -C panic=abort -C codegen-units=1
    -C relocation-model=static -C code-model=kernel -C force-unwind-tables=yes
)
read -r -a more_rust_flags <<<"${RUSTFLAGS:-}"

work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

build_c() {
    local stem
    stem=$(basename "$1" .c)
    "$CC" "${c_flags[@]}" "${more_c_flags[@]}" -c "$1" -o "$work/$stem.o"
    mv "$work/$stem.o" "$out/$stem.o"
}

# The crate for extensions, once per run of this script.
build_rust_library() {
    [ -e "$work/libuio_extension.rlib" ] && return
    "$RUSTC" "${rust_flags[@]}" "${more_rust_flags[@]}" --crate-type rlib --crate-name uio_extension \
        --cfg 'feature="panic-handler"' --cfg 'feature="alloc"' \
        --out-dir "$work" "$here/rust/uio-extension/src/lib.rs"
}

build_rust() {
    local stem archive="$work/archive" member
    stem=$(basename "$1" .rs)
    build_rust_library
    mkdir -p "$archive"
    "$RUSTC" "${rust_flags[@]}" "${more_rust_flags[@]}" --crate-type staticlib --crate-name "$stem" -C lto=fat \
        --extern uio_extension="$work/libuio_extension.rlib" -o "$archive/$stem.a" "$1"
    # The first member is the program. What it needs of compiler_builtins, which has no part in LTO, is linked in; the
    # bitcode that comes with it would confuse tools.
    member=$(ar t "$archive/$stem.a" | sed -n 1p)
    (cd "$archive" && ar x "$stem.a" "$member")
    "$LD" -r --gc-sections --gc-keep-exported -e main -o "$work/$stem.linked.o" "$archive/$member" "$archive/$stem.a"
    "$OBJCOPY" --remove-section .llvmbc --remove-section .llvmcmd "$work/$stem.linked.o" "$work/$stem.o"
    mv "$work/$stem.o" "$out/$stem.o"
}

if [ $# -eq 0 ]; then
    set -- "$here"/native/*/*.c "$here"/rust/samples/*.rs
fi
for source in "$@"; do
    case $source in
    *.c) build_c "$source" ;;
    *.rs) build_rust "$source" ;;
    *)
        echo "build.sh: $source is neither .c nor .rs" >&2
        exit 2
        ;;
    esac
done
