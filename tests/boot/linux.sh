#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel in machines, its start and its root: for the lab, where ring 0 runs on the CPU.
# Speaks TAP.
# shellcheck disable=SC2034 # boot.sh reads what is set here
. "$(dirname "$0")/boot.sh"

test_init_is_reached_and_its_status_is_ours() {
	EXTRA=status=0 boot 0 hello
	out_has INIT-REACHED
	EXTRA=status=7 boot 7 hello
}

test_root_on_a_disk_keeps_what_is_written() {
	make_disk disk
	boot 0 root --disk disk
	out_has 'ROOT boot 1'
	check_disk disk
	boot 0 root --disk disk
	out_has 'ROOT boot 2'
	check_disk disk
}

run_tests
