#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Tests of the command that need more than a shell and KVM: bash, python3, util-linux, the sources.
. "$(dirname "$0")/tap.sh"

# Where the device is hidden: in a mount namespace with an empty /dev.
needs_a_hidden_device() {
	[ "$(id -u)" -eq 0 ] || skip "only root hides a device"
	needs unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
}

test_completion_offers_the_functions_of_a_guest() {
	needs_kvm_and_guest
	needs bash
	"$MAYFLY" --completion bash >completion
	# shellcheck disable=SC2016
	bash -c '. ./completion; COMP_WORDS=("$@"); COMP_CWORD=3; _mayfly
		printf "%s\n" "${COMPREPLY[@]}"' bash "$MAYFLY" call "$GUEST" echo_i >out 2>err
	out_is "$(printf 'echo_i32\necho_i64')"
}

test_text_cannot_command_a_terminal() {
	needs_kvm_and_guest
	needs python3
	# A terminal of our own, as script(1) makes one.
	# shellcheck disable=SC2016
	python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))' \
		"$MAYFLY" call --print=stdout "$GUEST" escapes >out 2>err </dev/null
	out_has 'a\\x1b\[31mb\\x7fc'
	! grep -q "$(printf '\033')" out || fail "an escape got through"
}

test_missing_hypervisor_is_status_125_and_names_doctor() {
	needs_a_hidden_device
	needs_kvm_and_guest
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none /dev && "$MAYFLY" call "$GUEST" add 1 2' >out 2>err
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	err_has "mayfly: /dev/kvm is missing"
	err_has "'mayfly doctor' looks for the cause"
}

test_rows_have_rising_percentiles_and_samples() {
	needs python3
	figures
	python3 -c '
import json
for row in json.load(open("out"))["rows"]:
    assert 0 < row["min_us"] <= row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["max_us"], row
    assert row["samples"] >= 10, row
' 2>err || fail "not as it should be"
}

test_ratios_are_those_of_the_medians() {
	needs python3
	figures
	python3 -c '
import json
rows = {row["name"]: row for row in json.load(open("out"))["rows"]}
compared = 0
for row in rows.values():
    for limit in [row] * ("floor" in row) + row.get("also", []):
        floor = sum(rows[name]["p50_us"] for name in limit["floor"].split("+"))
        assert abs(limit["ratio"] - row["p50_us"] / floor) < 0.001 * limit["ratio"], row
        if "target" in limit:
            assert limit["reached"] == (limit["ratio"] <= limit["target"]), row
            compared += 1
assert compared == 8, compared
' 2>err || fail "not as it should be"
}

test_manual_page_explains_each_row() {
	[ -d "$SOURCES/man" ] || skip "no sources"
	figures
	for row in $(sed -n 's/.*"name": "\(.*\)".*/\1/p' out); do
		grep -q "^\.It $row\$\|^\.It .*\b$row\b" "$SOURCES/man/mayfly-bench.1" ||
			fail "mayfly-bench.1 lacks $row"
	done
}

test_processes_are_measured_without_a_hypervisor() {
	needs_a_hidden_device
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none /dev &&
		"$MAYFLY" bench --quick --rows process_fork,process_spawn_static' >out 2>err ||
		fail "exit status $?"
	grep -q '^process_fork ' out || fail "no row"
	grep -q '^process_spawn_static ' out || fail "no row"
}

test_without_a_hypervisor_other_rows_are_refused() {
	needs_a_hidden_device
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none /dev && "$MAYFLY" bench --quick' >out 2>err
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	err_has "mayfly: /dev/kvm is missing"
}

test_scale_without_descriptors_says_what_to_raise() {
	needs_kvm
	[ "$(id -u)" -ne 0 ] || needs setpriv
	# shellcheck disable=SC3045
	ulimit -n 100 || skip "ulimit -n cannot be set"
	if [ "$(id -u)" -eq 0 ]; then
		# The capability that would lift the hard limit.
		setpriv --bounding-set -sys_resource --inh-caps -sys_resource \
			"$MAYFLY" bench --scale --quick >out 2>err
	else
		"$MAYFLY" bench --scale --quick >out 2>err
	fi
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	err_has "100 sandboxes need 264 file descriptors, but the hard limit is 100"
}

run_tests
