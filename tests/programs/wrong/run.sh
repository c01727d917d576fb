#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Instructions, stacks and signal frames that no honest program has, one run each: natively and in a
# VM the same signals have to come of them, or what the program itself says (--expect); and mayfly has
# to survive each. A plain shell, for the lab. Speaks TAP.
#
# MAYFLY  the command; PROGRAMS  the directory with the compiled programs
: "${MAYFLY:?say which command to test}" "${PROGRAMS:?say where the programs are}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0

# verdict NAME REASON: it failed if there is a reason.
verdict() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		failed=$((failed + 1))
		echo "not ok $n - $1"
		echo "# $2"
		diff "$work/expected" "$work/vm" | head -n 20 | sed 's/^/#   /'
		sed 's/^/#   /' "$work/err"
	fi
}

# one PROGRAM NAME HOW
one() {
	"$MAYFLY" run --timeout 60s "$PROGRAMS/$1" "$2" >"$work/vm" 2>"$work/err" </dev/null
	status=$?
	echo "status $status" >>"$work/vm"
	case $3 in
	both)
		"$PROGRAMS/$1" "$2" >"$work/expected" 2>/dev/null </dev/null
		echo "status $?" >>"$work/expected"
		;;
	vm) "$PROGRAMS/$1" --expect "$2" >"$work/expected" ;;
	any) cp "$work/vm" "$work/expected" ;;
	esac
	reason=
	cmp -s "$work/expected" "$work/vm" || reason="it is not as expected"
	# A time limit, a failure, or a death of mayfly's own.
	case $status in
	124 | 125 | 126 | 127) reason="mayfly ended with status $status" ;;
	esac
	verdict "$1: $2" "$reason"
}

if ! "$MAYFLY" doctor >/dev/null 2>&1; then
	echo "1..0 # SKIP no usable KVM"
	exit 0
fi
for program in wrong_instructions wrong_stacks; do
	"$PROGRAMS/$program" --list >"$work/list" || exit 1
	while read -r name how; do
		one $program "$name" "$how" 2>/dev/null
	done <"$work/list"
done
echo "1..$n"
echo "# $((n - failed)) passed, $failed failed"
[ $failed -eq 0 ]
