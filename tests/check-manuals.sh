#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-manuals.sh
# Every page of man/ formats without a warning.
set -eu
cd "$(dirname "$0")/.."
status=0
found=
for page in man/*.[1-9]; do
	[ -e "$page" ] || continue
	found=1
	warnings=$(groff -ww -man -mdoc -Tutf8 -z "$page" 2>&1)
	[ -z "$warnings" ] || { echo "$warnings"; status=1; }
done
[ -n "$found" ] || { echo "man/ has no pages"; exit 1; }
exit "$status"
