#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-scripts.sh
# Every shell script, found by its first line, through shellcheck.
set -eu
cd "$(dirname "$0")/.."

# Left out:
# SC1091  sourced files are checked by themselves
# SC2154  variables of sourced files look unassigned
# SC2187  busybox has an ash; checking it as dash is what we want
# SC2238  a file may be called cut
# SC2317  functions that only a trap or another function's name reaches look unreachable to it
# SC3045  not POSIX, but dash and busybox have ulimit -n and -H
grep -rlIE '^#! ?/[a-z/]*(bin/(env )?)?(ba|da|busybox )?sh\b|^#!/lab/busybox sh' \
	.ci tests tools examples bench cli slirp unpack guest fuzz | sort |
	xargs shellcheck --severity=warning --exclude=SC1091,SC2154,SC2187,SC2238,SC2317,SC3045
