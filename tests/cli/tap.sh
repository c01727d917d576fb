# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# For the tests of the command, in plain sh (busybox's too). A script sources this, defines
# functions named test_*, one property each, and ends with `run_tests`, which runs each in a shell
# and a directory of its own and reports in TAP; the last line counts.
#
# MAYFLY  the command; GUESTS  the directory with the guest cli_guest and the kernel cli_kernel

: "${MAYFLY:?say which command to test: MAYFLY=build/mayfly}"
MAYFLY=$(cd "$(dirname "$MAYFLY")" && pwd)/$(basename "$MAYFLY")
GUEST=
[ -z "${GUESTS-}" ] || GUEST=$(cd "$GUESTS" && pwd)/cli_guest
export MAYFLY GUEST
SOURCES=$(cd "$(dirname "$0")/../.." && pwd)
export SOURCES

# End a test: it cannot hold (fail), it cannot run here (skip).
fail() {
	echo "$*"
	[ ! -s out ] || { echo "standard output:" && head -c 2000 out && echo; }
	[ ! -s err ] || { echo "standard error:" && head -c 2000 err && echo; }
	exit 1
}

skip() {
	echo "$*" >why
	exit 77
}

# Tests that make VMs are skipped, by name, where there is no KVM.
needs_kvm() {
	"$MAYFLY" doctor >out 2>err || skip "no usable KVM"
}

needs_kvm_and_guest() {
	needs_kvm
	[ -f "$GUEST" ] || fail "GUESTS does not name the directory of cli_guest"
}

# The figures of all rows in out, of few samples, measured once for all tests of a script.
figures() {
	needs_kvm
	if [ ! -s "$work/figures.json" ]; then
		mayfly 0 bench --quick --json
		cp out "$work/figures.json"
	fi
	cp "$work/figures.json" out
	: >err
}

# needs PROGRAM: the test is skipped without it.
needs() {
	command -v "$1" >/dev/null 2>&1 || skip "no $1"
}

# mayfly STATUS ARG...: runs the command, output in the files out and err; checks the exit status.
mayfly() {
	expected=$1
	shift
	"$MAYFLY" "$@" >out 2>err </dev/null
	status=$?
	[ "$status" -eq "$expected" ] || fail "exit status $status, not $expected: mayfly $*"
}

# What the command printed, newline at the end left out.
out_is() {
	[ "$(cat out)" = "$1" ] || fail "standard output is not: $1"
}

# Shell patterns.
out_has() {
	# shellcheck disable=SC2254
	case $(cat out) in *$1*) ;; *) fail "standard output lacks: $1" ;; esac
}

out_lacks() {
	# shellcheck disable=SC2254
	case $(cat out) in *$1*) fail "standard output has: $1" ;; esac
}

err_has() {
	# shellcheck disable=SC2254
	case $(cat err) in *$1*) ;; *) fail "standard error lacks: $1" ;; esac
}

err_is_empty() {
	[ ! -s err ] || fail "standard error is not empty"
}

# result FUNCTION ARG... EXPECTED: calls, and compares the result.
result() {
	expected_result=
	for expected_result in "$@"; do :; done
	count=$(($# - 1))
	while [ $count -gt 0 ]; do
		set -- "$@" "$1"
		shift
		count=$((count - 1))
	done
	shift
	mayfly 0 call "$GUEST" "$@"
	out_is "$expected_result"
	err_is_empty
}

# refused TEXT FUNCTION ARG...: mayfly refuses the arguments, saying TEXT (a pattern).
refused() {
	text=$1
	shift
	mayfly 125 call "$GUEST" "$@"
	[ ! -s out ] || fail "something was printed"
	err_has "mayfly: $text"
}

run_tests() {
	tests=$(sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$0")
	passed=0 failed=0 skipped=0 n=0
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	# shellcheck disable=SC2086
	set -- $tests
	echo "1..$#"
	for name in $tests; do
		n=$((n + 1))
		mkdir "$work/$n"
		(cd "$work/$n" && "$name" >log 2>&1)
		result=$?
		name=${name#test_}
		case $result in
		0)
			passed=$((passed + 1))
			echo "ok $n - $name"
			;;
		77)
			skipped=$((skipped + 1))
			echo "ok $n - $name # SKIP $(cat "$work/$n/why")"
			;;
		*)
			failed=$((failed + 1))
			echo "not ok $n - $name"
			sed 's/^/# /' "$work/$n/log"
			;;
		esac
	done
	echo "# $passed passed, $failed failed, $skipped skipped"
	[ $failed -eq 0 ] || exit 1
	exit 0
}
