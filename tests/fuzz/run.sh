#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the fuzz targets one after another, from the corpus in the tree and from what earlier runs found, which
# stays in the build directory. A finding is kept there too, and the last line says how to replay it.
# Must not touch: the corpus in the tree, but to make it smaller (MINIMIZE=1).
#
# usage: [TARGET=name] [SECONDS_EACH=n] [INPUT=file] [MINIMIZE=1] tests/fuzz/run.sh BUILD TARGET…
set -u

build=$1
shift
[ -z "${TARGET:-}" ] || set -- "$TARGET"
seconds=${SECONDS_EACH:-60}
export ASAN_OPTIONS="allocator_may_return_null=1:detect_stack_use_after_return=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

# Runs the target with libFuzzer's limits: what takes longer is a hang, what takes more memory a leak.
target_run() {
        program=$build/tests/fuzz/fuzz_$1
        dictionary=tests/fuzz/$1.dict
        [ -x "$program" ] || {
                echo "there is no fuzz target \"$1\": see tests/fuzz/README.md" >&2
                exit 2
        }
        shift
        set -- -timeout=20 -rss_limit_mb=2048 "$@"
        [ ! -f "$dictionary" ] || set -- "-dict=$dictionary" "$@"
        "$program" "$@"
}

fuzz() {
        found=$build/corpus/$1
        log=$build/fuzz-$1.log
        mkdir -p "$found" "$build/findings"
        if target_run "$1" -max_total_time="$seconds" -artifact_prefix="$build/findings/$1-" \
                -print_final_stats=1 "$found" "tests/fuzz/corpus/$1" >"$log" 2>&1; then
                printf '  ok    %-10s %9s runs, %6s edges\n' "$1" \
                        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
                        "$(sed -n 's/.*cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)"
                return 0
        fi
        tail -n 60 "$log"
        input=$(sed -n 's/.*Test unit written to \(.*\)/\1/p' "$log" | tail -n 1)
        printf '  FAIL  %-10s replay it: make fuzz TARGET=%s INPUT=%s\n' "$1" "$1" "${input:-?}"
        return 1
}

# Of what was found, the smallest inputs that cover the most, so many of them and so many bytes. Inputs with a name of
# their own are seeds and regressions, and stay.
MINIMIZED_BYTES=16384
MINIMIZED_FILES=64

minimize() {
        merged=$build/minimized
        corpus=tests/fuzz/corpus/$1
        log=$build/fuzz-$1.log
        rm -rf "$merged"
        mkdir -p "$merged" "$build/corpus/$1"
        target_run "$1" -set_cover_merge=1 "$merged" "$corpus" "$build/corpus/$1" >"$log" 2>&1 || {
                tail -n 20 "$log"
                return 1
        }
        find "$corpus" -type f -name '????????????????????????????????????????' -delete
        find "$merged" -type f -printf '%s %p\n' | sort -n |
                awk -v most="$MINIMIZED_BYTES" -v files="$MINIMIZED_FILES" \
                        '(bytes += $1) <= most && NR <= files { print $2 }' |
                xargs -r cp -t "$corpus"
}

if [ -n "${INPUT:-}" ]; then
        [ -n "${TARGET:-}" ] || {
                echo "INPUT= needs TARGET=" >&2
                exit 2
        }
        target_run "$1" "$INPUT"
        exit
fi
failed=
for target in "$@"; do
        if [ -n "${MINIMIZE:-}" ]; then
                minimize "$target" || failed="$failed $target"
        else
                fuzz "$target" || failed="$failed $target"
        fi
done
[ -z "$failed" ] || {
        echo "findings in:$failed"
        exit 1
}
