#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel with several CPUs, for the lab with --parallel: without, its emulated SVM takes
# interrupts where they are off, and a guest's second CPU waits for itself. Speaks TAP.
. "$(dirname "$0")/boot.sh"

test_two_cpus_are_two() {
	boot 0 cpus --cpus 2
	out_has 'CPUS 2'
}

run_tests
