# SPDX-License-Identifier: Apache-2.0
# Traps, set -e, return and exit statuses.
trap 'echo on exit' EXIT
trap 'echo hangup' HUP
kill -HUP $$
f() { return 3; }
f || echo "f gave $?"
if ! f; then echo "not f"; fi
for i in 1 2 3; do
	for j in 1 2 3; do
		[ $j -eq 2 ] && continue 2
		[ $i -eq 3 ] && break 2
		echo "$i $j"
	done
done
set -e
f || true
echo "still here"
alias_result=$((2 > 1 ? 10 : 20))
echo $alias_result
getopts ab: option -a && echo "option $option"
g() { exit 7; }
g
echo never
