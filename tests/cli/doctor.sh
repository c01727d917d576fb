#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What doctor makes of hosts, most of them made up below a directory. Needs no KVM.
. "$(dirname "$0")/tap.sh"

# put PATH TEXT: a file of the made-up host.
put() {
	mkdir -p "host/$(dirname "$1")"
	printf '%s\n' "$2" >"host/$1"
}

# A host on which all is well; tests spoil one thing each.
host() {
	put dev/kvm ''
	chmod 666 host/dev/kvm
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu vmx sse2\n')"
	put proc/sys/kernel/osrelease 6.12.1
	put proc/sys/vm/max_map_count 65530
	put proc/sys/vm/overcommit_memory 0
	put proc/swaps 'Filename Type Size Used Priority'
	put proc/self/cgroup 0::/
	put proc/self/mountinfo \
		'31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,favordynmods'
	put sys/module/kvm/parameters/nx_huge_pages never
	put sys/module/kvm_intel/parameters/ept Y
	put sys/devices/system/cpu/vulnerabilities/itlb_multihit 'Not affected'
	put sys/devices/system/cpu/vulnerabilities/l1tf 'Not affected'
	put sys/devices/system/cpu/cpu0/cpufreq/scaling_governor performance
	put sys/devices/system/clocksource/clocksource0/current_clocksource tsc
}

# examine STATUS: runs doctor on it, with enough file descriptors.
examine() {
	# shellcheck disable=SC3045
	ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -Hn)"
	mayfly "$1" doctor --sysroot host
}

# One finding, its lines joined.
finding() {
	awk -v level="$1" -v name="$2" '
		/^[a-z]/ { on = $1 == level && $2 == name }
		on { gsub(/^ +/, ""); printf "%s ", $0 }' out >found
	[ -s found ] || fail "no $1 about $2"
}

found_has() {
	# shellcheck disable=SC2254
	case $(cat found) in *$1*) ;; *) fail "the finding lacks: $1" ;; esac
}

test_host_in_order_has_neither_problems_nor_notes() {
	host
	examine 0
	! grep -E '^(problem|note) ' out || fail "there are findings"
	grep -qx '0 problems, 0 notes' out || fail "no summary"
}

test_kernel_that_lacks_what_programs_need_is_a_problem() {
	host
	put proc/sys/kernel/osrelease 5.10.0
	examine 1
	finding problem programs
	found_has futex_waitv
	found_has 'Linux 5.16 or newer'
	! grep -q openat2 found || fail "Linux 5.10 has openat2"
	put proc/sys/kernel/osrelease 5.4.0
	examine 1
	finding problem programs
	found_has openat2
}

test_kernel_that_has_what_programs_need_is_ok() {
	host
	put proc/sys/kernel/osrelease 5.16.0
	examine 0
	finding ok programs
	found_has futex_waitv
}

test_missing_device_on_a_cpu_with_vmx_names_the_module() {
	host
	rm -r host/dev/kvm host/sys/module
	examine 1
	finding problem /dev/kvm
	found_has 'modprobe kvm_intel'
}

test_missing_device_on_a_cpu_with_svm_names_the_module() {
	host
	rm -r host/dev/kvm host/sys/module
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu svm sse2\n')"
	examine 1
	finding problem /dev/kvm
	found_has 'modprobe kvm_amd'
}

test_missing_device_with_the_module_loaded_means_a_container() {
	host
	rm host/dev/kvm
	examine 1
	finding problem /dev/kvm
	found_has '--device /dev/kvm'
}

test_missing_device_in_a_virtual_machine_means_nesting_is_off() {
	host
	rm -r host/dev/kvm host/sys/module
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu hypervisor sse2\n')"
	examine 1
	finding problem /dev/kvm
	found_has 'nested virtualisation'
}

test_missing_device_on_a_cpu_without_either_means_firmware() {
	host
	rm -r host/dev/kvm host/sys/module
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu svmx vmxx sse2\n')"
	examine 1
	finding problem /dev/kvm
	found_has firmware
}

# As a user whom permissions bind.
examine_as_nobody() {
	# shellcheck disable=SC3045
	ulimit -n 8192 2>/dev/null
	if [ "$(id -u)" -eq 0 ]; then
		needs setpriv
		setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null ||
			skip "setpriv cannot become another user"
		chmod 755 . .. host host/dev
		setpriv --reuid 65534 --regid 65534 --clear-groups \
			"$MAYFLY" doctor --sysroot "$PWD/host" >out 2>err
	else
		"$MAYFLY" doctor --sysroot host >out 2>err
	fi
	status=$?
	[ $status -ne 126 ] || skip "another user cannot execute $MAYFLY"
	[ $status -eq 1 ] || fail "exit status $status"
}

test_device_of_a_group_names_group_and_command() {
	host
	[ "$(id -u)" -eq 0 ] || skip "only root gives files away"
	group=$(awk -F: '$3 > 0 && $3 < 60000 { print $1; exit }' /etc/group 2>/dev/null)
	[ "$group" ] || skip "no group in /etc/group"
	chgrp "$group" host/dev/kvm
	chmod 660 host/dev/kvm
	examine_as_nobody
	finding problem /dev/kvm
	found_has "sudo usermod -aG $group "
}

test_device_for_its_owner_only_advises_a_group() {
	host
	chmod 600 host/dev/kvm
	[ "$(id -u)" -eq 0 ] || chmod 000 host/dev/kvm
	examine_as_nobody
	finding problem /dev/kvm
	found_has 'sudo chgrp kvm /dev/kvm'
	found_has 'udev'
}

test_kinds_of_kvm_are_told_apart() {
	for kind in kvm_intel=VMX kvm_amd=SVM kvm_pvm=PVM; do
		rm -rf host
		host
		mv host/sys/module/kvm_intel "host/sys/module/moved"
		mv host/sys/module/moved "host/sys/module/${kind%=*}"
		examine 0
		finding ok hypervisor
		found_has "${kind#*=}"
	done
}

test_kvm_inside_a_virtual_machine_is_noted() {
	host
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu vmx hypervisor\n')"
	examine 0
	finding note nested
}

test_pvm_inside_a_virtual_machine_is_not_nested() {
	host
	rm -r host/sys/module/kvm_intel
	put sys/module/kvm_pvm/parameters/x y
	put proc/cpuinfo "$(printf 'processor\t: 0\nflags\t\t: fpu hypervisor\n')"
	examine 0
	out_lacks nested
}

test_shadow_paging_is_noted() {
	host
	put sys/module/kvm_intel/parameters/ept N
	examine 0
	finding note ept
	found_has 'modprobe kvm_intel ept=1'
}

test_needless_nx_huge_pages_are_noted() {
	for value in auto Y N; do
		host
		put sys/module/kvm/parameters/nx_huge_pages $value
		examine 0
		finding note nx_huge_pages
		found_has "kvm.nx_huge_pages=$value"
		found_has 'nx_huge_pages=never'
	done
}

test_nx_huge_pages_that_the_cpu_needs_stay() {
	host
	put sys/module/kvm/parameters/nx_huge_pages Y
	put sys/devices/system/cpu/vulnerabilities/itlb_multihit 'KVM: Mitigation: Split huge pages'
	examine 0
	finding ok nx_huge_pages
	out_lacks 'echo never'
}

test_nx_huge_pages_cannot_be_never_before_linux_6_5() {
	host
	put sys/module/kvm/parameters/nx_huge_pages N
	put proc/sys/kernel/osrelease 6.1.0-13-amd64
	examine 0
	finding ok nx_huge_pages
}

test_cgroup2_without_favordynmods_is_noted() {
	host
	put proc/self/mountinfo \
		'31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate'
	examine 0
	finding note favordynmods
	found_has 'mount -o remount,favordynmods /sys/fs/cgroup'
}

test_governors_other_than_performance_are_noted() {
	host
	put sys/devices/system/cpu/cpu1/cpufreq/scaling_governor powersave
	examine 0
	finding note cpu_governor
	found_has powersave
	found_has performance
}

test_slow_clock_is_noted() {
	host
	put sys/devices/system/clocksource/clocksource0/current_clocksource hpet
	examine 0
	finding note clocksource
	found_has hpet
}

test_cpu_quota_is_noted() {
	host
	put proc/self/cgroup 0::/some/service
	put sys/fs/cgroup/some/service/cpu.max '50000 100000'
	examine 0
	finding note cpu_quota
	found_has '0.50 CPUs'
	found_has /sys/fs/cgroup/some/service/cpu.max
}

test_no_cpu_quota_is_silent() {
	host
	put sys/fs/cgroup/cpu.max 'max 100000'
	examine 0
	out_lacks cpu_quota
}

test_few_descriptors_are_noted() {
	host
	# shellcheck disable=SC3045
	ulimit -n 512 || skip "ulimit -n cannot be set"
	mayfly 0 doctor --sysroot host
	finding note descriptors
	found_has 'ulimit -n is 512, room for some 256 sandboxes'
}

test_few_mappings_are_noted() {
	host
	put proc/sys/vm/max_map_count 1024
	examine 0
	finding note mappings
}

test_strict_overcommit_is_noted() {
	host
	put proc/sys/vm/overcommit_memory 2
	examine 0
	finding note overcommit
}

test_swap_is_noted() {
	host
	put proc/swaps "$(printf 'Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n')"
	examine 0
	finding note swap
	found_has /dev/sda2
}

test_open_cpu_bugs_are_noted() {
	host
	put sys/devices/system/cpu/vulnerabilities/mds 'Vulnerable: no microcode'
	put proc/cmdline 'quiet mitigations=off root=/dev/sda1'
	examine 0
	finding note mitigations
	found_has mds
	found_has 'says mitigations=off.'
}

test_partly_open_cpu_bugs_are_noted() {
	host
	put sys/devices/system/cpu/vulnerabilities/mds 'Mitigation: Clear CPU buffers; SMT vulnerable'
	examine 0
	finding note mitigations
	found_has mds
}

test_an_empty_host_is_a_problem_and_no_crash() {
	mkdir host
	examine 1
	finding problem /dev/kvm
}

test_overlong_and_binary_files_do_no_harm() {
	host
	for file in proc/cpuinfo proc/swaps proc/self/mountinfo proc/self/cgroup proc/cmdline \
		proc/sys/kernel/osrelease proc/sys/vm/max_map_count \
		sys/module/kvm/parameters/nx_huge_pages \
		sys/devices/system/cpu/cpu0/cpufreq/scaling_governor \
		sys/devices/system/cpu/vulnerabilities/l1tf; do
		head -c 100000 /dev/urandom >"host/$file"
	done
	for option in "" --json; do
		"$MAYFLY" doctor --sysroot host ${option:+"$option"} >out 2>err
		status=$?
		[ $status -le 1 ] || fail "exit status $status"
		err_is_empty
	done
}

test_json_has_the_same_findings() {
	host
	put sys/devices/system/clocksource/clocksource0/current_clocksource hpet
	examine 0
	mv out text
	mayfly 0 doctor --sysroot host --json
	[ "$(grep -c '"status"' out)" -eq "$(grep -cE '^(ok|note|problem) ' text)" ] ||
		fail "the number differs"
	grep -q '"notes": 1' out || fail "not one note"
	grep -q '"problems": 0' out || fail "problems"
}

test_json_is_json() {
	needs python3
	host
	rm host/dev/kvm
	mayfly 1 doctor --sysroot host --json
	python3 -c '
import json
d = json.load(open("out"))
assert d["problems"] == 1, d
assert [c["name"] for c in d["checks"] if c["status"] == "problem"] == ["/dev/kvm"], d
assert all(set(c) == {"name", "status", "text", "advice"} for c in d["checks"]), d
' 2>err || fail "not as it should be"
}

test_this_host_is_described_by_the_library() {
	needs_kvm
	mayfly 0 doctor --json
	grep -q '"hypervisor": "\(pvm\|svm\|vmx\|kvm\)"' out || fail "no hypervisor"
	grep -q '"xcr0"' out || fail "no xcr0"
}

run_tests
