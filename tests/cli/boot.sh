#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mayfly boot, and mayfly snapshot of kernels. Options need no KVM; the kernel is cli_kernel.S.
. "$(dirname "$0")/tap.sh"

KERNEL=
[ -z "${GUESTS-}" ] || KERNEL=$(cd "$GUESTS" && pwd)/cli_kernel

needs_kvm_and_kernel() {
	needs_kvm
	[ -f "$KERNEL" ] || fail "GUESTS does not name the directory of cli_kernel"
}

# boot INPUT STATUS [OPTION...]: the kernel with INPUT, without notes.
boot() {
	input=$1 expected=$2
	shift 2
	printf '%s' "$input" | "$MAYFLY" boot --quiet "$@" "$KERNEL" >out 2>err
	status=$?
	[ "$status" -eq "$expected" ] || fail "exit status $status, not $expected"
}

# What the kernel prints before it reads, and after that.
said() {
	printf 'hello\r\nready> %s' "$1" >expected
	cmp -s out expected || fail "the console did not say: $1"
}

# on_terminal ARG...: mayfly on a terminal, by the lines of standard input.
on_terminal() {
	needs python3
	python3 "$SOURCES/tests/cli/on_terminal.py" "$MAYFLY" "$@" >out 2>err ||
		fail "not as expected"
}

# --- Usage ---

test_kernel_must_be_given() {
	mayfly 125 boot
	err_has "mayfly: boot: a KERNEL is missing"
	mayfly 125 boot one two
	err_has "one KERNEL at a time"
}

test_missing_kernel_is_status_127() {
	mayfly 127 boot /nonexistent/kernel
	err_has "cannot open /nonexistent/kernel"
}

test_directory_is_status_126() {
	mayfly 126 boot .
	err_has "mayfly: cannot open ."
}

test_other_than_files_are_status_126() {
	: >empty
	mkfifo fifo
	for kernel in empty fifo /dev/null; do
		timeout 60 "$MAYFLY" boot $kernel >out 2>err
		status=$?
		[ $status -eq 126 ] || fail "exit status $status of $kernel"
		err_has "mayfly: $kernel is no kernel"
	done
}

test_networks_of_other_forms_are_refused() {
	for net in other tap tap= user,publish=1 user,publish=0:1 user,publish=x:1:2 \
		user,publish=1:2/sctp tap=t,publish=1:2 tap=t,host user,mac=1 \
		user,mac=01:00:00:00:00:01 user,mac=00:00:00:00:00:00 user,what; do
		mayfly 125 boot --net $net kernel
		err_has "mayfly: boot: --net: "
	done
}

test_ports_and_files_of_other_forms_are_refused() {
	for port in name =path name=; do
		mayfly 125 boot --port $port kernel
		err_has "--port: '$port' is not NAME=PATH"
		mayfly 125 boot --fw $port kernel
		err_has "--fw: '$port' is not NAME=FILE"
	done
	mayfly 125 boot --fw opt/x=/nonexistent kernel
	err_has "--fw: cannot read /nonexistent"
}

test_disk_without_a_name_is_refused() {
	for disk in '' ,ro ,snapshot,ro; do
		mayfly 125 boot --disk "$disk" kernel
		err_has "--disk: '$disk' names no file"
	done
}

test_words_of_a_disk_are_checked() {
	mayfly 125 boot --disk disk,snapshot=much kernel
	err_has "--disk: 'much' is not a size"
	mayfly 125 boot --disk disk,serial=123456789012345678901 "$KERNEL"
	err_has 'serial number has more than 20 bytes'
	mayfly 125 boot --disk "nowhere,quiet" "$KERNEL"
	err_has 'nowhere,quiet'
}

test_word_that_is_no_option_of_a_disk_is_named() {
	: >disk
	mayfly 125 boot --disk disk,snapshoot kernel
	err_has "there is no file 'disk,snapshoot', and 'snapshoot' is no option of a disk (did you mean snapshot?)"
	mayfly 125 boot --disk disk,serial,ro kernel
	err_has "'serial' is no option of a disk (did you mean serial=?)"
	mayfly 125 boot --disk disk,quickly kernel
	err_has "'quickly' is no option of a disk; these are ro, snapshot"
	: >disk,snapshoot
	mayfly 127 boot --disk disk,snapshoot /nonexistent
	err_has 'cannot open /nonexistent'
}

test_words_are_checked() {
	mayfly 125 boot --console vga kernel
	err_has "--console: 'vga' is none of: serial virtio"
	mayfly 125 boot --acpi maybe kernel
	err_has "--acpi: 'maybe' is none of: on off"
	mayfly 125 boot --cpus 33 kernel
	err_has "--cpus: '33' is not a whole number from 1 to 32"
}

test_text_to_type_needs_the_console() {
	mayfly 125 boot --pty --shutdown poweroff kernel
	err_has "--shutdown needs the console"
}

test_what_a_snapshot_has_cannot_be_given_again() {
	: >file
	for option in "--cmdline x" "--initrd file" "--memory 64M" "--cpus 2" "--rng" \
		"--console serial" "--fw a=file" "--acpi on" "--plain-cmdline" "--legacy-virtio"; do
		# shellcheck disable=SC2086
		mayfly 125 boot --from file $option
		err_has "is fixed in a snapshot: give it to 'mayfly snapshot'"
	done
	mayfly 125 boot --from file kernel
	err_has "--from continues a kernel"
}

test_trace_file_that_cannot_be_written_is_a_failure() {
	: >kernel
	mayfly 125 boot --trace-boot=/nonexistent/trace kernel
	err_has "cannot write /nonexistent/trace"
}

test_points_of_kernels_are_checked() {
	mayfly 125 snapshot -o file --when console: kernel
	err_has "--when: console:TEXT needs a text"
	mayfly 125 snapshot -o file --when 5x kernel
	err_has "--when: '5x' is not a time"
	mayfly 125 snapshot -o file --when 5 kernel
	err_has "--when: '5' is not a time"
	mayfly 125 snapshot -o file --when 0 kernel
	err_has "there is nothing to save"
	mayfly 125 snapshot -o file --when port
	err_has "a KERNEL is missing"
	mayfly 125 snapshot --when port kernel
	err_has "-o FILE is missing"
}

test_the_point_tells_whose_options_there_are() {
	mayfly 0 snapshot --when port --help
	out_has "--initrd"
	out_lacks "--system"
	mayfly 0 snapshot --when=console:x --help
	out_has "--initrd"
	mayfly 0 snapshot -w5s --help
	out_has "--initrd"
	mayfly 0 snapshot --when main --help
	out_has "--system"
	out_lacks "--initrd"
}

# --- Ends ---

test_what_is_no_kernel_is_status_126() {
	needs_kvm
	echo "not a kernel" >kernel
	mayfly 126 boot kernel
	err_has kernel
}

test_executable_that_is_no_kernel_is_status_126() {
	needs_kvm_and_guest
	mayfly 126 boot "$GUEST"
	err_has "$GUEST: kernel: no PVH entry"
}

test_missing_initrd_or_disk_is_status_125() {
	needs_kvm_and_kernel
	mayfly 125 boot --initrd /nonexistent "$KERNEL"
	err_has /nonexistent
	mayfly 125 boot --disk /nonexistent "$KERNEL"
	err_has /nonexistent
}

test_exit_status_is_the_guests() {
	needs_kvm_and_kernel
	for status in 0 1 7; do
		boot $status $status
		said ''
	done
	err_is_empty
}

test_reboot_is_status_0() {
	needs_kvm_and_kernel
	boot r 0
	said ''
}

test_triple_fault_is_status_0() {
	needs_kvm_and_kernel
	boot t 0
	said ''
}

test_triple_fault_is_told_with_its_place() {
	needs_kvm_and_kernel
	printf t | "$MAYFLY" boot --trace-boot "$KERNEL" >out 2>err || fail "exit status $?"
	# On some CPUs KVM cannot tell the address.
	grep -Eq '^mayfly: note: the guest faulted thrice \(CPU 0( at 0x100[0-9a-f]{3})?\): ' err ||
		fail "no note"
	grep -q ' triple fault$' err || fail "not on the timeline"
	for way in t r; do
		boot $way 0
		err_is_empty
	done
	printf r | "$MAYFLY" boot "$KERNEL" >out 2>err
	! grep thrice err || fail "it only rebooted"
}

test_time_limit_is_status_124() {
	needs_kvm_and_kernel
	boot '' 124 --timeout 3s
	err_has "time limit"
	said ''
}

# begin [OPTION...]: the kernel runs, without input, and has said that it is ready; its pid is $pid.
begin() {
	rm -f out
	"$MAYFLY" boot --quiet "$@" "$KERNEL" >out 2>err </dev/null &
	pid=$!
	until grep -qs ready out; do
		kill -0 $pid 2>/dev/null || fail "it ended before it was ready"
		sleep 0.02
	done
}

ends_with() {
	wait "$pid"
	status=$?
	[ $status -eq "$1" ] || fail "exit status $status, not $1"
}

# SIGINT is ignored in the background of a shell: the terminal's tests have it.
test_signals_end_it_by_themselves() {
	needs_kvm_and_kernel
	for signal in 1 10 14 15; do
		begin
		kill -$signal $pid
		ends_with $((128 + signal))
		said ''
		err_is_empty
	done
}

test_text_is_typed_at_sigterm() {
	needs_kvm_and_kernel
	begin --shutdown bye5
	kill -TERM $pid
	ends_with 5
	said bye
}

test_second_sigterm_does_not_wait() {
	needs_kvm_and_kernel
	begin --shutdown no
	kill -TERM $pid
	until grep -qs no out; do sleep 0.02; done
	kill -TERM $pid
	ends_with 143
}

# --- The console ---

test_input_reaches_the_guest_in_order() {
	needs_kvm_and_kernel
	text=$(printf 'abdefghijklmnopquvwxyz%.0s' $(seq 50))
	boot "${text}0" 0
	said "$text"
}

test_end_of_input_is_no_end() {
	needs_kvm_and_kernel
	"$MAYFLY" boot --quiet --timeout 3s "$KERNEL" >out 2>err </dev/null
	status=$?
	[ $status -eq 124 ] || fail "exit status $status"
	said ''
}

test_input_and_output_may_be_files() {
	needs_kvm_and_kernel
	printf 'xyz3' >input
	"$MAYFLY" boot --quiet "$KERNEL" >out 2>err <input
	status=$?
	[ $status -eq 3 ] || fail "exit status $status"
	said xyz
}

test_closed_streams_are_no_trouble() {
	needs_kvm_and_kernel
	"$MAYFLY" boot --quiet --timeout 300ms "$KERNEL" 2>err <&- >&-
	status=$?
	[ $status -eq 124 ] || fail "exit status $status"
}

# lost MESSAGE STATUS EXPECTED: the guest exits with a status, standard output being what it is.
lost() {
	printf '%s' "$2" | "$MAYFLY" boot --quiet "$KERNEL" 2>err
	status=$?
	[ $status -eq "$3" ] || fail "exit status $status, not $3"
	[ "$(cat err)" = "mayfly: cannot write to standard output: $1" ] || fail "not this message"
}

test_output_that_is_lost_is_a_failure() {
	needs_kvm_and_kernel
	lost 'Bad file descriptor' 0 125 >&-
	lost 'Bad file descriptor' 7 7 >&-
	lost 'Bad file descriptor' r 125 >&-
	[ -c /dev/full ] || skip "no /dev/full"
	lost 'No space left on device' 0 125 >/dev/full
	lost 'No space left on device' 7 7 >/dev/full
}

test_output_that_is_lost_before_a_snapshot_is_a_failure() {
	needs_kvm_and_kernel
	printf s | "$MAYFLY" snapshot -q -o saved --when port "$KERNEL" 2>err >&-
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	[ "$(cat err)" = "mayfly: cannot write to standard output: Bad file descriptor" ] ||
		fail "not this message"
	# What was lost is not part of it.
	printf 3 | "$MAYFLY" boot -q --from saved >out 2>err
	status=$?
	[ $status -eq 3 ] || fail "exit status $status of the snapshot"
	out_is s
}

test_reader_that_leaves_does_not_end_it() {
	needs_kvm_and_kernel
	{
		printf 'x7' | "$MAYFLY" boot --quiet "$KERNEL" 2>err
		echo $? >status
	} | :
	until [ -s status ]; do sleep 0.02; done
	[ "$(cat status)" -eq 7 ] || fail "exit status $(cat status)"
	err_is_empty
}

test_command_line_reaches_the_guest() {
	needs_kvm_and_kernel
	boot c0 0 --plain-cmdline --cmdline 'one two=3'
	said "$(printf 'one two=3\r')
"
	boot c0 0 --cmdline 'one two=3'
	out_has 'one two=3'
}

test_notes_are_left_out_when_quiet() {
	needs_kvm_and_kernel
	boot 0 0
	err_is_empty
}

test_pseudoterminal_is_printed_and_is_the_console() {
	needs_kvm_and_kernel
	rm -f out
	"$MAYFLY" boot --quiet --pty "$KERNEL" >out 2>err </dev/null &
	pid=$!
	until [ -s out ]; do sleep 0.02; done
	pty=$(cat out)
	[ -c "$pty" ] || fail "no terminal: $pty"
	printf 'xy4' >"$pty"
	wait $pid
	status=$?
	[ $status -eq 4 ] || fail "exit status $status"
	[ "$(wc -l <out)" -eq 1 ] || fail "more than its name"
}

# --- The terminal ---

test_terminal_is_raw_while_it_runs() {
	needs_kvm_and_kernel
	on_terminal boot --quiet "$KERNEL" <<-'END'
		expect ready>
		raw
		send \x03\x1a\x04
		expect \x03\x1a\x04
		send 6
		status 6
		cooked
	END
}

test_escape_key_is_told_and_ends_it() {
	needs_kvm_and_kernel
	on_terminal boot "$KERNEL" <<-'END'
		expect Ctrl-A x ends the machine
		expect ready>
		send \x01\x01
		expect \x01
		send a\x01a
		expect a\x01
		send \x01h
		expect Ctrl-A x ends the machine
		send \x01x
		status 130
		cooked
	END
}

# Typed before there is a machine: the shell waits until it was.
test_escape_key_counts_from_the_beginning() {
	needs_kvm_and_kernel
	needs python3
	python3 "$SOURCES/tests/cli/on_terminal.py" sh -c \
		"stty raw -echo; echo ready; dd bs=1 count=1 2>/dev/null; \
		exec '$MAYFLY' boot --quiet '$KERNEL'" >out 2>err <<-'END' || fail "not as expected"
		expect ready
		send !\x01x
		status 130
	END
}

test_quiet_says_nothing_of_the_escape_key() {
	needs_kvm_and_kernel
	on_terminal boot --quiet "$KERNEL" <<-'END'
		expect ready>
		send \x01x
		status 130
	END
	out_lacks Ctrl
}

test_terminal_is_put_back_whatever_happens() {
	needs_kvm_and_kernel
	for signal in 1 2 3 6 9 10 11 15; do
		on_terminal boot --quiet "$KERNEL" <<-END
			expect ready>
			raw
			signal $signal
			status -$signal
			cooked
		END
	done
}

test_it_can_be_stopped_and_goes_on() {
	needs_kvm_and_kernel
	# Of a session's leader nobody takes care, so that it would not stop: within a shell.
	on_terminal_shell() {
		needs python3
		python3 "$SOURCES/tests/cli/on_terminal.py" sh -c "$1" >out 2>err ||
			fail "not as expected"
	}
	on_terminal_shell "set -m; '$MAYFLY' boot --quiet '$KERNEL'; echo [stopped]; fg; exit \$?" <<-'END'
		expect ready>
		raw
		send x\x01z
		expect [stopped]
		raw
		send y8
		expect y
		status 8
		cooked
	END
}

# --- The timeline ---

test_timeline_is_printed() {
	needs_kvm_and_kernel
	boot 0 0 --trace-boot
	for point in "first instruction" console serial; do
		err_has "$point"
	done
	said ''
}

test_timeline_goes_to_a_file_as_json() {
	needs_kvm_and_kernel
	needs python3
	boot 0 0 --trace-boot=trace.json
	err_is_empty
	python3 -c 'import json; json.load(open("trace.json"))["traceEvents"][0]["name"]' ||
		fail "no events"
}

test_timeline_that_is_not_complete_is_a_failure() {
	needs_kvm_and_kernel
	[ -c /dev/full ] || skip "no /dev/full"
	boot 0 125 --trace-boot=/dev/full
	err_has 'mayfly: /dev/full is not complete: No space left on device'
	boot 7 7 --trace-boot=/dev/full
	err_has 'mayfly: /dev/full is not complete: No space left on device'
}

# --- Snapshots ---

test_snapshot_at_a_console_text_goes_on() {
	needs_kvm_and_kernel
	mayfly 0 snapshot -q -o saved --when console:'ready> ' "$KERNEL"
	said ''
	for status in 1 2; do
		printf 'again%s' $status | "$MAYFLY" boot -q --from saved >out 2>err
		result=$?
		[ $result -eq $status ] || fail "exit status $result"
		out_is again
	done
}

test_snapshot_at_the_mark_goes_on() {
	needs_kvm_and_kernel
	printf 'xsy' | "$MAYFLY" snapshot -q -o saved --when port "$KERNEL" >out 2>err ||
		fail "exit status $?"
	said x
	printf 'z9' | "$MAYFLY" boot -q --from saved >out 2>err
	status=$?
	[ $status -eq 9 ] || fail "exit status $status"
	out_is sz
}

test_snapshot_after_a_time_goes_on() {
	needs_kvm_and_kernel
	mayfly 0 snapshot -q -o saved --when 500ms "$KERNEL"
	printf 'z4' | "$MAYFLY" boot -q --from saved >out 2>err
	status=$?
	[ $status -eq 4 ] || fail "exit status $status"
}

test_place_of_the_snapshot_is_looked_for_first() {
	needs_kvm_and_kernel
	mkdir directory
	for output in no/such/file directory; do
		mayfly 125 snapshot -q -o $output --when port --timeout 60s "$KERNEL"
		err_has "no snapshot was saved: $output: "
		out_is ''
	done
}

test_guest_that_ends_before_is_not_saved() {
	needs_kvm_and_kernel
	printf 4 | "$MAYFLY" snapshot -q -o saved --when port "$KERNEL" >out 2>err
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	err_has "the guest exited with status 4 before 'port'"
	[ ! -e saved ] || fail "there is a file"
	printf r | "$MAYFLY" snapshot -q -o saved --when console:never "$KERNEL" >out 2>err
	err_has "the guest rebooted before"
	[ ! -e saved ] || fail "there is a file"
	printf t | "$MAYFLY" snapshot -q -o saved --when console:never "$KERNEL" >out 2>err
	err_has "the guest faulted thrice before"
	[ ! -e saved ] || fail "there is a file"
}

test_time_limit_before_the_point_is_status_124() {
	needs_kvm_and_kernel
	mayfly 124 snapshot -q -o saved --when port --timeout 300ms "$KERNEL"
	[ ! -e saved ] || fail "there is a file"
}

test_snapshots_of_programs_and_machines_are_told_apart() {
	needs_kvm_and_kernel
	busybox=$(command -v busybox) || skip "no busybox"
	mayfly 0 snapshot -o program --when main --system "$busybox" true
	mayfly 126 boot --from program
	err_has "'mayfly run --from' continues it"
	mayfly 0 snapshot -q -o machine --when console:hello "$KERNEL"
	mayfly 126 run --from machine
	err_has "'mayfly boot --from' continues it"
	for arguments in "machine function" "--list machine"; do
		# shellcheck disable=SC2086
		mayfly 126 call $arguments
		err_has "machine is a snapshot of a machine: 'mayfly boot --from' continues it"
	done
	mayfly 0 call --list program
}

test_damaged_snapshot_is_status_126() {
	needs_kvm_and_kernel
	mayfly 0 snapshot -q -o saved --when console:hello "$KERNEL"
	head -c 5000 saved >part
	mayfly 126 boot --from part
	mayfly 127 boot --from /nonexistent
}

run_tests
