#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel in machines, its network, its console and its snapshots: for the lab. Speaks TAP.
# shellcheck disable=SC2034 # boot.sh reads what is set here
. "$(dirname "$0")/boot.sh"

test_net_reaches_out_and_in() {
	[ -x "$(dirname "$MAYFLY")/mayfly-slirp" ] || skip "no mayfly-slirp: built without libslirp"
	mkdir www
	echo "served by the host" >www/index.html
	httpd -f -p 127.0.0.1:8077 -h "$PWD/www" &
	web=$!
	mkfifo in
	exec 9<>in
	EXTRA=server=10.0.2.2:8077
	start in net --net user,host,publish=127.0.0.1:8078:80
	wait_for SERVING
	wget -q -O page http://127.0.0.1:8078/ || fail "no page from the guest"
	echo >&9
	ends 0
	out_has 'served by the host'
	grep -q 'served by the guest' page || fail "another page: $(cat page)"
}

test_virtio_console_is_a_terminal() {
	printf 'typed text\n' >in
	QUIET="quiet panic=-1 mitigations=off cryptomgr.notests"
	start in console --console virtio
	ends 0
	out_has 'READ typed text'
}

test_clones_differ_and_know_the_time() {
	take_snapshot
	sleep 2
	clones_are_right 3
}

run_tests
