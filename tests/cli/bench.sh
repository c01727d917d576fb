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

run_tests
