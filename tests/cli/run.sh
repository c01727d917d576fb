#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mayfly run: its options, and real runs of a static busybox. The former need no KVM.
. "$(dirname "$0")/tap.sh"

# --- Options --------------------------------------------------------------------------------------

# bad_option TEXT ARG...: refused as a mistake in the usage, saying TEXT (a pattern).
bad_option() {
	text=$1
	shift
	mayfly 125 run "$@" ./program
	[ ! -s out ] || fail "something was printed"
	err_has "mayfly: run: $text"
	err_has "'mayfly run --help' shows the usage"
}

test_program_must_be_given() {
	mayfly 125 run
	err_has "mayfly: run: a PROGRAM is missing"
	mayfly 125 run --system --
	err_has "mayfly: run: a PROGRAM is missing"
}

test_dir_of_other_forms_is_refused() {
	bad_option "--dir: '' names no directory" --dir ''
	bad_option "--dir: ':/guest' names no directory" --dir :/guest
	bad_option "--dir: ':rw' names no directory" --dir :rw
	bad_option "--dir: 'a:b' is not HOST" --dir a:b
	bad_option "--dir: 'a:wr' is not HOST" --dir a:wr
	bad_option "--dir: '/a:b:ro' is not HOST" --dir . --dir /a:b:ro
	bad_option "--dir: '/a:/b:r0' is not HOST" --dir /a:/b:r0
}

test_root_of_other_forms_is_refused() {
	bad_option "--root: '' names no directory" --root ''
	bad_option "--root: ':ro' names no directory" --root :ro
}

test_env_without_a_name_is_refused() {
	bad_option "--env: '' is not NAME=VALUE" --env ''
	bad_option "--env: '=x' is not NAME=VALUE" --env =x
}

test_net_of_other_forms_is_refused() {
	for rule in '' : :80 example.org: example.org:0 example.org:65536 example.org:http \
		example.org:90-80 example.org:80- example.org:80-90-100 a:b:c '[::1' '[::1]80' \
		'[example.org:80]:80' '[]:80'; do
		bad_option "--net: '$(printf %s "$rule" | sed 's/[][*?]/\\&/g')' is not HOST" \
			"--net=$rule"
	done
}

test_publish_of_other_forms_is_refused() {
	for ports in '' 80 0:80 80:0 80:65536 80: :80 a:80 80:a example.org:80:80 ::1:80:80 \
		'[::1:80:80' :80:80; do
		bad_option "--publish: '$(printf %s "$ports" | sed 's/[][*?]/\\&/g')' is not" \
			--publish "$ports"
	done
}

test_numbers_are_checked() {
	bad_option "--memory: '1T' is not a size" --memory 1T
	bad_option "--max-output: '-1' is not a size" --max-output -1
	bad_option "--timeout: '5' is not a time" --timeout 5
	bad_option "--cpu-time: 'x' is not a time" --cpu-time x
	bad_option "--max-files: '0' is not a whole number from 1 to 1048576" --max-files 0
	bad_option "--threads: '201' is not a whole number from 1 to 200" --threads 201
}

test_what_a_snapshot_has_is_not_given_again() {
	bad_option "--env is fixed in a snapshot" --from file --env A=1
	bad_option "--env-all is fixed in a snapshot" --from file --env-all
	bad_option "--cwd is fixed in a snapshot" --from file --cwd /
}

test_snapshot_that_is_not_there_is_status_127() {
	mayfly 127 run --from ./no-such-file
	err_has "no-such-file"
}

test_trace_that_cannot_be_written_is_a_failure() {
	mayfly 125 run --trace=no/such/directory ./program
	err_has "mayfly: cannot write no/such/directory: No such file or directory"
}

# --- Programs -------------------------------------------------------------------------------------

# $busybox: a static one.
needs_busybox() {
	needs_kvm
	busybox=$(command -v busybox) || skip "no busybox"
	# Its own ldd is none.
	if command -v ldd >/dev/null && ldd "$busybox" 2>/dev/null | grep -q libc; then
		skip "busybox is not static"
	fi
}

# run STATUS ARG...: busybox with its arguments, behind options that are in $options.
options=
run() {
	expected_status=$1
	shift
	# shellcheck disable=SC2086
	mayfly "$expected_status" run $options "$busybox" "$@"
}

test_output_and_status_are_the_programs_own() {
	needs_busybox
	run 0 echo 'hello  world'
	out_is 'hello  world'
	err_is_empty
	run 0 true
	run 1 false
	run 42 sh -c 'echo oops >&2; exit 42'
	[ "$(cat err)" = oops ] || fail "standard error is not the program's"
}

test_options_behind_the_program_are_its_own() {
	needs_busybox
	run 0 echo --timeout x --help
	out_is '--timeout x --help'
	options=--
	run 0 echo -- -h
	out_is '-- -h'
}

test_standard_input_is_passed() {
	needs_busybox
	echo hello | "$MAYFLY" run "$busybox" tr a-z A-Z >out 2>err || fail "exit status $?"
	out_is HELLO
	head -c 300000 /dev/urandom >data
	"$MAYFLY" run "$busybox" cat <data >copy 2>err || fail "exit status $?"
	cmp -s data copy || fail "the bytes differ"
}

test_closed_streams_do_no_harm() {
	needs_busybox
	"$MAYFLY" run "$busybox" sh -c 'echo out; echo err >&2; read x; exit 3' <&- >&- 2>&-
	status=$?
	[ $status -eq 3 ] || fail "exit status $status"
}

test_closed_streams_are_errors_as_without_a_vm() {
	needs_busybox
	"$MAYFLY" run "$busybox" echo hi >&- 2>err && fail "writing to a closed stream succeeded"
	err_has "Bad file descriptor"
	"$MAYFLY" run "$busybox" cat <&- >out 2>err && fail "reading from a closed stream succeeded"
	err_has "Bad file descriptor"
	"$MAYFLY" run "$busybox" sh -c 'echo x >&2 || echo refused' >out 2>&-
	out_is refused
}

test_program_may_be_named_by_a_relative_path() {
	needs_busybox
	cp "$busybox" ./busybox
	mayfly 0 run ./busybox echo yes
	out_is yes
	mkdir deeper
	cd deeper || fail "no directory"
	mayfly 0 run ../busybox echo yes
	out_is yes
}

test_missing_program_is_status_127() {
	needs_busybox
	mayfly 127 run ./no-such-program
	err_has "no-such-program"
	mayfly 127 run no-such-name
	err_has "no-such-name"
	mayfly 127 run --system no-such-name
	err_has "no-such-name"
}

test_missing_program_without_grants_names_the_option() {
	needs_busybox
	mayfly 127 run no-such-name
	err_has "mayfly: --system grants the host's installed programs"
	mayfly 127 run --system no-such-name
	! grep -q -- '--system grants' err || fail "--system is advised, but was given"
}

test_dynamic_program_without_its_loader_names_the_option() {
	needs_busybox
	[ -e /lib64/ld-linux-x86-64.so.2 ] || skip "no loader"
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab's programs are static"
	mayfly 127 run "$(command -v env)"
	err_has "loader"
	err_has "mayfly: --system grants the host's installed programs"
}

test_file_that_is_not_executable_is_status_126() {
	needs_busybox
	echo hello >text
	mayfly 126 run ./text
	err_has "text"
	chmod +x text
	mayfly 126 run ./text
	mayfly 126 run ./
	head -c 2000 "$busybox" >part
	chmod +x part
	mayfly 126 run ./part
}

test_truncated_program_is_named() {
	needs_busybox
	head -c 5000 "$busybox" >part
	chmod +x part
	mayfly 126 run ./part
	err_has "/part: a segment ends behind the end of the file"
}

test_truncated_loader_is_named() {
	needs_busybox
	loader=/lib64/ld-linux-x86-64.so.2
	[ -e $loader ] || skip "no loader"
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab's programs are static"
	head -c 5000 $loader >part
	chmod +x part
	mayfly 126 run --system --dir part:$loader "$(command -v env)"
	err_has "$loader: a segment ends behind the end of the file"
}

test_missing_directory_to_grant_is_status_125() {
	needs_busybox
	mayfly 125 run --dir ./no-such-directory "$busybox" true
	err_has no-such-directory
}

# --- Environment and directory --------------------------------------------------------------------

test_environment_is_small_by_default() {
	needs_busybox
	SECRET=1 LANG=xx run 0 env
	sort out >sorted
	printf 'HOME=/\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n' >expected
	cmp -s sorted expected || fail "other variables are there"
}

test_variables_are_set_and_copied() {
	needs_busybox
	COPIED='a b' mayfly 0 run --env SET=1=2 --env COPIED --env ABSENT_HERE --env EMPTY= \
		--env HOME=/home --env TWICE=1 --env TWICE=2 "$busybox" env
	for line in SET=1=2 'COPIED=a b' EMPTY= HOME=/home TWICE=2; do
		grep -qx "$line" out || fail "no $line"
	done
	! grep -q 'ABSENT_HERE\|TWICE=1\|HOME=/$' out || fail "something is there that should not be"
}

test_whole_environment_is_given_on_demand() {
	needs_busybox
	SECRET=1 HOME=/here mayfly 0 run --env-all --env SECRET=2 "$busybox" env
	grep -qx HOME=/here out || fail "HOME is not the host's"
	grep -qx SECRET=2 out || fail "--env does not win"
	! grep -q SECRET=1 out || fail "SECRET is there twice"
}

test_working_directory_is_the_root_by_default() {
	needs_busybox
	run 0 pwd
	out_is /
}

test_working_directory_is_here_if_that_is_granted() {
	needs_busybox
	mkdir sub
	mayfly 0 run --dir . "$busybox" pwd
	out_is "$PWD"
	here=$PWD
	cd sub || fail "no directory"
	mayfly 0 run --dir "$here" "$busybox" pwd
	out_is "$here/sub"
	mayfly 0 run --dir "$here:/elsewhere" "$busybox" pwd
	out_is /
}

test_working_directory_can_be_chosen() {
	needs_busybox
	mkdir sub
	mayfly 0 run --dir . --cwd sub "$busybox" pwd
	out_is "$PWD/sub"
	mayfly 0 run --cwd /tmp "$busybox" pwd
	out_is /tmp
	mayfly 125 run --cwd /no-such-directory "$busybox" pwd
	err_has no-such-directory
}

# --- Files ----------------------------------------------------------------------------------------

test_nothing_of_the_host_is_seen_by_default() {
	needs_busybox
	echo secret >file
	run 1 cat "$PWD/file"
	err_has "No such file or directory"
	run 1 cat /etc/passwd
	run 0 ls -a /tmp
	[ "$(grep -cv '^\.' out)" -eq 0 ] || fail "/tmp is not empty"
}

test_granted_directory_is_read_only() {
	needs_busybox
	mkdir dir
	echo text >dir/file
	options="--dir $PWD/dir"
	run 0 cat "$PWD/dir/file"
	out_is text
	run 1 sh -c "echo changed >$PWD/dir/file"
	err_has "Read-only file system"
	run 1 rm -f "$PWD/dir/file"
	run 1 touch "$PWD/dir/new"
	[ "$(cat dir/file)" = text ] || fail "the file was changed"
	[ ! -e dir/new ] || fail "a file was made"
}

test_granted_directory_can_have_another_name() {
	needs_busybox
	mkdir 'dir:with' && echo text >dir:with/file
	options="--dir dir:with:/data/in"
	run 0 cat /data/in/file
	out_is text
	run 1 ls "$PWD/dir:with"
}

test_directory_granted_for_writing_is_written_to() {
	needs_busybox
	mkdir dir
	options="--dir dir:/d:rw"
	run 0 sh -c 'echo text >/d/file'
	[ "$(cat dir/file)" = text ] || fail "the file has something else"
	run 0 rm /d/file
	[ ! -e dir/file ] || fail "the file is still there"
}

test_changes_of_an_overlay_are_forgotten() {
	needs_busybox
	mkdir dir
	echo text >dir/file
	options="--dir dir:/d:overlay"
	run 0 sh -c 'echo changed >/d/file; echo new >/d/new; read x </d/file; read y </d/new; echo $x $y'
	out_is 'changed new'
	[ "$(cat dir/file)" = text ] || fail "the file was changed"
	[ ! -e dir/new ] || fail "a file was made"
	run 0 cat /d/file
	out_is text
}

test_single_file_can_be_granted() {
	needs_busybox
	echo one >one
	echo two >two
	mayfly 0 run --dir one:/f --dir two "$busybox" cat /f "$PWD/two"
	out_is "$(printf 'one\ntwo')"
	mayfly 1 run --dir one "$busybox" cat two
}

test_symbolic_links_do_not_lead_out() {
	needs_busybox
	mkdir dir
	echo secret >file
	ln -s ../file dir/relative
	ln -s "$PWD/file" dir/absolute
	options="--dir dir:/d"
	run 1 cat /d/relative
	run 1 cat /d/absolute
	run 1 cat /d/../file
}

test_root_is_an_overlay_by_default() {
	needs_busybox
	mkdir -p root/bin root/etc
	cp "$busybox" root/bin/busybox
	echo inside >root/etc/motd
	mayfly 0 run --root root /bin/busybox sh -c 'read x </etc/motd; echo $x; echo y >/etc/motd'
	out_is inside
	[ "$(cat root/etc/motd)" = inside ] || fail "the file was changed"
	mayfly 0 run --root root busybox cat /etc/motd
	out_is inside
}

test_root_can_be_read_only_or_written_to() {
	needs_busybox
	mkdir -p root/bin
	cp "$busybox" root/bin/busybox
	mayfly 1 run --root root:ro /bin/busybox touch /new
	mayfly 0 run --root root:rw /bin/busybox touch /new
	[ -e root/new ] || fail "no file was made"
}

test_tmp_of_a_root_is_covered_unless_granted() {
	needs_busybox
	mkdir -p root/bin root/tmp
	cp "$busybox" root/bin/busybox
	echo mark >root/tmp/mark
	mayfly 0 run --root root:rw /bin/busybox sh -c 'echo /tmp/*; echo x >/tmp/new'
	out_is '/tmp/*'
	[ ! -e root/tmp/new ] || fail "a file was made"
	mayfly 0 run --root root:rw --dir root/tmp:/tmp:rw /bin/busybox sh -c 'echo /tmp/*; echo x >/tmp/new'
	out_is /tmp/mark
	[ -e root/tmp/new ] || fail "no file was made"
}

test_relative_program_is_found_from_the_chosen_directory() {
	needs_busybox
	mkdir -p root/app
	cp "$busybox" root/app/busybox
	mayfly 0 run --root root --cwd /app ./busybox sh -c pwd
	out_is /app
	mayfly 0 run --dir root/app:/app --cwd /app ./busybox sh -c pwd
	out_is /app
}

test_system_grants_installed_programs() {
	needs_busybox
	[ -e /lib64/ld-linux-x86-64.so.2 ] || skip "no dynamic programs"
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab's programs are static"
	mayfly 0 run --system sort --version
	out_has "sort"
	mayfly 0 run --system "$(command -v env)"
	mayfly 1 run --system "$busybox" touch /usr/made-by-a-test
}

# needs_system PROGRAM: a dynamic one that is installed here.
needs_system() {
	needs_kvm
	needs "$1"
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab's programs are static"
}

test_localhost_is_a_name_without_any_grant() {
	needs_system getent
	mayfly 0 run --system getent hosts localhost
	out_has localhost
	mayfly 0 run --system getent ahostsv4 localhost
	out_has 127.0.0.1
}

test_localhost_is_connected_to_by_name() {
	needs_system python3
	cat >server.py <<-'END'
		import socket
		s = socket.socket()
		s.bind(("127.0.0.1", 0))
		s.listen()
		c = socket.create_connection(("localhost", s.getsockname()[1]))
		s.accept()[0].send(b"hello")
		print(c.recv(5).decode())
	END
	mayfly 0 run --system --dir . python3 server.py
	out_is hello
}

test_names_are_the_hosts_with_a_network() {
	needs_busybox
	[ -r /etc/hosts ] || skip "no /etc/hosts"
	[ -z "${MAYFLY_LAB-}" ] || skip "the lab has no other programs"
	mayfly 0 run --system --net "$busybox" cat /etc/hosts
	cmp -s out /etc/hosts || fail "it is another /etc/hosts"
	mayfly 1 run "$busybox" cat /etc/hosts
}

# --- Limits ---------------------------------------------------------------------------------------

test_time_limit_is_status_124() {
	needs_busybox
	options="--timeout 100ms"
	run 124 sleep 100
	err_has "mayfly: the time limit"
	run 124 sh -c 'while :; do :; done'
	options="--timeout 60s"
	run 0 true
}

test_limit_of_cpu_time_is_status_124() {
	needs_busybox
	options="--cpu-time 500ms"
	run 124 sh -c 'while :; do :; done'
	err_has "CPU time limit"
	run 0 sleep 1
}

test_limit_of_output_ends_it() {
	needs_busybox
	options="--max-output 10000"
	run 153 yes
	[ "$(wc -c <out)" -eq 10000 ] || fail "$(wc -c <out) bytes"
	err_has "mayfly: the program died of SIGXFSZ: it reached the output limit of 10000 bytes"
	: >out
	run 0 head -c 10000 /dev/zero
}

test_limit_of_memory_holds_for_files_in_memory() {
	needs_busybox
	options="--memory 32M"
	run 1 dd if=/dev/zero of=/tmp/file bs=1M count=64
	err_has "No space left on device"
	run 0 dd if=/dev/zero of=/tmp/file bs=1M count=8
}

test_limit_of_memory_holds_for_the_program() {
	needs_busybox
	"$MAYFLY" run --memory 16M "$busybox" sort /dev/zero >out 2>err
	status=$?
	[ $status -ne 0 ] && [ $status -ne 124 ] || fail "exit status $status"
}

test_limit_of_files_holds() {
	needs_busybox
	options="--max-files 10"
	run 0 sh -c 'ulimit -n'
	out_is 10
}

test_fewer_files_than_the_standard_streams_are_refused() {
	needs_busybox
	options="--max-files 2"
	run 125 true
	err_has "mayfly: 2 descriptors; the standard streams alone are 3"
	options="--max-files 3"
	run 0 true
}

test_limits_of_0_are_none() {
	needs_busybox
	options="--timeout 0 --cpu-time 0 --max-output 0 --memory 0"
	run 0 head -c 100000 /dev/zero
	[ "$(wc -c <out)" -eq 100000 ] || fail "$(wc -c <out) bytes"
}

# --- Dying ----------------------------------------------------------------------------------------

test_death_by_a_signal_is_128_and_its_number() {
	needs_busybox
	run 134 sh -c 'kill -ABRT $$'
	err_has "mayfly: the program died of SIGABRT"
	run 139 sh -c 'kill -SEGV $$'
	run 137 sh -c 'kill -KILL $$'
}

test_death_by_a_signal_that_ends_pipes_is_silent() {
	needs_busybox
	run 143 sh -c 'kill -TERM $$'
	err_is_empty
	{ "$MAYFLY" run "$busybox" yes 2>err; echo $? >status; } | head -n 1 >/dev/null
	[ "$(cat status)" -eq 141 ] || [ "$(cat status)" -eq 1 ] || fail "exit status $(cat status)"
}

# start ARG...: a program that says so and then computes, as $pid; output in started and err.
start() {
	: >started
	"$MAYFLY" run "$@" "$busybox" sh -c 'echo started; while :; do :; done' >started 2>err &
	pid=$!
	n=0
	while [ ! -s started ]; do
		n=$((n + 1))
		[ $n -lt 1200 ] || fail "it did not start"
		sleep 0.05
	done
}

# ended STATUS: it has.
ended() {
	wait $pid
	status=$?
	[ $status -eq "$1" ] || fail "exit status $status, not $1"
}

test_signal_to_the_command_ends_both() {
	needs_busybox
	start
	kill -TERM $pid
	ended 143
	start
	kill -HUP $pid
	ended 129
}

test_signal_that_the_command_was_to_ignore_is_ignored() {
	needs_busybox
	trap '' HUP
	start
	trap - HUP
	kill -HUP $pid
	sleep 0.3
	kill -0 $pid || fail "it ended"
	kill -TERM $pid
	ended 143
}

test_signal_to_the_command_leaves_the_statistics() {
	needs_busybox
	start --stats
	kill -TERM $pid
	ended 143
	err_has "system calls, "
}

test_terminal_is_put_back() {
	needs_busybox
	needs script
	needs stty
	cat >job <<-END
		stty -g >before
		"$MAYFLY" run "$busybox" stty raw -echo
		echo \$? >status
		stty -g >after
		"$MAYFLY" run "$busybox" sh -c 'stty raw -echo; kill -KILL \$\$'
		stty -g >last
	END
	script -qec 'sh job' /dev/null >out 2>err </dev/null || true
	[ "$(cat status)" -eq 0 ] || fail "stty failed"
	[ -s before ] && cmp -s before after || fail "the terminal has changed"
	cmp -s before last || fail "the terminal has changed with the program's death"
}

test_program_sees_the_terminal() {
	needs_busybox
	needs script
	cat >job <<-END
		stty rows 33 cols 77
		"$MAYFLY" run "$busybox" stty size
		TERM=vt52 "$MAYFLY" run "$busybox" sh -c 'test -t 0 && echo is \$TERM'
	END
	script -qec 'sh job' /dev/null >out 2>err </dev/null || true
	out_has "33 77"
	out_has "is vt52"
}

# --- Trace and statistics -------------------------------------------------------------------------

test_trace_goes_to_standard_error() {
	needs_busybox
	options=--trace
	run 3 sh -c 'echo hello; exit 3'
	out_is hello
	grep -q '^write(1, "hello\\n", 6) *= 6$' err || fail "no write"
	grep -q '^exit_group(3)' err || fail "no exit_group"
	! grep -q '^mayfly: ' err || fail "a message is among the lines"
}

test_trace_goes_to_a_file() {
	needs_busybox
	options=--trace=calls
	run 0 echo hello
	err_is_empty
	grep -q 'write(1, "hello\\n", 6)' calls || fail "no write"
}

test_trace_that_does_not_fit_is_a_failure() {
	needs_busybox
	[ -c /dev/full ] || skip "no /dev/full"
	options=--trace=/dev/full
	run 125 true
	err_has "mayfly: /dev/full is not complete: No space left on device"
	run 3 sh -c 'exit 3'
	err_has "mayfly: /dev/full is not complete"
	run 137 sh -c 'kill -KILL $$'
	err_has "mayfly: /dev/full is not complete"
}

test_statistics_are_a_table_and_a_summary() {
	needs_busybox
	options=--stats
	run 0 echo hello
	out_is hello
	grep -q 'write' err || fail "no write in the table"
	err_has "system calls, "
	err_has "of memory at most, 6 bytes of output"
}

# --- Network --------------------------------------------------------------------------------------

listening() {
	grep -qsi ":$(printf %04X "$1") 0*:0000 0A" /proc/net/tcp /proc/net/tcp6
}

# Below those that the kernel gives out by itself.
choose_port() {
	port=
	while [ -z "$port" ] || listening "$port"; do
		port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
	done
}

# talk TEXT FILE [OVER]: input for nc: TEXT, then none, but no end before FILE has what the other side
# sent, or OVER is there; at the end of its input it would not wait. Two minutes are for what fails.
talk() {
	echo "$1"
	for _ in $(seq 2400); do
		[ ! -s "$2" ] && [ ! -e "${3-none}" ] || break
		sleep 0.05
	done
}

# serve: a server of the host at 127.0.0.1:$port, which keeps what it gets in the file got.
serve() {
	n=0
	server=
	: >got
	until [ -n "$server" ] && listening "$port"; do
		n=$((n + 1))
		[ $n -lt 1200 ] || fail "the server did not start"
		# Also if the port was somebody else's.
		if [ -z "$server" ] || ! kill -0 "$server" 2>/dev/null; then
			choose_port
			talk answer got | timeout 120 "$busybox" nc -l -p "$port" >got 2>/dev/null &
			server=$!
		fi
		sleep 0.05
	done
}

# client ARG...: a program that sends hello to it.
client() {
	: >out
	talk hello out over | {
		"$MAYFLY" run --timeout 60s "$@" "$busybox" nc -w 30 127.0.0.1 "$port" >out 2>err
		echo $? >status
		: >over
	}
	rm over
	return "$(cat status)"
}

# The server is there, and got nothing before this.
nobody_came() {
	: >out
	talk native out | "$busybox" nc -w 30 127.0.0.1 "$port" >out 2>err
	wait $server
	[ "$(cat got)" = native ] || fail "the server got: $(cat got)"
}

test_there_is_no_network_by_default() {
	needs_busybox
	serve
	client && fail "it connected"
	nobody_came
}

test_granted_address_is_reached() {
	needs_busybox
	serve
	client --net=127.0.0.1:$port || fail "exit status $?"
	wait $server
	[ "$(cat got)" = hello ] || fail "the server got: $(cat got)"
	out_is answer
}

test_granted_name_is_reached() {
	needs_busybox
	grep -q '^127.0.0.1.*localhost' /etc/hosts 2>/dev/null || skip "no localhost in /etc/hosts"
	serve
	client --net=localhost:$port || fail "exit status $?"
	wait $server
	[ "$(cat got)" = hello ] || fail "the server got: $(cat got)"
}

test_this_host_has_to_be_named() {
	needs_busybox
	serve
	client --net && fail "it connected"
	nobody_came
}

test_other_ports_of_a_granted_address_are_not_reached() {
	needs_busybox
	serve
	client --net=127.0.0.1:1 && fail "it connected"
	nobody_came
}

test_other_addresses_than_a_granted_one_are_not_reached() {
	needs_busybox
	serve
	client --net=10.0.0.0/8 && fail "it connected"
	nobody_came
}

test_published_port_is_reached() {
	needs_busybox
	choose_port
	: >got
	talk answer got |
		"$MAYFLY" run --timeout 120s --publish "$port:80" "$busybox" nc -l -p 80 >got 2>err &
	server=$!
	until listening "$port"; do
		kill -0 $server 2>/dev/null || fail "it ended before it listened"
		sleep 0.1
	done
	: >out
	talk hello out | "$busybox" nc -w 30 127.0.0.1 "$port" >out 2>/dev/null
	wait $server
	[ "$(cat got)" = hello ] || fail "the guest got nothing"
}

run_tests
