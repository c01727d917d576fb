#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel in machines, all that linux.sh and linux-io.sh leave out: for the lab. Speaks TAP.
# shellcheck disable=SC2034 # boot.sh reads what is set here
. "$(dirname "$0")/boot.sh"

test_reboot_ends_the_machine() {
	boot 0 reboot
}

test_poweroff_ends_the_machine() {
	boot 0 poweroff --acpi on
}

test_panic_ends_the_machine() {
	boot 0 panic
	out_has 'Kernel panic'
}

# memory SIZE LEAST MOST: what the guest has, in KiB.
memory() {
	boot 0 memory --memory "$1"
	kib=$(value MEMORY out)
	if [ "$kib" -lt "$2" ] || [ "$kib" -gt "$3" ]; then
		fail "$kib KiB of $1"
	fi
}

# 80 MiB is the least that this kernel comes up with: it takes 47 for itself, and 64 let it run
# out of memory before any init.
test_memory_is_as_much_as_was_given() {
	memory 80M 32768 81920
	memory 128M 65536 131072
	memory 4G 3900000 4194304
}

test_two_cpus_are_two() {
	boot 0 cpus --cpus 2
	out_has 'CPUS 2'
}

test_random_numbers_differ() {
	boot 0 random --rng
	out_has 'SOURCE virtio_rng'
	grep -A1 SOURCE out | tail -n 1 >first
	boot 0 random --rng
	grep -A1 SOURCE out | tail -n 1 >second
	! cmp -s first second || fail "twice the same random numbers"
}

test_clock_is_the_hosts() {
	before=$(date -u +%s)
	boot 0 clock
	after=$(date -u +%s)
	within "$(value CLOCK out)" "$before" "$after" ||
		fail "the guest's clock says $(value CLOCK out), ours $before to $after"
}

test_snapshot_disk_forgets() {
	make_disk disk
	before=$(cksum <disk)
	boot 0 root --disk disk,snapshot
	out_has 'ROOT boot 1'
	boot 0 root --disk disk,snapshot
	out_has 'ROOT boot 1'
	[ "$before" = "$(cksum <disk)" ] || fail "the file has changed"
}

test_what_was_flushed_survives_a_kill() {
	needs debugfs
	make_disk disk
	start /dev/null writes --disk disk
	wait_for 'FLUSHED 8'
	kill -9 $pid
	ends 137
	# The journal is replayed, as a boot would.
	e2fsck -p -f disk >fsck 2>&1
	[ $? -le 1 ] || fail "$(cat fsck)"
	check_disk disk
	mkdir got
	debugfs -R "rdump / got" disk 2>/dev/null
	last=$(value FLUSHED out)
	for i in $(seq 0 "$last"); do
		[ "$(cat "got/n.$i")" = "$i" ] || lost="${lost-} $i"
	done
	[ -z "${lost-}" ] || fail "flushed, and lost:$lost"
}

test_virtio_console_has_ports() {
	start /dev/null ports --port data=socket
	wait_for 'PORT data'
	"$BOOT/ports" talk socket question >answer || fail "no answer"
	ends 0
	out_has 'READ question'
	[ "$(cat answer)" = 'answer to question' ] || fail "it answered: $(cat answer)"
}

test_twenty_clones_differ_and_know_the_time() {
	take_snapshot
	sleep 2
	clones_are_right 20
}

test_clones_run_side_by_side() {
	take_snapshot
	for i in 1 2 3 4; do
		(clone $i) &
	done
	wait
	clones_differ 4
}

run_tests
