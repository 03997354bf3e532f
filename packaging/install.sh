#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make install`: puts what was built, and what stands beside it, where it belongs. The one list of what is
# installed where; the packages are cut from the tree that it makes (packaging/debian/*.install).
# Must not touch: /etc (a configuration is the operator's), anything outside of DESTDIR.
#
# usage: [DESTDIR=] [PREFIX=/usr/local] [LIBEXECDIR=] [UNITDIR=] packaging/install.sh BUILD/bin
set -eu

bin=$(cd "${1:?usage: $0 BUILD/bin}" && pwd)
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
libexecdir=${LIBEXECDIR:-$prefix/lib/baton}
unitdir=${UNITDIR:-$prefix/lib/systemd/system}
docdir=$prefix/share/doc/baton
root=${DESTDIR:-}
unit_words=
version=$(sed -n 's/^#define BATON_VERSION "\(.*\)"$/\1/p' base/version.h)
[ -n "$version" ] || {
        echo "$0: base/version.h names no version" >&2
        exit 1
}

# put MODE DIRECTORY FILE…
put() {
        mode=$1 directory=$root$2
        shift 2
        install -d "$directory"
        install -m "$mode" "$@" "$directory"
}

# fill FILE DIRECTORY NAME: with the paths and the version of this installation in place of @WORDS@.
fill() {
        install -d "$root$2"
        sed ${unit_words:+-e "$unit_words"} -e "s,@BINDIR@,$prefix/bin,g" -e "s,@LIBEXECDIR@,$libexecdir,g" -e "s,@PREFIX@,$prefix,g" \
                -e "s,@DOCDIR@,$docdir,g" -e "s,@VERSION@,$version,g" "$1" >"$root$2/$3"
        chmod 644 "$root$2/$3"
        if grep -n '@[A-Z_]*@' "$root$2/$3"; then
                echo "$0: $1: a word above was not filled in; say what it is here" >&2
                exit 1
        fi
}

put 755 "$prefix/bin" "$bin/baton"
put 755 "$libexecdir" "$bin/batond" "$bin/baton-worker" "$bin/baton-checker" "$bin/baton-prove"
put 644 "$libexecdir" "$bin/baton-faults.so" "$bin/baton-clock.so" "$bin/baton-identity.so"

# Headers, and those of base/ that they include, by the names that they have when they are installed.
for header in include/baton/*.h base/failure.h base/macro.h base/text.h base/url.h; do
        name=${header#include/baton/}
        install -d "$root$prefix/include/baton/$(dirname "$name")"
        sed -e 's,^#include "include/\(baton/.*\)",#include <\1>,' -e 's,^#include "\(base/.*\)",#include <baton/\1>,' \
                "$header" >"$root$prefix/include/baton/$name"
        chmod 644 "$root$prefix/include/baton/$name"
done
fill packaging/baton.pc.in "$prefix/share/pkgconfig" baton.pc

put 644 "$prefix/share/dbus-1/system.d" packaging/dbus/org.baton.conf

for page in packaging/man/*.[0-9]; do
        fill "$page" "$prefix/share/man/man${page##*.}" "$(basename "$page")"
done
put 644 "$prefix/share/bash-completion/completions" packaging/completion/baton
put 644 "$docdir/examples" packaging/examples/*

# One template, two units: the service, and an instance of it with a configuration and directories of its own.
unit_words='s,@NAME@,baton,; s,@CONFIG@,baton,g; s,@OF_INSTANCE@,,; s,@CONFIG_OPTION@,,; s,@RUNTIME_OPTION@,,'
fill packaging/systemd/baton.service.in "$unitdir" baton.service
unit_words='s,@NAME@,baton-%i,; s,@CONFIG@,%i,g; s,@OF_INSTANCE@, (%i),; s,@CONFIG_OPTION@, -c /etc/baton/%i.conf,
        s,@RUNTIME_OPTION@, --runtime %t/baton-%i,'
fill packaging/systemd/baton.service.in "$unitdir" baton@.service
unit_words=

for file in packaging/systemd/*; do
        name=$(basename "$file" .in)
        case $name in
        *.md | baton.service) ;;
        *.service | *.socket | *.path | *.target | *.timer | *.slice) fill "$file" "$unitdir" "$name" ;;
        *.sysusers) fill "$file" "$prefix/lib/sysusers.d" "${name%.sysusers}.conf" ;;
        *.tmpfiles) fill "$file" "$prefix/lib/tmpfiles.d" "${name%.tmpfiles}.conf" ;;
        *.catalog) put 644 "$prefix/lib/systemd/catalog" "$file" ;; # its words are journald's
        *)
                echo "$0: $file: it is not said here where a file of this kind goes" >&2
                exit 1
                ;;
        esac
done
