#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing on Debian 12 to build, test, lint or torment Baton; silent where nothing is missing.
# Must not touch: packages that are there already (nothing is upgraded or removed).
#
# usage: packaging/install-deps.sh build|test|check|proof|coverage|systemd|deb|powercut|fuzz|valgrind|lint
set -eu

build='make gcc libc6-dev pkg-config libsystemd-dev liburcu-dev libinih-dev libseccomp-dev
       libjansson-dev libxxhash-dev libsqlite3-dev'
test='libcriterion-dev sqlite3 procps spin man-db dbus-daemon'
proof='patch'
coverage='gcovr'
lint='clang clang-format clang-tidy cppcheck universal-ctags shellcheck git'
# make powercut; the kernel of its machine is fetched by tests/powercut/run.sh and not installed.
powercut='qemu-system-x86 e2fsprogs cpio binutils'

# make systemd, and make check: a container with a bus of its own.
systemd='systemd systemd-sysv systemd-container dbus acl'
# make fuzz: clang with its sanitizers, and names in their reports.
fuzz='clang libclang-rt-14-dev llvm'
valgrind='valgrind libc6-dbg'

# make deb
deb='build-essential debhelper dpkg-dev lintian man-db'

case ${1:-} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
check) wanted="$build $test $systemd $deb" ;;
proof) wanted="$build $test $proof" ;;
coverage) wanted="$build $test $coverage" ;;
lint) wanted="$build $test $proof $lint" ;;
systemd) wanted="$build $test $systemd" ;;
powercut) wanted="$build $powercut" ;;
fuzz) wanted="$build $fuzz" ;;
valgrind) wanted="$build $test $valgrind" ;;
deb) wanted="$build $deb" ;;
*)
        echo "usage: $0 build|test|check|proof|coverage|systemd|deb|powercut|fuzz|valgrind|lint" >&2
        exit 2
        ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
        cat >&2 <<END
$0: this system has no dpkg, so nothing was checked or installed.
Baton is built and tested on Debian 12. Elsewhere, install what these Debian packages hold and go on
with \`make\`, \`make unit\` and \`make integration\`, which install nothing:
$(echo "$wanted" | tr -s ' \n' '  ' | fold -s -w 100)
END
        exit 1
fi

missing=
for package in $wanted; do
        # With several architectures installed the word comes once for each, in a line of its own.
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
                missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
        echo "$0: missing:$missing; this system has no apt-get: install them by hand and try again" >&2
        exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
                echo "$0: missing:$missing; you are not root and there is no sudo." >&2
                echo "As root: apt-get update && apt-get install --no-install-recommends$missing" >&2
                exit 1
        fi
        as_root='sudo DEBIAN_FRONTEND=noninteractive'
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
install() {
        $as_root apt-get -q -q update || return 1
        # shellcheck disable=SC2086 # words are wanted here
        $as_root apt-get -q -q -y --no-install-recommends install $missing
}
if ! install </dev/null >&2; then
        echo "$0: apt-get could not install:$missing; its own message stands above" >&2
        exit 1
fi
