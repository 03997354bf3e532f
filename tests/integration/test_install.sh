#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make install`, by the script that does it: all that stands in packaging/ comes where it belongs, with the paths of
# this installation in it; each installed header compiles alone with what pkg-config says; what was installed finds
# its parts; bash completes by it. And it runs with the configuration that the package begins with.
set -eu

cd "$(dirname "$0")/../.."
directory=$(mktemp -d "${TMPDIR:-/tmp}/baton-install.XXXXXX")
supervisor=
end() {
        [ -z "$supervisor" ] || kill "$supervisor" 2>/dev/null || true
        rm -rf "$directory"
}
trap end EXIT
root=$directory/root
: "${BATON_BIN:?is set by make unit}"

fail() {
        echo "test_install: $1"
        [ ! -s "$directory/output" ] || cat "$directory/output"
        exit 1
}
# has FILE…: installed, readable by all
has() {
        for file; do
                [ -f "$root$file" ] || fail "$file is not installed"
                [ -n "$(find "$root$file" -perm -444)" ] || fail "$file is not readable by all"
        done
}
# says FILE WORDS
says() {
        has "$1"
        grep -qF -- "$2" "$root$1" || fail "$1 says nothing of $2"
}

DESTDIR=$root PREFIX=/opt/b UNITDIR=/units packaging/install.sh "$BATON_BIN" >"$directory/output" 2>&1 ||
        fail 'packaging/install.sh failed'
for file in packaging/man/*.[0-9]; do
        has "/opt/b/share/man/man${file##*.}/${file##*/}"
done
for file in packaging/systemd/*; do
        name=$(basename "$file" .in)
        case $name in
        *.md) ;;
        *.sysusers) has "/opt/b/lib/sysusers.d/${name%.sysusers}.conf" ;;
        *.tmpfiles) has "/opt/b/lib/tmpfiles.d/${name%.tmpfiles}.conf" ;;
        *.catalog) has "/opt/b/lib/systemd/catalog/$name" ;;
        *) has "/units/$name" ;;
        esac
done
says /units/baton.service ExecStart=/opt/b/lib/baton/batond
says /units/baton@.service 'ExecStart=/opt/b/lib/baton/batond -c /etc/baton/%i.conf'
says /opt/b/share/man/man8/batond.8 /opt/b/lib/baton/batond
has /opt/b/share/dbus-1/system.d/org.baton.conf
has /opt/b/share/doc/baton/examples/baton.conf /opt/b/share/bash-completion/completions/baton
[ ! -e "$root/etc" ] || fail 'something was installed in /etc'
! grep -rnI --exclude='*.catalog' '@[A-Z_]*@' "$root" >"$directory/output" || fail 'words that were not filled in'

# A file that it does not know must not be left out silently.
cp -r packaging base include "$directory"
touch "$directory/packaging/systemd/baton.unheard-of"
! DESTDIR=$directory/other "$directory/packaging/install.sh" "$BATON_BIN" >"$directory/output" 2>&1 ||
        fail 'a file of an unknown kind was left out'
grep -q unheard-of "$directory/output" || fail 'it does not say which file it does not know'
: >"$directory/output"

# Headers, as a stranger uses them.
sysroot=$root
config() {
        PKG_CONFIG_PATH=$root/opt/b/share/pkgconfig PKG_CONFIG_SYSROOT_DIR=$sysroot pkg-config "$@" baton
}
[ "$(config --modversion)" = "$("$BATON_BIN/baton" --version | sed 's/baton //')" ] || fail 'baton.pc has another version'
[ "$(sysroot='' config --variable=libexecdir)" = /opt/b/lib/baton ] || fail 'baton.pc says another libexecdir'
count=0
for header in $(cd "$root/opt/b/include" && find . -name '*.h' | sed 's,^\./,,'); do
        # shellcheck disable=SC2046 # flags are words
        echo "#include <$header>" | (cd / && gcc -std=gnu17 -Wall -Wextra -Werror -fsyntax-only $(config --cflags) -x c -) \
                >"$directory/output" 2>&1 || fail "<$header> does not compile alone"
        count=$((count + 1))
done
[ "$count" -ge "$(find include/baton -name '*.h' | wc -l)" ] || fail 'headers are missing'

# run CONFIGURATION STATUS-WORDS: until `baton status` succeeds and prints these
run() {
        env -u BATON_BIN "$baton" run -c "$1" --state "$directory/state" --runtime "$directory/run" \
                >"$directory/output" 2>&1 &
        supervisor=$!
        waited=0
        until "$baton" status --runtime "$directory/run" >"$directory/status" 2>/dev/null &&
                grep -q -- "$2" "$directory/status"; do
                waited=$((waited + 1))
                [ "$waited" -le 300 ] || fail "with $1 status never says \"$2\""
                kill -0 "$supervisor" 2>/dev/null || fail "it does not run with $1"
                sleep 0.1
        done
}
stop() {
        kill "$supervisor"
        wait "$supervisor" || fail "ended with exit $?"
        supervisor=
}

# It runs, and waits, with a configuration that names no source.
baton=$root/opt/b/bin/baton
mkdir "$directory/state" "$directory/run"
run packaging/baton.conf .
[ "$(readlink "/proc/$supervisor/exe")" = "$root/opt/b/lib/baton/batond" ] || fail 'ran another batond'
stop

# With the source that it proposes; bash knows the names by the status of what runs.
sed "s,/var/lib/baton/,$directory/,; s,/srv/shop/,$directory/,; s/^;//" packaging/baton.conf >"$directory/proposed.conf"
"$baton" outbox create "$directory/orders.db" >/dev/null
run "$directory/proposed.conf" '2 of 2 workers'
# shellcheck disable=SC2016 # for the inner shell
names=$(bash -c '. "$1/opt/b/share/bash-completion/completions/baton"
        COMP_WORDS=("$1/opt/b/bin/baton" adopt --runtime "$2" o) COMP_CWORD=4
        _baton; echo "${COMPREPLY[@]}"
        COMP_WORDS=("$1/opt/b/bin/baton" scale --runtime "$2" "")
        _baton; echo "${COMPREPLY[@]}"' - "$root" "$directory/run" | tr '\n' ' ')
[ "$names" = 'orders events ' ] || fail "bash completes to \"$names\", not to orders and events"
stop
