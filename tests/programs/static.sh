# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Static programs, natively and in a VM, by a plain shell: for the lab, which has no Python. Those of time
# and of signals' details are left out: whatever the CPU, the host's kernel does that.
# Speaks TAP.
#
# MAYFLY  the command; PROGRAMS  the directory with the compiled programs
: "${MAYFLY:?say which command to test}" "${PROGRAMS:?say where the programs are}"
. "$(dirname "$0")/../cli/tap.sh"

# both PROGRAM: the same output and exit status. They work in directories of the same name.
both() {
	needs_kvm
	rm -f out err
	[ -x "$PROGRAMS/$1" ] || skip "no $1"
	mkdir -p work/directory native vm
	export HOME="$PWD/work"
	(cd work && exec env -i "HOME=$HOME" PATH=/bin TZ=UTC0 "$PROGRAMS/$1") \
		>native/out 2>native/err </dev/null
	expected=$?
	rm -rf work
	mkdir -p work/directory
	"$MAYFLY" run --timeout 120s --dir "$HOME:rw" --cwd "$HOME" --env "HOME=$HOME" \
		--env PATH=/bin --env TZ=UTC0 -- "$PROGRAMS/$1" >vm/out 2>vm/err </dev/null
	status=$?
	[ $status -eq $expected ] || fail "exit status $status, natively $expected: $(cat vm/err)"
	cmp native/out vm/out || fail "the output differs: $(diff native/out vm/out | head -n 20)"
	cmp native/err vm/err || fail "standard error differs: $(head -n 20 vm/err)"
}

test_files() {
	both c_files_static
}

test_futexes() {
	both c_futexes_static
}

test_memory() {
	both c_memory_static
}

test_signal_nested() {
	both c_signal_nested_static
}

test_signals() {
	both c_signals_static
}

test_start() {
	both c_start_static
}

test_threads() {
	both c_threads_static
}

test_wild() {
	both c_wild_static
}

run_tests
