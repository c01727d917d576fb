#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel in machines: for the lab, where ring 0 runs on the CPU. Speaks TAP.
. "$(dirname "$0")/boot.sh"

# within SECONDS FROM TO: give or take two, since clocks of CMOS have no fractions.
within() {
	[ "$1" -ge $(($2 - 2)) ] && [ "$1" -le $(($3 + 2)) ]
}

test_init_is_reached_and_its_status_is_ours() {
	EXTRA=status=0 boot 0 hello
	out_has INIT-REACHED
	EXTRA=status=7 boot 7 hello
}

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

test_memory_is_as_much_as_was_given() {
	boot 0 memory --memory 128M
	small=$(sed -n 's/.*MEMORY \([0-9]*\).*/\1/p' out)
	if [ "$small" -lt 50000 ] || [ "$small" -gt 131072 ]; then
		fail "$small KiB of 128 MiB"
	fi
	boot 0 memory --memory 4G
	large=$(sed -n 's/.*MEMORY \([0-9]*\).*/\1/p' out)
	if [ "$large" -lt 3900000 ] || [ "$large" -gt 4194304 ]; then
		fail "$large KiB of 4 GiB"
	fi
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
	clock=$(sed -n 's/.*CLOCK \([0-9]*\).*/\1/p' out)
	within "$clock" "$before" "$after" ||
		fail "the guest's clock says $clock, ours $before to $after"
}

# make_disk FILE: an ext4 file system with a root directory.
make_disk() {
	needs mke2fs
	needs e2fsck
	mkdir -p root/bin root/sbin root/proc root/dev root/tmp
	cp "$BOOT/busybox" root/bin/busybox
	cp "$BOOT/ports" root/bin/ports
	cp "$(dirname "$0")/root-init" root/sbin/init 2>/dev/null || cp "$BOOT/root-init" root/sbin/init
	chmod 755 root/sbin/init
	mke2fs -q -t ext4 -d root "$1" 48M || fail "mke2fs failed"
	rm -rf root
}

test_root_on_a_disk_keeps_what_is_written() {
	make_disk disk
	boot 0 root --disk disk
	out_has 'ROOT boot 1'
	e2fsck -fn disk >fsck 2>&1 || fail "$(cat fsck)"
	boot 0 root --disk disk
	out_has 'ROOT boot 2'
	e2fsck -fn disk >fsck 2>&1 || fail "$(cat fsck)"
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
	make_disk disk
	needs_kvm
	"$MAYFLY" boot --timeout 120s --initrd "$BOOT/initramfs" --disk disk \
		--cmdline "$QUIET test=writes" "$BOOT/vmlinuz" >out 2>err </dev/null &
	pid=$!
	for _ in $(seq 600); do
		grep -q 'FLUSHED 8' out && break
		sleep 0.1
	done
	kill -9 $pid
	wait $pid
	last=$(sed -n 's/.*FLUSHED \([0-9]*\).*/\1/p' out | tail -n 1)
	[ -n "$last" ] || fail "nothing was flushed"
	# The journal is replayed, as a boot would.
	e2fsck -p -f disk >fsck 2>&1
	[ $? -le 1 ] || fail "$(cat fsck)"
	e2fsck -fn disk >fsck 2>&1 || fail "$(cat fsck)"
	mkdir mnt
	mount -o loop,ro disk mnt 2>/dev/null || skip "no loop devices to look inside"
	for i in $(seq 0 "$last"); do
		[ "$(cat "mnt/n.$i")" = "$i" ] || lost="${lost-} $i"
	done
	umount mnt
	[ -z "${lost-}" ] || fail "flushed, and lost:$lost"
}

test_net_reaches_out_and_in() {
	needs_kvm
	[ -x "$(dirname "$MAYFLY")/mayfly-slirp" ] || skip "no mayfly-slirp: built without libslirp"
	mkdir -p www
	echo "served by the host" >www/index.html
	httpd -p 127.0.0.1:8077 -h "$PWD/www" || skip "no httpd"
	mkfifo in
	exec 9<>in
	"$MAYFLY" boot --timeout 120s --initrd "$BOOT/initramfs" \
		--net user,host,publish=127.0.0.1:8078:80 \
		--cmdline "$QUIET test=net server=10.0.2.2:8077" \
		"$BOOT/vmlinuz" >out 2>err <in &
	pid=$!
	for _ in $(seq 600); do
		grep -q SERVING out && break
		kill -0 $pid 2>/dev/null || fail "it ended early"
		sleep 0.1
	done
	wget -q -O page http://127.0.0.1:8078/ || fail "no page from the guest"
	echo >&9
	wait $pid
	status=$?
	[ $status -eq 0 ] || fail "exit status $status"
	out_has 'served by the host'
	grep -q 'served by the guest' page || fail "another page: $(cat page)"
}

test_virtio_console_is_a_terminal() {
	needs_kvm
	printf 'typed text\n' >in
	"$MAYFLY" boot --timeout 120s --initrd "$BOOT/initramfs" --console virtio \
		--cmdline "quiet panic=-1 test=console" "$BOOT/vmlinuz" >out 2>err <in
	status=$?
	[ $status -eq 0 ] || fail "exit status $status"
	out_has 'READ typed text'
}

# clone NUMBER: goes on from the snapshot; its lines in clone.NUMBER.
clone() {
	"$MAYFLY" boot --timeout 120s --from snap >"clone.$1" 2>"clone.$1.err" </dev/null ||
		fail "clone $1: exit status $?: $(cat "clone.$1.err")"
}

test_clones_differ_and_know_the_time() {
	needs_kvm
	"$MAYFLY" snapshot -o snap --when console:SNAPSHOT-HERE --rng \
		--initrd "$BOOT/initramfs" --cmdline "$QUIET test=snapshot" \
		"$BOOT/vmlinuz" >out 2>err </dev/null || fail "exit status $?"
	sleep 2
	for i in $(seq 20); do
		before=$(date -u +%s)
		clone "$i"
		after=$(date -u +%s)
		clock=$(sed -n 's/.*CLOCK \([0-9]*\).*/\1/p' "clone.$i")
		within "$clock" "$before" "$after" ||
			fail "clone $i: the clock says $clock, ours $before to $after"
	done
	for what in RANDOM GENERATION; do
		different=$(sed -n "s/.*$what //p" clone.? clone.?? | sort -u | wc -l)
		[ "$different" -eq 20 ] || fail "$different different values of $what in 20 clones"
	done
}

test_clones_run_side_by_side() {
	needs_kvm
	"$MAYFLY" snapshot -o snap --when console:SNAPSHOT-HERE --rng \
		--initrd "$BOOT/initramfs" --cmdline "$QUIET test=snapshot" \
		"$BOOT/vmlinuz" >out 2>err </dev/null || fail "exit status $?"
	for i in 1 2 3 4; do
		(clone $i) &
	done
	wait
	for i in 1 2 3 4; do
		grep -q RANDOM "clone.$i" || fail "clone $i: $(cat "clone.$i" "clone.$i.err")"
	done
}

run_tests
