#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mayfly call, with the guest of cli_guest.c. Needs KVM.
. "$(dirname "$0")/tap.sh"

# --- Arguments and results ------------------------------------------------------------------------

test_result_is_one_line_on_stdout() {
	needs_kvm_and_guest
	mayfly 0 call "$GUEST" add 40 2
	printf '42\n' >expected
	cmp -s out expected || fail "not exactly 42 and a newline"
	err_is_empty
}

test_void_prints_nothing() {
	needs_kvm_and_guest
	mayfly 0 call "$GUEST" nothing
	[ ! -s out ] || fail "something was printed"
	err_is_empty
}

test_bools_are_words_or_digits() {
	needs_kvm_and_guest
	result echo_bool true true
	result echo_bool false false
	result echo_bool 1 true
	result echo_bool 0 false
}

test_integers_are_taken_to_their_ends() {
	needs_kvm_and_guest
	result echo_i32 -2147483648 -2147483648
	result echo_i32 2147483647 2147483647
	result echo_u32 4294967295 4294967295
	result echo_i64 -9223372036854775808 -9223372036854775808
	result echo_i64 9223372036854775807 9223372036854775807
	result echo_u64 18446744073709551615 18446744073709551615
}

test_integers_are_decimal_hexadecimal_or_binary() {
	needs_kvm_and_guest
	result echo_i64 0x7fffffffffffffff 9223372036854775807
	result echo_i64 -0xFf -255
	result echo_u32 0b101010 42
	result echo_i32 +7 7
	result echo_i32 007 7
}

test_integers_out_of_range_are_refused() {
	needs_kvm_and_guest
	refused "argument 1 of echo_i32: 2147483648 does not fit i32 (-2147483648 to 2147483647)" \
		echo_i32 2147483648
	refused "argument 1 of echo_i32: -2147483649 does not fit" echo_i32 -2147483649
	refused "argument 1 of echo_u32: -1 does not fit u32 (0 to 4294967295)" echo_u32 -1
	refused "argument 2 of add: 9223372036854775808 does not fit" add 0 9223372036854775808
	refused "*does not fit u64" echo_u64 99999999999999999999999999
}

test_what_is_no_integer_is_refused() {
	needs_kvm_and_guest
	for text in '' x 1x 0x 0b 0b2 - '1 ' ' 1' 1.0 0xg; do
		refused "argument 1 of echo_i64: '$text' is not an integer" echo_i64 "$text"
	done
}

test_floats_come_back_as_the_shortest_text() {
	needs_kvm_and_guest
	result echo_f32 0.1 0.1
	result echo_f64 0.1 0.1
	result echo_f64 0.30000000000000004 0.30000000000000004
	result echo_f32 16777217 16777216
	result echo_f64 5e-324 5e-324
	result echo_f64 0x1.8p1 3
}

test_floats_keep_their_sign_at_zero() {
	needs_kvm_and_guest
	result echo_f32 -0.0 -0
	result echo_f64 -0 -0
}

test_floats_can_be_infinite() {
	needs_kvm_and_guest
	result echo_f32 inf inf
	result echo_f64 -inf -inf
}

test_floats_keep_the_payload_of_a_nan() {
	needs_kvm_and_guest
	result echo_f64 nan nan
	result echo_f64 -nan -nan
	result echo_f64 'nan(0x1)' 'nan(0x1)'
	result echo_f64 'nan(0xfffffffffffff)' 'nan(0xfffffffffffff)'
	result echo_f64 '-nan(0x8000000000001)' '-nan(0x8000000000001)'
	result echo_f32 'nan(0x7fffff)' 'nan(0x7fffff)'
	result echo_f32 'nan(0x1)' 'nan(0x1)'
}

test_floats_are_taken_as_bits() {
	needs_kvm_and_guest
	result echo_f32 bits:0x3f800000 1
	result echo_f32 bits:0x7f800001 'nan(0x1)'
	result echo_f64 bits:0x8000000000000000 -0
	result echo_f64 bits:0x7ff8000000000000 nan
}

test_floats_out_of_range_are_refused() {
	needs_kvm_and_guest
	refused "argument 1 of echo_f32: 1e39 does not fit f32: too large" echo_f32 1e39
	refused "argument 1 of echo_f64: 1e-400 does not fit f64: too close to 0" echo_f64 1e-400
	refused "argument 1 of echo_f32: 'nan(0x800000)' does not fit" echo_f32 'nan(0x800000)'
	refused "argument 1 of echo_f32: 'nan(0)' does not fit" echo_f32 'nan(0)'
	refused "argument 1 of echo_f32: 'bits:0x100000000' does not fit" echo_f32 bits:0x100000000
}

test_strings_are_taken_as_they_are() {
	needs_kvm_and_guest
	result echo_string '' ''
	result echo_string 'a b	c' 'a b	c'
	result echo_string @file @file
	result echo_string i64:5 i64:5
	result echo_string hex:00 hex:00
	result echo_string --help --help
	result echo_string 'größe' 'größe'
}

test_string_prefix_is_taken_off_once() {
	needs_kvm_and_guest
	result echo_string string:string:x string:x
}

test_bytes_come_back_without_a_newline() {
	needs_kvm_and_guest
	mayfly 0 call "$GUEST" echo_bytes abc
	[ "$(wc -c <out)" -eq 3 ] || fail "not 3 bytes"
}

test_bytes_are_taken_from_a_file() {
	needs_kvm_and_guest
	head -c 10000 /dev/urandom >data
	mayfly 0 call "$GUEST" echo_bytes @data
	cmp -s data out || fail "the bytes differ"
}

test_bytes_are_taken_from_an_empty_file() {
	needs_kvm_and_guest
	: >data
	result length @data 0
}

test_bytes_are_taken_from_stdin() {
	needs_kvm_and_guest
	head -c 10000 /dev/urandom >data
	"$MAYFLY" call "$GUEST" echo_bytes @- <data >out 2>err || fail "exit status $?"
	cmp -s data out || fail "the bytes differ"
}

test_bytes_are_taken_from_a_pipe() {
	needs_kvm_and_guest
	head -c 100000 /dev/urandom >data
	# shellcheck disable=SC2002
	cat data | "$MAYFLY" call "$GUEST" echo_bytes @- >out 2>err
	cmp -s data out || fail "the bytes differ"
}

test_bytes_can_begin_with_an_at_sign() {
	needs_kvm_and_guest
	result echo_bytes @@x @x
	result echo_bytes text:@x @x
	result echo_bytes text:hex:00 hex:00
}

test_bytes_are_taken_and_printed_as_hexadecimal() {
	needs_kvm_and_guest
	mayfly 0 call --hex "$GUEST" echo_bytes hex:00fF10
	out_is 00ff10
}

test_bytes_that_are_not_hexadecimal_are_refused() {
	needs_kvm_and_guest
	refused "argument 1 of echo_bytes: hex: takes pairs of digits, but there are 3" \
		echo_bytes hex:abc
	refused "argument 1 of echo_bytes: 'zz' at digit 3 after hex: is not" echo_bytes hex:00zz
}

test_bytes_of_a_missing_file_are_refused() {
	needs_kvm_and_guest
	refused "argument 1 of echo_bytes: cannot open nofile: No such file" echo_bytes @nofile
}

test_bytes_of_a_directory_are_refused() {
	needs_kvm_and_guest
	refused "argument 1 of echo_bytes: cannot read .: Is a directory" echo_bytes @.
}

test_explicit_type_is_checked_against_the_signature() {
	needs_kvm_and_guest
	result add i64:40 i64:2 42
	result echo_bool bool:true true
	result echo_bytes bytes:hex:41 A
	refused "argument 2 of add: is i64, not i32" add i64:40 i32:2
	refused "argument 1 of echo_bytes: is bytes, not string" echo_bytes string:x
}

test_wrong_number_of_arguments_is_refused_with_the_signature() {
	needs_kvm_and_guest
	refused "add takes 2 arguments, but 1 is given; its signature is i64(i64,i64)" add 1
	refused "add takes 2 arguments, but 3 are given" add 1 2 3
	refused "nothing takes 0 arguments, but 1 is given" nothing 1
}

test_options_behind_the_guest_are_arguments_with_a_hint() {
	needs_kvm_and_guest
	refused "*(options go before GUEST)" nothing --timeout 1s
}

# --- The guest ------------------------------------------------------------------------------------

test_list_names_exports_and_imports_with_signatures() {
	needs_kvm_and_guest
	mayfly 0 call --list "$GUEST"
	grep -qx 'export add i64(i64,i64)' out || fail "no add"
	grep -qx 'export give_up void(i32,string)' out || fail "no give_up"
	grep -qx 'import host_word string(i32)' out || fail "no host_word"
}

test_missing_guest_is_status_127() {
	needs_kvm_and_guest
	mayfly 127 call ./no-such-guest add 1 2
	err_has "mayfly: cannot open ./no-such-guest: No such file or directory"
}

test_unknown_function_is_status_127_with_near_misses() {
	needs_kvm_and_guest
	mayfly 127 call "$GUEST" ad 1 2
	err_has add
}

test_directory_is_status_126() {
	needs_kvm_and_guest
	mayfly 126 call . add 1 2
	err_has "Is a directory"
}

test_text_file_is_status_126() {
	needs_kvm_and_guest
	echo hello >text
	mayfly 126 call text add 1 2
	err_has "text is no ELF file"
}

test_empty_file_is_status_126() {
	needs_kvm_and_guest
	: >empty
	mayfly 126 call empty add 1 2
}

test_ordinary_program_is_status_126() {
	needs_kvm_and_guest
	mayfly 126 call "$MAYFLY" add 1 2
}

test_truncated_guest_is_status_126() {
	needs_kvm_and_guest
	head -c 1000 "$GUEST" >part
	mayfly 126 call part add 1 2
}

test_fifo_is_refused_at_once() {
	needs_kvm_and_guest
	mkfifo fifo
	mayfly 126 call fifo add 1 2
	err_has "fifo: not a file"
}

test_too_little_memory_is_a_failure_of_the_caller() {
	needs_kvm_and_guest
	mayfly 125 call --memory 64K "$GUEST" add 1 2
	err_has "mayfly: "
}

# --- Limits ---------------------------------------------------------------------------------------

test_timeout_is_status_124() {
	needs_kvm_and_guest
	mayfly 124 call --timeout 2s "$GUEST" forever
	err_has "time limit"
	err_has "in forever+0x"
	[ ! -s out ] || fail "something was printed"
}

test_cpu_time_limit_is_status_124() {
	needs_kvm_and_guest
	mayfly 124 call --cpu-time 50ms "$GUEST" forever
	err_has "CPU time limit"
}

test_call_area_grows_with_the_arguments() {
	needs_kvm_and_guest
	head -c 3000000 /dev/zero >large
	result length @large 3000000
}

test_call_area_that_was_given_is_kept_to() {
	needs_kvm_and_guest
	head -c 100000 /dev/zero >large
	mayfly 125 call --call-area 64K "$GUEST" length @large
	err_has "need 100064 bytes of call area, but there are 65536"
	mayfly 0 call --call-area 128K "$GUEST" length @large
	out_is 100000
}

test_larger_stack_lets_recursion_go_deeper() {
	needs_kvm_and_guest
	mayfly 139 call --stack 64K "$GUEST" recurse 2000
	mayfly 0 call --stack 1M "$GUEST" recurse 2000
}

# --- Repetition and state -------------------------------------------------------------------------

test_repeat_prints_the_last_result_and_the_times() {
	needs_kvm_and_guest
	mayfly 0 call --repeat 50 "$GUEST" count
	out_is 50
	err_has "mayfly: 50 calls, in us: min *, p50 *, p90 *, p99 *, p99.9 *, max *"
	[ "$(wc -l <err)" -eq 1 ] || fail "more than one line of times"
}

test_fresh_calls_see_nothing_of_each_other() {
	needs_kvm_and_guest
	mayfly 0 call --fresh --repeat 50 "$GUEST" count
	out_is 1
	err_has "50 restores and calls, in us:"
}

test_failure_among_repeated_calls_says_which() {
	needs_kvm_and_guest
	mayfly 136 call --repeat 3 "$GUEST" divide 1 0
	err_has "mayfly: call 1 of 3 failed"
}

test_snapshot_keeps_the_state() {
	needs_kvm_and_guest
	mayfly 0 call --repeat 3 --snapshot-out saved "$GUEST" count
	out_is 3
	mayfly 0 call saved count
	out_is 4
	mayfly 0 call saved count
	out_is 4
}

test_snapshot_is_not_saved_after_a_fault() {
	needs_kvm_and_guest
	mayfly 136 call --snapshot-out saved "$GUEST" divide 1 0
	[ ! -e saved ] || fail "there is a file"
}

test_snapshot_that_cannot_be_written_is_a_failure() {
	needs_kvm_and_guest
	mayfly 125 call --snapshot-out no/such/directory "$GUEST" count
	out_is 1
	err_has "mayfly: no snapshot was saved: "
}

test_snapshot_has_its_sizes_fixed() {
	needs_kvm_and_guest
	mayfly 0 call --snapshot-out saved "$GUEST" count
	mayfly 125 call --memory 32M saved count
	err_has "fixed in a snapshot"
	head -c 100000 /dev/zero >large
	mayfly 125 call saved length @large
	err_has "save the snapshot anew with a larger --call-area"
}

test_damaged_snapshot_is_status_126() {
	needs_kvm_and_guest
	mayfly 0 call --snapshot-out saved "$GUEST" count
	head -c 5000 saved >part
	mayfly 126 call part count
	err_has "part is no ELF file and no whole snapshot"
}

test_stats_count_calls_and_restores() {
	needs_kvm_and_guest
	mayfly 0 call --stats --fresh --repeat 7 "$GUEST" count
	err_has "7 calls, 0 calls of host functions, 7 restores"
}

# --- Printing -------------------------------------------------------------------------------------

test_printing_is_denied_by_default() {
	needs_kvm_and_guest
	result say hello -1
}

test_printing_goes_to_stderr() {
	needs_kvm_and_guest
	mayfly 0 call --print "$GUEST" say hello
	out_is 6
	[ "$(cat err)" = hello ] || fail "standard error is not what was printed"
}

test_printing_goes_to_stdout_if_told_so() {
	needs_kvm_and_guest
	mayfly 0 call --print=stdout "$GUEST" say hello
	out_is "$(printf 'hello\n6')"
	err_is_empty
}

test_text_is_left_alone_where_no_terminal_is() {
	needs_kvm_and_guest
	mayfly 0 call "$GUEST" escapes
	printf 'a\033[31mb\177c\n' >expected
	cmp -s out expected || fail "the bytes differ"
}

test_missing_host_function_is_the_guests_to_deal_with() {
	needs_kvm_and_guest
	mayfly 0 call "$GUEST" missing_host
	out_has host_word
}

# --- Dying ----------------------------------------------------------------------------------------

test_null_pointer_is_sigsegv() {
	needs_kvm_and_guest
	mayfly 139 call "$GUEST" wild_write 0
	err_has "exception    14 #PF page fault, error code 0x6: write to a page that is not there"
	err_has "address      0x0"
	err_has "in wild_write+0x"
	[ ! -s out ] || fail "something was printed"
}

test_wild_pointer_is_sigsegv_with_the_address() {
	needs_kvm_and_guest
	mayfly 139 call "$GUEST" wild_write 0x123456789000
	err_has "address      0x123456789000"
}

test_stack_overflow_is_sigsegv_with_a_hint() {
	needs_kvm_and_guest
	mayfly 139 call "$GUEST" recurse 1000000
	err_has "stack overflow"
	err_has "--stack SIZE"
}

test_division_by_zero_is_sigfpe() {
	needs_kvm_and_guest
	mayfly 136 call "$GUEST" divide 1 0
	err_has "#DE divide error"
	err_has "in divide+0x"
}

test_undefined_instruction_is_sigill() {
	needs_kvm_and_guest
	mayfly 132 call "$GUEST" undefined
	err_has "#UD invalid opcode"
}

test_breakpoint_is_sigtrap() {
	needs_kvm_and_guest
	mayfly 133 call "$GUEST" breakpoint
}

test_privileged_instruction_is_sigsegv() {
	needs_kvm_and_guest
	mayfly 139 call "$GUEST" privileged
	err_has "#GP general protection"
}

test_system_call_is_sigsys() {
	needs_kvm_and_guest
	mayfly 159 call "$GUEST" linux_exit
}

test_abort_is_sigabrt_with_code_and_message() {
	needs_kvm_and_guest
	mayfly 134 call "$GUEST" give_up -7 'out of cheese'
	err_has "out of cheese"
	err_has "code         -7"
}

test_message_of_an_abort_cannot_command_a_terminal() {
	needs_kvm_and_guest
	mayfly 134 call "$GUEST" give_up 1 "$(printf 'a\033[2Jb')"
	! grep -q "$(printf '\033')" err || fail "an escape got through"
}

test_core_is_written_after_a_fault() {
	needs_kvm_and_guest
	mayfly 136 call --core core "$GUEST" divide 1 0
	err_has "core         core; open it with: gdb $GUEST core"
	[ "$(head -c 4 core | tail -c 3)" = ELF ] || fail "no ELF file"
}

test_core_is_not_written_after_success() {
	needs_kvm_and_guest
	mayfly 0 call --core core "$GUEST" add 1 2
	[ ! -e core ] || fail "there is a file"
}

test_core_that_cannot_be_written_does_not_change_the_status() {
	needs_kvm_and_guest
	mayfly 136 call --core no/such/directory "$GUEST" divide 1 0
	err_has "no core file was written"
}

test_time_stamp_counter_can_be_allowed() {
	needs_kvm_and_guest
	mayfly 0 call --tsc "$GUEST" read_tsc
	out_is 1
}

test_closed_streams_are_errors_and_nothing_else_is_written_to() {
	needs_kvm_and_guest
	"$MAYFLY" call "$GUEST" add 40 2 2>err <&- >&-
	[ $? -eq 125 ] || fail "the status is not 125"
	[ "$(cat err)" = "mayfly: cannot write to standard output: Bad file descriptor" ] ||
		fail "it is not said, or twice"
}

test_full_disk_is_said_once() {
	needs_kvm_and_guest
	[ -c /dev/full ] || skip "no /dev/full"
	"$MAYFLY" call "$GUEST" add 40 2 2>err >/dev/full
	[ $? -eq 125 ] || fail "the status is not 125"
	[ "$(cat err)" = "mayfly: cannot write to standard output: No space left on device" ] ||
		fail "it is not said, or twice"
}

run_tests
