#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make powercut`: gathers what the virtual machine needs (a kernel, an initramfs with Baton and the
# guest's program, a disk) into DIRECTORY and runs the cuts (README.md). Skips with the reason and exit 0
# where the machine cannot be had.
# Must not touch: anything outside DIRECTORY; the host's own kernel, which stays as it is.
#
# usage: [CUTS=20] [SEED=n] [IMAGE=DIR] [LIE=1] BATON_BIN=DIR tests/powercut/run.sh DIRECTORY
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?the directory for image, kernel and logs}"
directory=$(cd "$1" && pwd)
cuts=${CUTS:-20}
seed=${SEED:-$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}
disk_bytes=256M
kernel_package=linux-image-cloud-amd64
# In the order of their dependencies. What the kernel has built in is not there and not needed.
modules='virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk'

skip() {
        echo "skipped: $*"
        exit 0
}

as_root() {
        if [ "$(id -u)" -eq 0 ]; then
                "$@"
        else
                sudo -n "$@"
        fi
}

# The kernel is a file for qemu: fetched and unpacked, not installed. Whole, or not there at all.
fetch_kernel() {
        new=$directory/kernel.new
        rm -rf "$new"
        mkdir -p "$new"
        package=$(apt-cache depends "$kernel_package" 2>/dev/null |
                sed -n 's/.*Depends: \(linux-image-\)/\1/p' | head -n 1)
        [ -n "$package" ] || {
                echo "no such package is known" >"$new/log"
                return 1
        }
        (cd "$new" && apt-get -q -q download "$package") >"$new/log" 2>&1 &&
                dpkg-deb -x "$new"/*.deb "$new/tree" &&
                cp "$new"/tree/boot/vmlinuz-* "$new/vmlinuz" || return 1
        for module in $modules; do
                find "$new/tree" -name "$module.ko" -exec cp {} "$new" \;
        done
        rm -rf "$new/tree" "$new"/*.deb
        mv "$new" "$directory/kernel"
}

need_kernel() {
        [ ! -f "$directory/kernel/vmlinuz" ] || return 0
        command -v apt-get >/dev/null 2>&1 || skip "there is no apt-get to fetch $kernel_package with"
        # An old list of packages names a file that is no longer there.
        fetch_kernel || { as_root apt-get -q -q update >/dev/null 2>&1 && fetch_kernel; } ||
                skip "$kernel_package cannot be fetched: $(tail -n 1 "$directory/kernel.new/log")"
}

# The binaries and every library that they are linked with.
make_initramfs() {
        tree=$directory/tree
        rm -rf "$tree"
        mkdir -p "$tree/bin" "$tree/modules"
        for program in batond baton-worker baton baton-checker; do
                cp "$BATON_BIN/$program" "$tree/bin/"
        done
        cp "$directory/guest" "$tree/init"
        for file in "$tree"/bin/* "$tree/init"; do
                ldd "$file" | sed -n 's,^[^/]*\(/[^ ]*\) (0x.*,\1,p'
        done | sort -u | while read -r library; do
                mkdir -p "$tree$(dirname "$library")"
                cp -L "$library" "$tree$library"
        done
        strip "$tree"/bin/* "$tree/init"
        for module in $modules; do
                if [ -f "$directory/kernel/$module.ko" ]; then
                        cp "$directory/kernel/$module.ko" "$tree/modules/"
                        echo "$module.ko" >>"$tree/modules/list"
                fi
        done
        (cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0) >"$directory/initramfs"
        rm -rf "$tree"
}

# A drive may tear a block of the file system; ext4's own checksums and its log must stand that.
make_disk() {
        rm -f "$directory/disk.img"
        truncate -s "$disk_bytes" "$directory/disk.img"
        mke2fs -q -t ext4 -m 0 -E lazy_itable_init=0,lazy_journal_init=0 -F "$directory/disk.img"
}

[ "$(uname -m)" = x86_64 ] || skip "the virtual machine is made for x86_64, this is $(uname -m)"
"$root/packaging/install-deps.sh" powercut || skip "qemu is not here and cannot be installed, see above"
need_kernel
make_initramfs
words=
if [ -n "${IMAGE:-}" ]; then
        cuts=0
        words=$(cat "$IMAGE/words")
        cp --sparse=always "$IMAGE/before.img" "$directory/disk.img"
else
        make_disk
fi
exec "$directory/powercut" --directory "$directory" --kernel "$directory/kernel/vmlinuz" \
        --initramfs "$directory/initramfs" --cuts "$cuts" --seed "$seed" ${LIE:+--lies} ${words:+--words "$words"}
