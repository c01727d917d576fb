# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the tests that boot Debian's kernel in the lab; they source this.
#
# MAYFLY  the command; BOOT  the directory with vmlinuz and initramfs
: "${BOOT:?say where vmlinuz and initramfs are}"
. "$(dirname "$0")/../cli/tap.sh"

QUIET="console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests"

# boot STATUS TEST [OPTION...]: standard output and error in the files out and err.
boot() {
	expected=$1
	name=$2
	shift 2
	needs_kvm
	[ -f "$BOOT/vmlinuz" ] || skip "no kernel in $BOOT"
	"$MAYFLY" boot --timeout 120s --initrd "$BOOT/initramfs" \
		--cmdline "$QUIET test=$name ${EXTRA-}" "$@" "$BOOT/vmlinuz" >out 2>err </dev/null
	status=$?
	[ $status -eq "$expected" ] || fail "exit status $status, not $expected"
}
