#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The checks of the test kernel (tests/kernel), each in a machine of its own.
#
# KERNEL  the test kernel; GUESTS/../kernel/kernel unless it is given
: "${KERNEL=${GUESTS:+$GUESTS/../kernel/kernel}}"
[ -z "$KERNEL" ] || KERNEL=$(cd "$(dirname "$KERNEL")" && pwd)/$(basename "$KERNEL")
. "$(dirname "$0")/tap.sh"

needs_kernel() {
	needs_kvm
	[ -f "$KERNEL" ] || fail "KERNEL does not name the test kernel"
}

# The helper, and its libraries: without arguments it says so with 3.
needs_unpack() {
	"$(dirname "$MAYFLY")/mayfly-unpack" >/dev/null 2>&1
	[ $? -eq 3 ] || skip "no mayfly-unpack"
}

# boot STATUS COMMAND-LINE [OPTION...]: output in the files out and err.
boot() {
	needs_kernel
	expected=$1 line=$2
	shift 2
	"$MAYFLY" boot --quiet --timeout 120s --cmdline "$line" "$@" "$KERNEL" >out 2>err </dev/null
	status=$?
	[ "$status" -eq "$expected" ] || fail "exit status $status, not $expected: $line $*"
}

# check NAME [WORDS]: of the command line; what is left are options.
check() {
	name=$1 words=${2-}
	[ $# -lt 2 ] || shift
	shift
	boot 0 "test=$name $words" "$@"
}

# Both versions of the transport.
check_both() {
	check "$1" "version=2 ${2-}" ${3+"$3"} ${4+"$4"}
	check "$1" "version=1 ${2-}" --legacy-virtio ${3+"$3"} ${4+"$4"}
}

disk() {
	printf mayfly >disk
	truncate -s 1M disk
}

# bzimage COMMAND...: one whose payload is the test kernel, packed by a command.
bzimage() {
	"$@" <"$KERNEL" >packed || return 1
	size=$(wc -c <"$KERNEL")
	# Linux puts the size behind.
	# shellcheck disable=SC2059
	[ "$1" = gzip ] || printf "$(printf '\\%03o\\%03o\\%03o\\%03o' $((size & 255)) \
		$((size >> 8 & 255)) $((size >> 16 & 255)) $((size >> 24 & 255)))" >>packed
	length=$(wc -c <packed)
	truncate -s 2560 image
	at 497 '\004'
	at 510 '\125\252'
	at 514 'HdrS'
	at 518 '\017\002'
	at 529 '\001'
	at 584 '\000\000\000\000'
	at 588 "$(printf '\\%03o\\%03o\\%03o\\%03o' $((length & 255)) $((length >> 8 & 255)) \
		$((length >> 16 & 255)) $((length >> 24 & 255)))"
	cat packed >>image
}

# at OFFSET BYTES: into the file image, by printf's escapes.
at() {
	# shellcheck disable=SC2059
	printf "$2" | dd of=image bs=1 seek="$1" conv=notrunc 2>/dev/null
}

# --- The way in ---

test_status_of_the_exit_port_is_ours() {
	boot 0 status=0
	out_has 'hello from the test kernel'
	boot 7 status=7
	boot 255 status=255
}

test_entry_is_as_pvh_says() {
	check entry
	check start
}

test_memory_map_tells_what_is_there() {
	check memory "memory=$((64 << 20))" --memory 64M
	check memory "memory=$((5 << 30))" --memory 5G
}

test_command_line_is_passed_on() {
	check cmdline 'and more' --rng
	out_has 'test=cmdline and more virtio_mmio.device=512@0xfeb00000:5
'
}

test_initrd_is_a_module() {
	needs awk
	# shellcheck disable=SC2016
	LC_ALL=C awk 'BEGIN { for (i = 0; i < 5000; i++) printf "\\%03o", i % 256 }' >escapes
	# shellcheck disable=SC2059
	printf "$(cat escapes)" >module
	check module size=5000 --initrd module
}

test_mp_table_is_right() {
	check mptable cpus=1
	check mptable cpus=7 --cpus 7
}

# --- The platform ---

test_cpuid_tells_what_kernels_need() {
	check cpuid cpus=1
	check cpuid cpus=2 --cpus 2
}

test_timers_run_as_cpuid_says() {
	check pit
	check lapic
}

test_timer_interrupts() {
	check timer
}

test_clock_is_the_hosts() {
	before=$(date -u +%s)
	check rtc
	now=$(date -u -d "$(sed -n 's/^\(20.*\)T\(.*[0-9]\).*/\1 \2/p' out)" +%s)
	after=$(date -u +%s)
	if [ "$now" -lt "$before" ] || [ "$now" -gt "$after" ]; then
		fail "it said $now between $before and $after"
	fi
}

test_keyboard_controller_answers() {
	check i8042
}

test_firmware_files_are_read() {
	printf mayfly >file
	check fwcfg '' --fw opt/test=file
}

test_addresses_of_nobody_read_as_ones() {
	check unclaimed
}

test_generation_is_new_each_time() {
	check generation
	cp out first
	check generation
	! cmp -s out first || fail "twice the same"
}

test_marks_do_no_harm() {
	check mark
}

test_second_cpu_starts() {
	check smp '' --cpus 2
}

# --- The end ---

test_each_way_to_reset_ends_the_machine() {
	for way in reset-8042 reset-cf9 reset-92 triple-fault; do
		boot 0 test=$way
		out_lacks FAIL
	done
}

test_time_limit_ends_a_kernel_that_does_not() {
	needs_kernel
	for way in hang halt; do
		mayfly 124 boot --quiet --timeout 500ms --cmdline test=$way "$KERNEL"
	done
}

# --- Devices ---

test_registers_have_their_widths() {
	disk
	check_both widths '' --rng --disk=disk
}

test_interrupts_are_levels() {
	check_both level '' --rng
}

test_random_numbers_come() {
	check_both rng '' --rng
}

test_console_takes_single_bytes_before_it_has_queues() {
	check_both emerg '' --console=virtio
	out_has emergency
}

test_console_takes_buffers() {
	check_both console '' --console=virtio
	out_has 'by the queue'
}

test_disk_keeps_what_is_written() {
	disk
	check_both blk sectors=2048 --disk=disk
	[ "$(tail -c 512 disk | od -An -tu1 -N4 | tr -s ' ')" = ' 0 7 14 21' ] ||
		fail "the last sector is not as it was written"
}

test_disk_answers_what_it_cannot_do() {
	disk
	check_both blk-errors '' --disk=disk
}

test_disk_to_be_read_only_is() {
	disk
	check_both blk-readonly '' --disk=disk,ro
	[ "$(head -c 6 disk)" = mayfly ] || fail "it was written to"
}

test_overlay_of_a_disk_has_a_limit() {
	disk
	check blk-overlay 'room=16' --disk=disk,snapshot=8K
	check blk-overlay 'room=2048' --disk=disk,snapshot
	[ "$(head -c 6 disk)" = mayfly ] || fail "it was written to"
}

test_disk_tells_its_serial_number() {
	disk
	check blk-serial '' --disk=disk,serial=number-5,ro
}

test_network_answers() {
	needs_kernel
	[ -e "$(dirname "$MAYFLY")/mayfly-slirp" ] || skip "no mayfly-slirp"
	check_both net '' --net=user
}

# --- Drivers that break the rules ---

for_hostile() {
	for way in "$@"; do
		check_both "hostile-$way" '' --rng
		disk
		check_both "hostile-$way" device=2 --disk=disk
	done
}

test_hostile_descriptors_do_no_harm() {
	for_hostile loop range head next zero order indirect
}

test_hostile_rings_do_no_harm() {
	for_hostile jump change
	check hostile-queue '' --rng
	check hostile-resize '' --rng
}

test_hostile_registers_do_no_harm() {
	for_hostile notify flood registers status reset
}

# --- Packed kernels ---

test_packed_kernels_are_unpacked_once() {
	needs_kernel
	needs_unpack
	XDG_CACHE_HOME=$PWD/cache
	export XDG_CACHE_HOME
	mkdir cache
	needs gzip
	# New is what is younger than two seconds, and a busy machine takes longer now and then.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		rm -rf cache/mayfly
		before=$(date +%s)
		bzimage gzip -9
		mayfly 5 boot --quiet --cmdline status=5 image
		took=$(($(date +%s) - before))
		[ $took -ge 2 ] || break
	done
	[ $took -ge 2 ] || [ ! -e cache/mayfly ] || fail "a file that is new was kept"
	sleep 3
	mayfly 6 boot --quiet --cmdline status=6 image
	[ "$(find cache/mayfly -name '*.kernel' -perm 600 | wc -l)" -eq 1 ] || fail "none was kept"
	MAYFLY_UNPACKED=$(find cache/mayfly -name '*.kernel')
	cmp -s "$MAYFLY_UNPACKED" "$KERNEL" || fail "it is another"
	mayfly 7 boot --quiet --cmdline status=7 image
	[ "$(find cache/mayfly -name '*.kernel' | wc -l)" -eq 1 ] || fail "it was kept twice"
}

# By a command that was killed; not what another one may be unpacking just now.
test_what_was_left_half_unpacked_is_removed() {
	needs_kernel
	needs_unpack
	needs gzip
	XDG_CACHE_HOME=$PWD/cache
	export XDG_CACHE_HOME
	mkdir -p cache/mayfly
	chmod 700 cache/mayfly
	touch -d '2 hours ago' cache/mayfly/.new.1
	touch cache/mayfly/.new.2
	bzimage gzip
	sleep 3
	mayfly 5 boot --quiet --cmdline status=5 image
	[ ! -e cache/mayfly/.new.1 ] || fail "it is still there"
	[ "$(find cache/mayfly -name '.new.*')" = cache/mayfly/.new.2 ] || fail "not that one alone"
}

# Kept, and too large for the memory: by its own name, not by that of what was unpacked.
test_messages_name_the_kernel_that_was_given() {
	needs_kernel
	needs_unpack
	needs gzip
	XDG_CACHE_HOME=$PWD/cache
	export XDG_CACHE_HOME
	mkdir cache
	bzimage gzip
	mayfly 125 boot --cmdline "$(printf 'x%.0s' $(seq 5000))" image
	err_has 'mayfly: image: the command line is too long'
	sleep 3
	for _ in 1 2; do
		mayfly 125 boot --cmdline "$(printf 'x%.0s' $(seq 5000))" image
		err_has 'mayfly: image: the command line is too long'
	done
}

test_each_method_of_packing_is_known() {
	needs_kernel
	needs_unpack
	[ ! -e /lab/busybox ] || skip "the lab has programs that unpack, but none that pack"
	for method in 'gzip -9' 'xz --check=crc32' 'lzma -9' 'zstd -19' 'lz4 -l -9'; do
		command -v "${method%% *}" >/dev/null || continue
		rm -f image
		# shellcheck disable=SC2086
		bzimage $method
		mayfly 5 boot --quiet --cmdline status=5 image
	done
}

# With something behind what is packed, as it has in a real one, where the size has to count it.
test_packed_kernel_that_is_cut_off_is_refused() {
	needs_kernel
	needs_unpack
	needs gzip
	XDG_CACHE_HOME=$PWD/cache
	export XDG_CACHE_HOME
	mkdir cache
	bzimage gzip
	size=$((($(wc -c <image) + 1023) / 512 * 512))
	truncate -s $size image
	length=$(((size - 2560) / 16))
	at 500 "$(printf '\\%03o\\%03o\\%03o\\%03o' $((length & 255)) $((length >> 8 & 255)) \
		$((length >> 16 & 255)) $((length >> 24 & 255)))"
	at 566 '\001'
	sleep 3
	mayfly 5 boot --quiet --cmdline status=5 image
	[ "$(find cache/mayfly -name '*.kernel' | wc -l)" -eq 1 ] || fail "none was kept"
	# Longer is fine: signatures.
	cp image longer
	echo signature >>longer
	mayfly 5 boot --quiet --cmdline status=5 longer
	# Where it was unpacked before, new, and where what is packed is cut off as well.
	truncate -s $((size - 1)) image
	head -c 3000 image >short
	head -c $((size - 400)) longer >cut
	for kernel in image cut short; do
		mayfly 126 boot $kernel
		err_has "mayfly: $kernel: kernel: the bzImage is cut off"
		! grep 'unpacks itself' err || fail "it does not come to that"
	done
	sleep 3
	mayfly 126 boot image
	err_has 'mayfly: image: kernel: the bzImage is cut off'
	[ "$(find cache/mayfly -name '*.kernel' | wc -l)" -eq 1 ] || fail "it was kept"
}

test_damaged_packed_kernel_says_so() {
	needs_kernel
	needs_unpack
	needs gzip
	bzimage gzip
	at 2700 '\000\000\000\000\000\000\000\000'
	mayfly 126 boot --timeout 60s image
	err_has 'unpacks itself, which is slow: what is packed in it is damaged'
}

run_tests
