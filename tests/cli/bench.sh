#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mayfly bench: that it measures and reports, not what. Tests that make VMs need KVM.
. "$(dirname "$0")/tap.sh"

ROWS="bare_cold_start cold_start spawn spawn_pooled destroy bare_run warm_call
	call_with_host_function restore_call_0 restore_call_16 restore_call_64 restore_call_256
	restore_call_16_64m restore_call_16_1g copy_16_pages interrupt process_spawn_static
	process_spawn_true process_fork"

test_each_row_is_measured() {
	figures
	for row in $ROWS; do
		grep -q "\"name\": \"$row\"" out || fail "no row $row"
	done
}

test_the_host_is_described() {
	figures
	grep -q '"hypervisor": "\(pvm\|svm\|vmx\|kvm\)"' out || fail "no hypervisor"
}

test_selected_rows_bring_what_they_are_compared_with() {
	needs_kvm
	mayfly 0 bench --quick --rows warm_call
	grep -q '^warm_call .* x bare_run (at most 1.050: ' out || fail "no ratio"
	grep -q '^bare_run ' out || fail "no floor"
	! grep -q '^cold_start' out || fail "a row too many"
	err_is_empty
}

test_unknown_row_is_refused_with_a_suggestion() {
	mayfly 125 bench --rows warm_cal
	err_has "there is no row 'warm_cal' (did you mean 'warm_call'?)"
}

test_a_json_that_cannot_be_written_is_a_failure() {
	[ -c /dev/full ] || skip "no /dev/full"
	"$MAYFLY" bench --quick --json --rows copy_16_pages >/dev/full 2>err
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
}

test_scale_counts_memory_and_time_at_each_step() {
	needs_kvm
	mayfly 0 bench --scale --quick --json
	for field in live create_us start_us bare_cold_start_us process_bytes library_bytes; do
		[ "$(grep -c "\"$field\": [0-9]" out)" -eq 2 ] || fail "not two times $field"
	done
	grep -q '"live": 100,' out || fail "no step of 100"
}

test_boots_are_measured_by_a_kernel_that_is_built_in() {
	needs_kvm
	mayfly 0 bench --boot --quick
	for row in boot_first_instruction boot_first_byte boot_end 'boot_private_memory, KiB'; do
		grep -q "^$row  *[1-9]" out || fail "no row $row"
	done
	grep -q '^boot_first_instruction .* x bare_cold_start (at most 3.000: ' out || fail "no ratio"
	! grep -q '^boot_mayfly' out || fail "a kernel, from nowhere"
	err_is_empty
}

test_memory_is_in_kib() {
	needs_kvm
	mayfly 0 bench --boot --quick --json --rows boot_private_memory
	grep -q '"p50_kib": [1-9]' out || fail "no KiB"
	grep -q '"at_most_kib": 1536' out || fail "no aim"
	! grep -q '"p50_us"' out || fail "memory in microseconds"
}

test_boots_of_a_kernel_that_is_given_are_measured() {
	needs_kvm
	kernel=$(cd "$GUESTS" && pwd)/cli_kernel
	mayfly 0 bench --boot --quick --rows boot_guest_share --until 'ready>' "$kernel"
	grep -q '^boot_guest_share  *[1-9]' out || fail "no share of the guest's"
}

test_kernel_that_does_not_say_it_is_a_failure_with_what_it_said() {
	needs_kvm
	printf 'not a kernel' >none
	mayfly 125 bench --boot --quick --rows boot_guest_share --until 'ready>' none
	err_has "before its console showed 'ready>'; it said: mayfly: none: "
}

test_operands_and_options_of_boots_must_fit() {
	mayfly 125 bench kernel
	err_has "it takes no operands but --boot's KERNEL"
	mayfly 125 bench --boot one two
	err_has "one KERNEL at a time"
	mayfly 125 bench --boot --cmdline quiet
	err_has "--initrd, --cmdline and --until go with --boot and a KERNEL"
	mayfly 125 bench --boot kernel
	err_has "a KERNEL needs --until TEXT"
	mayfly 125 bench --boot --until 12345678901234567890123456789012345678901 kernel
	err_has "of at most 40 bytes"
	mayfly 125 bench --boot --until x /nonexistent/kernel
	err_has "cannot open /nonexistent/kernel"
	mayfly 125 bench --boot --programs
	err_has "--boot, --programs and --scale exclude each other"
}

run_tests
