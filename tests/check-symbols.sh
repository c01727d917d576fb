#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-symbols.sh BUILD_DIR
# The functions that include/mayfly.h declares, those that src/libmayfly.map lists, and those that
# the shared and the static library define must be the same.
set -eu
build=$1
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# Declarations are what carries the visibility attribute once the preprocessor has run.
${CC:-cc} -E -P -DMAYFLY_BUILDING -x c include/mayfly.h | tr '\n' ' ' | tr ';}' '\n\n' |
	grep 'visibility("default")' |
	sed -E 's/.*[ *](mayfly_[a-z0-9_]+) *\(.*/\1/' | sort >"$work/header"
sed -nE 's/^[[:space:]]*(mayfly_[a-z0-9_]+);.*/\1/p' src/libmayfly.map | sort >"$work/map"
nm -D --defined-only "$build/libmayfly.so" | sed -nE 's/^[0-9a-f]+ [TDBRVW] ([^@]*)@.*/\1/p' |
	sort >"$work/shared"
nm -g --defined-only "$build/libmayfly.a" 2>/dev/null |
	sed -nE 's/^[0-9a-f]+ [TDBRVW] (.*)/\1/p' | sort >"$work/static"

[ -s "$work/header" ] || { echo "found no declarations in include/mayfly.h"; exit 1; }
differ() {
	if ! diff -u "$work/header" "$work/$1" >"$work/diff"; then
		echo "$2 differs from include/mayfly.h:"
		sed -n '/^[+-][a-z_]/p' "$work/diff"
		status=1
	fi
}
differ map src/libmayfly.map
differ shared "$build/libmayfly.so"
differ static "$build/libmayfly.a"

soname=$(readelf -d "$build/libmayfly.so" | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
[ "$soname" = libmayfly.so.0 ] || { echo "SONAME is '$soname', not libmayfly.so.0"; status=1; }

# Whoever links with the library must need the C library and nothing else.
needed=$(readelf -d "$build/libmayfly.so" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' |
	grep -vE '^(libc\.so\.6|ld-linux-x86-64\.so\.2)$' || true)
[ -z "$needed" ] || { echo "libmayfly.so needs" $needed; status=1; }

# Full RELRO, and no stack that could be executed.
readelf -dW "$build/libmayfly.so" | grep -q 'BIND_NOW\|NOW' || { echo "not linked with -z now"; status=1; }
readelf -lW "$build/libmayfly.so" | grep -q GNU_RELRO || { echo "no RELRO segment"; status=1; }
readelf -lW "$build/libmayfly.so" | grep GNU_STACK | grep -q RWE && { echo "executable stack"; status=1; }
exit "$status"
