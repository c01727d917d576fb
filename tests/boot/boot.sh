# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the tests that boot Debian's kernel in the lab; they source this.
#
# MAYFLY  the command; BOOT  the directory with vmlinuz and initramfs
: "${BOOT:?say where vmlinuz and initramfs are}"
. "$(dirname "$0")/../cli/tap.sh"

pid=''
web=''
QUIET="console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests"

# Asked once: it makes a VM.
"$MAYFLY" doctor >/dev/null 2>&1 || no_kvm=yes

needs_kernel() {
	[ -z "${no_kvm-}" ] || skip "no usable KVM"
	[ -f "$BOOT/vmlinuz" ] || skip "no kernel in $BOOT"
}

# linux COMMAND TEST [OPTION...]: `mayfly COMMAND`, boot or snapshot, with the kernel.
linux() {
	command=$1
	name=$2
	shift 2
	${RUN-} "$MAYFLY" "$command" --timeout 120s --initrd "$BOOT/initramfs" \
		--cmdline "$QUIET test=$name ${EXTRA-}" "$@" "$BOOT/vmlinuz"
}

# boot STATUS TEST [OPTION...]: standard output and error in the files out and err.
boot() {
	expected=$1
	shift
	needs_kernel
	linux boot "$@" >out 2>err </dev/null
	status=$?
	[ $status -eq "$expected" ] || fail "exit status $status, not $expected"
}

# start INPUT TEST [OPTION...]: the same in the background; process $pid, which ends with the test.
start() {
	needs_kernel
	input=$1
	shift
	(RUN="exec" && linux boot "$@" >out 2>err <"$input") &
	pid=$!
	trap 'kill -9 $pid $web 2>/dev/null' EXIT
}

# wait_for PATTERN: until the file out has it; fails if the machine has ended.
wait_for() {
	until grep -q "$1" out 2>/dev/null; do
		kill -0 "$pid" 2>/dev/null || fail "it ended before '$1'"
		sleep 0.1
	done
}

# ends STATUS: waits for what was started.
ends() {
	wait "$pid"
	status=$?
	[ "$status" -eq "$1" ] || fail "exit status $status, not $1"
}

# value NAME FILE: the last word after NAME in a line.
value() {
	sed -n "s/.*$1 \([0-9a-f]*\).*/\1/p" "$2" | tail -n 1
}

# within TIME FROM TO: give or take two, since clocks of CMOS have no fractions.
within() {
	[ "$1" -ge $(($2 - 2)) ] && [ "$1" -le $(($3 + 2)) ]
}

# make_disk FILE: an ext4 file system with a root directory.
make_disk() {
	needs mke2fs
	needs e2fsck
	mkdir -p root/bin root/sbin root/proc root/dev root/tmp
	cp "$BOOT/busybox" "$BOOT/ports" root/bin
	cp "$BOOT/root-init" root/sbin/init
	chmod 755 root/sbin/init
	mke2fs -q -t ext4 -d root "$1" 48M || fail "mke2fs failed"
	rm -rf root
}

check_disk() {
	e2fsck -fn "$1" >fsck 2>&1 || fail "$(cat fsck)"
}

# take_snapshot: of a guest that then tells its clock, its generation and random numbers. Without
# XSAVE: in the lab KVM does not see the guest's XCR0, and a clone's would be 1.
take_snapshot() {
	needs_kernel
	EXTRA=noxsave linux snapshot snapshot -o snap --when console:SNAPSHOT-HERE --rng \
		>out 2>err </dev/null || fail "exit status $?"
}

# clone NUMBER: goes on from the snapshot; what it says is in clone.NUMBER.
clone() {
	"$MAYFLY" boot --timeout 120s --from snap >"clone.$1" 2>"clone.$1.err" </dev/null ||
		fail "clone $1: exit status $?: $(cat "clone.$1.err")"
}

# clones_are_right COUNT: one after the other.
clones_are_right() {
	for i in $(seq "$1"); do
		before=$(date -u +%s)
		clone "$i"
		after=$(date -u +%s)
		within "$(value CLOCK "clone.$i")" "$before" "$after" ||
			fail "clone $i: the clock says $(value CLOCK "clone.$i"), ours $before to $after"
	done
	clones_differ "$1"
}

clones_differ() {
	for what in RANDOM GENERATION; do
		different=$(for i in $(seq "$1"); do value $what "clone.$i"; done | grep . | sort -u | wc -l)
		[ "$different" -eq "$1" ] || fail "$different different values of $what in $1 clones"
	done
}
