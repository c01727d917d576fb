#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mayfly snapshot, and mayfly run --from. Options need no KVM.
. "$(dirname "$0")/tap.sh"

needs_busybox() {
	needs_kvm
	busybox=$(command -v busybox) || skip "no busybox"
	if command -v ldd >/dev/null && ldd "$busybox" 2>/dev/null | grep -q libc; then
		skip "busybox is not static"
	fi
}

test_file_must_be_named() {
	mayfly 125 snapshot --when main ./program
	err_has "mayfly: snapshot: -o FILE is missing"
}

test_point_must_be_named() {
	mayfly 125 snapshot -o file ./program
	err_has "mayfly: snapshot: --when is missing: stdin, main or ready"
	mayfly 125 snapshot -o file --when later ./program
	err_has "--when: 'later' is none of: stdin main ready"
}

test_program_must_be_given() {
	mayfly 125 snapshot -o file --when main
	err_has "mayfly: snapshot: a PROGRAM is missing"
}

test_options_of_run_are_taken() {
	mayfly 125 snapshot -o file --when main --dir a:b ./program
	err_has "mayfly: snapshot: --dir: 'a:b' is not HOST"
	err_has "'mayfly snapshot --help' shows the usage"
}

test_missing_program_is_status_127() {
	needs_busybox
	mayfly 127 snapshot -o file --when main ./no-such-program
	[ ! -e file ] || fail "there is a file"
}

test_program_goes_on_before_it_reads_its_input() {
	needs_busybox
	mayfly 0 snapshot -o saved --when stdin "$busybox" sh -c 'x=before; read y; echo $x $y'
	[ ! -s out ] || fail "it went on"
	for word in one two; do
		echo $word | "$MAYFLY" run --from saved >out 2>err || fail "exit status $?"
		out_is "before $word"
	done
}

test_program_goes_on_at_main_with_other_arguments() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" echo first
	mayfly 0 run --from saved
	out_is first
	mayfly 0 run --from saved echo one two
	out_is 'one two'
	mayfly 5 run --from saved sh -c 'exit 5'
}

test_output_before_the_point_is_made_once() {
	needs_busybox
	mayfly 0 snapshot -o saved --when stdin "$busybox" sh -c 'echo before; read y; echo after'
	out_is before
	mayfly 0 run --from saved
	out_is after
}

test_program_that_ends_before_is_not_saved() {
	needs_busybox
	mayfly 125 snapshot -o saved --when stdin "$busybox" sh -c 'exit 7'
	err_has "mayfly: the program exited with status 7 before it read its standard input"
	[ ! -e saved ] || fail "there is a file"
	mayfly 125 snapshot -o saved --when stdin "$busybox" sh -c 'kill -ABRT $$'
	err_has "died of signal 6 before"
	[ ! -e saved ] || fail "there is a file"
}

test_time_limit_before_the_point_is_status_124() {
	needs_busybox
	mayfly 124 snapshot -o saved --when stdin --timeout 100ms "$busybox" sleep 100
	[ ! -e saved ] || fail "there is a file"
}

test_files_in_memory_are_saved() {
	needs_busybox
	mayfly 0 snapshot -o saved --when stdin "$busybox" sh -c \
		'echo kept >/tmp/file; read y; read x </tmp/file; echo $x $y'
	echo and | "$MAYFLY" run --from saved >out 2>err || fail "exit status $?"
	out_is 'kept and'
}

test_open_files_are_opened_again_within_the_grants() {
	needs_busybox
	mkdir dir
	printf 'one\ntwo\n' >dir/file
	mayfly 0 snapshot -o saved --when stdin --dir dir:/d "$busybox" sh -c \
		'exec 3</d/file; read a <&3; read y; read b <&3; echo $a $b'
	mayfly 0 run --from saved --dir dir:/d
	out_is 'one two'
	mayfly 125 run --from saved
	err_has /d/file
}

test_environment_and_directory_are_kept() {
	needs_busybox
	mayfly 0 snapshot -o saved --when stdin --env A=kept --cwd /tmp "$busybox" sh -c \
		'read y; echo $A; pwd'
	A=other mayfly 0 run --from saved
	out_is "$(printf 'kept\n/tmp')"
}

test_limits_are_those_of_the_run() {
	needs_busybox
	mayfly 0 snapshot -o saved --when stdin --timeout 10s "$busybox" sh -c \
		'read y; while :; do :; done'
	mayfly 124 run --from saved --timeout 100ms
}

test_random_numbers_differ() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" od -An -x -N 16 /dev/urandom
	mayfly 0 run --from saved
	mv out first
	mayfly 0 run --from saved
	! cmp -s first out || fail "the same again"
}

test_file_is_for_its_owner_only() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" true
	case $(ls -l saved) in -rw-------*) ;; *) fail "other permissions" ;; esac
}

test_file_that_cannot_be_written_is_a_failure() {
	needs_busybox
	mayfly 125 snapshot -o no/such/directory --when main "$busybox" true
	err_has "mayfly: no snapshot was saved: "
}

test_damaged_snapshot_is_status_126() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" true
	head -c 5000 saved >part
	mayfly 126 run --from part
	echo text >text
	mayfly 126 run --from text
}

test_snapshot_of_a_function_guest_is_refused() {
	needs_kvm_and_guest
	mayfly 0 call --snapshot-out functions "$GUEST" count
	"$MAYFLY" run --from functions >out 2>err </dev/null && fail "it ran"
	err_has "mayfly: "
}

test_snapshot_of_a_program_has_no_functions() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" true
	"$MAYFLY" call saved add 1 2 >out 2>err </dev/null && fail "it was called"
	err_has "mayfly: "
}

run_tests
