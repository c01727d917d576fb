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
	err_has "--when: 'later' is none of: stdin, main, ready"
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

test_options_behind_two_dashes_are_arguments() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" echo first
	mayfly 125 run --from saved --list
	err_has "there is no option --list"
	mayfly 0 run --from saved -- --list
	out_has echo
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

# python SOURCE: one that is saved before it reads its input, and continued with "input" as that.
python() {
	needs_kvm
	needs python3
	printf '%s\n' "$1" >prog.py
	mayfly 0 snapshot -o saved --when stdin --system --dir . python3 prog.py
	for _ in 1 2; do
		echo input | "$MAYFLY" run --system --dir . --from saved >out 2>err ||
			fail "exit status $?"
	done
}

test_localhost_is_still_a_name() {
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab's programs are static"
	python '
import socket, sys
hosts = open("/etc/hosts")
hosts.readline()
sys.stdin.readline()
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
c = socket.create_connection(("localhost", s.getsockname()[1]))
print(hosts.readline().split()[:2], "connected")'
	out_is "['::1', 'localhost'] connected"
}

test_an_event_loop_goes_on() {
	python '
import asyncio, sys
async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    line = await loop.run_in_executor(None, sys.stdin.readline)
    reader, writer = await asyncio.open_connection("127.0.0.1", 8080)
    writer.write(line.encode())
    print((await reader.readline()).decode(), end="")
    await asyncio.sleep(0.001)
    loop.call_soon_threadsafe(print, "from a thread")
    await asyncio.sleep(0)
async def answer(reader, writer):
    writer.write(b"answer to " + await reader.readline())
    writer.close()
asyncio.run(main())'
	out_is 'answer to input
from a thread'
}

test_timers_and_signals_go_on() {
	python '
import os, signal, sys, time
took = []
for number in signal.SIGUSR1, signal.SIGALRM:
    signal.signal(number, lambda number, frame: took.append(signal.Signals(number).name))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 2)
sys.stdin.readline()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
while len(took) < 2:
    time.sleep(0.01)
print(*sorted(took))'
	out_is 'SIGALRM SIGUSR1'
}

test_files_without_names_go_on() {
	python '
import os, sys, tempfile
with tempfile.TemporaryFile("w+") as a, os.fdopen(os.memfd_create("b"), "w+") as b:
    for file in a, b:
        file.write("kept")
        file.flush()
        file.seek(0)
    sys.stdin.readline()
    print(a.read(), b.read())'
	out_is 'kept kept'
}

test_a_server_is_published_where_it_goes_on() {
	needs_kvm
	needs python3
	cat >server.py <<-'EOF'
		import socket, sys
		listener = socket.create_server(("127.0.0.1", 8080))
		sys.stdin.readline()
		print("listening", flush=True)
		connection, _ = listener.accept()
		connection.sendall(b"hello")
	EOF
	mayfly 0 snapshot -o saved --when stdin --system --dir . python3 server.py
	cat >client.py <<-'EOF'
		import os, socket, subprocess
		with socket.create_server(("127.0.0.1", 0)) as s:
		    port = s.getsockname()[1]
		run = [os.environ["MAYFLY"], "run", "--system", "--dir", ".",
		       "--publish", "%d:8080" % port, "--from", "saved"]
		with subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as p:
		    assert p.stdout.readline() == b"listening\n"
		    with socket.create_connection(("127.0.0.1", port)) as c:
		        print(c.recv(100).decode())
	EOF
	python3 client.py >out 2>err || fail "exit status $?"
	out_is hello
}

test_what_cannot_be_saved_is_named() {
	needs_kvm
	needs python3
	echo 'import os, sys
os.mkfifo("/tmp/fifo")
fd = os.open("/tmp/fifo", os.O_RDWR)
sys.stdin.readline()' >prog.py
	mayfly 125 snapshot -o saved --when stdin --system --dir . python3 prog.py
	err_has "a snapshot cannot keep /tmp/fifo"
	[ ! -e saved ] || fail "there is a file"
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
	mayfly 0 snapshot -o saved --when stdin --timeout 60s "$busybox" sh -c \
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
	mayfly 126 run --from functions
	err_has "mayfly: functions is a snapshot of a function guest: 'mayfly call'"
}

test_snapshot_of_a_program_has_no_functions() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" true
	mayfly 126 call saved add 1 2
	err_has "mayfly: saved is a snapshot of a program: 'mayfly run --from' continues it"
}

test_snapshot_that_is_run_as_a_program_is_named() {
	needs_busybox
	mayfly 0 snapshot -o saved --when main "$busybox" true
	mayfly 126 run ./saved
	err_has "mayfly: ./saved is a snapshot: 'mayfly run --from ./saved' continues it"
}

run_tests
