#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Signals to mayfly run: they are the program's.
. "$(dirname "$0")/tap.sh"

needs_busybox() {
	needs_kvm
	busybox=$(command -v busybox) || skip "no busybox"
	if command -v ldd >/dev/null && ldd "$busybox" 2>/dev/null | grep -q libc; then
		skip "busybox is not static"
	fi
}

# begin SCRIPT [OPTION...]: a shell in the VM runs SCRIPT, which prints "ready"; its pid is $vm.
begin() {
	script=$1
	shift
	rm -f out
	"$MAYFLY" run "$@" "$busybox" sh -c "$script" >out 2>err <"${input-/dev/null}" &
	vm=$!
	await ready
}

# Until this is in the output.
await() {
	tries=0
	until grep -qs "$1" out; do
		kill -0 $vm 2>/dev/null || fail "it ended before it said $1"
		tries=$((tries + 1))
		[ $tries -lt 3000 ] || fail "it never said $1"
		sleep 0.02
	done
}

# Whether it stops, or goes on: until its state is $1 (proc(5), stat).
await_state() {
	tries=0
	until [ "$(sed 's/.*) \(.\).*/\1/' /proc/$vm/stat)" = "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 3000 ] || return 1
		sleep 0.02
	done
}

ends_with() {
	wait $vm
	status=$?
	[ $status -eq "$1" ] || fail "exit status $status, not $1"
}

spin='while :; do :; done'

test_a_handler_of_the_programs_runs() {
	needs_busybox
	for signal in HUP TERM USR1 USR2 ALRM CONT WINCH; do
		begin "trap 'echo got $signal; exit 7' $signal; echo ready; $spin"
		kill -$signal $vm
		ends_with 7
		out_has "got $signal"
		err_is_empty
	done
}

test_a_program_without_handler_dies_of_it() {
	needs_busybox
	for signal in HUP:1 USR1:10 USR2:12 ALRM:14 TERM:15; do
		begin "echo ready; $spin"
		kill -${signal%:*} $vm
		ends_with $((128 + ${signal#*:}))
	done
}

test_a_waiting_program_is_woken() {
	needs_busybox
	mkfifo never
	exec 3<>never
	input=never
	begin "trap 'echo got it; exit 3' TERM; echo ready; read -r line; $spin"
	kill -TERM $vm
	ends_with 3
	out_has "got it"
}

test_what_the_program_ignores_has_no_effect() {
	needs_busybox
	begin "trap '' TERM HUP; trap 'echo asked; exit 0' USR1; echo ready; $spin"
	kill -TERM $vm
	kill -TERM $vm
	kill -HUP $vm
	kill -USR1 $vm
	ends_with 0
	out_has asked
}

test_what_mayfly_was_told_to_ignore_it_ignores() {
	needs_busybox
	(
		trap '' HUP
		exec "$MAYFLY" run "$busybox" sh -c "trap 'echo heard; exit 9' HUP
			trap 'exit 5' TERM; echo ready; $spin" >out 2>err </dev/null
	) &
	vm=$!
	await ready
	kill -HUP $vm
	kill -TERM $vm
	ends_with 5
	out_lacks heard
}

test_a_time_limit_ends_what_ignores_signals() {
	needs_busybox
	begin "trap '' TERM; echo ready; $spin" --timeout 4s
	kill -TERM $vm
	ends_with 124
}

test_kill_leaves_nothing_behind() {
	needs_busybox
	begin "trap '' TERM; echo ready; $spin"
	kill -KILL $vm
	ends_with 137
	[ ! -e /proc/$vm ] || fail "it is still there"
}

test_statistics_are_told_of_a_program_that_was_ended() {
	needs_busybox
	begin "echo ready; $spin" --stats
	kill -TERM $vm
	ends_with 143
	err_has "system calls"
}

test_a_stopped_command_goes_on_and_the_program_hears_of_it() {
	needs_busybox
	begin "trap 'echo continued; exit 4' CONT; echo ready; $spin"
	kill -STOP $vm
	await_state T || fail "it did not stop"
	kill -CONT $vm
	ends_with 4
	out_has continued
}

test_control_z_stops_the_command() {
	needs_busybox
	needs bash
	# In a job of its own, of a shell that may continue it: else the kernel does not stop it.
	# wait may still say that it stopped: 128 and SIGTSTP.
	bash -c 'set -m
		"$MAYFLY" run "$0" sh -c "trap \"echo continued; exit 4\" CONT; echo ready
			while :; do :; done" >out 2>err </dev/null &
		echo $! >pid
		until grep -qs ready out; do sleep 0.02; done
		kill -TSTP $!
		until [ "$(sed "s/.*) \(.\).*/\1/" /proc/$!/stat)" = T ]; do sleep 0.02; done
		echo stopped >stopped
		kill -CONT $!
		status=148
		while [ $status -eq 148 ]; do
			wait $!
			status=$?
		done
		exit $status' "$busybox"
	status=$?
	[ -e stopped ] || fail "it did not stop"
	[ $status -eq 4 ] || fail "exit status $status"
	out_has continued
}

# Shells start what is in the background with SIGINT ignored.
test_interrupts_are_the_programs() {
	needs_kvm
	needs python3
	cat >prog.py <<-'EOF'
		import sys
		try:
		    print("ready", flush=True)
		    while True:
		        pass
		except KeyboardInterrupt:
		    print("interrupted", flush=True)
		    if sys.argv[1] == "again":
		        raise
		    sys.exit(6)
	EOF
	cat >driver.py <<-'EOF'
		import os, signal, subprocess, sys
		# What a caller in the background has had ignored would stay so.
		signal.signal(signal.SIGINT, signal.SIG_DFL)
		signal.signal(signal.SIGQUIT, signal.SIG_DFL)
		run = [os.environ["MAYFLY"], "run", "--timeout", "60s", "--system", "--dir", ".",
		       "python3", "prog.py"]
		for how, number, status in (("caught", signal.SIGINT, 6), ("again", signal.SIGINT, -2),
		                            ("caught", signal.SIGQUIT, -3)):
		    with subprocess.Popen(run + [how], stdout=subprocess.PIPE, text=True) as p:
		        assert p.stdout.readline() == "ready\n"
		        p.send_signal(number)
		        rest = p.stdout.read()
		    assert ("interrupted" in rest) == (number == signal.SIGINT), rest
		    assert p.returncode == status, p.returncode
	EOF
	python3 driver.py >log 2>&1 || fail "$(cat log)"
}

run_tests
