#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-demo.sh BUILD_DIR
# What `make demo` shows comes to its end and is right: known results, and the same from the parser in
# the sandbox as from the one outside. Exit status 77 if there is no KVM.
set -eu
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/mayfly" doctor >"$work/doctor" 2>&1 || {
	cat "$work/doctor"
	exit 77
}
tools/demo "$build" >"$work/out" 2>&1 || {
	cat "$work/out"
	exit 1
}
cat "$work/out"

expect() {
	grep -qE "$1" "$work/out" || { echo "the output lacks: $1"; exit 1; }
}
expect '^42$'
expect '^add\(40, 2\) = 42$'
expect '^greet\("world"\) = "Hello world'
expect '996503 = 499 \* 1997$'
expect ' 0 failures$'
expect '^warm_call '
expect '^restore_call_16_1g '

sed -n 's/^ *sandbox, *[0-9]* us: //p' "$work/out" >"$work/sandbox"
sed -n 's/^ *native, *[0-9]* us: //p' "$work/out" >"$work/native"
[ "$(wc -l <"$work/sandbox")" -ge 5 ] || { echo "fewer files than given were parsed"; exit 1; }
diff "$work/sandbox" "$work/native"
grep -q '^valid' "$work/sandbox" && grep -q '^invalid' "$work/sandbox"
