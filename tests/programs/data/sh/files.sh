# SPDX-License-Identifier: Apache-2.0
# Redirections, read, here-documents.
n=0
while read -r number rest; do
	n=$((n + 1))
	last=$number
done <words
echo "lines $n, last $last"
echo first >out
echo second >>out
{
	echo third
	echo to standard error >&2
} >>out 2>>err
exec 3>three
echo into three >&3
exec 3>&-
read -r line <three
echo "read: $line"
cat_() { while IFS= read -r l; do echo "$l"; done; }
cat_ <<HERE
a here-document with $n lines read
HERE
cat_ <<'HERE'
a quoted one with $n
HERE
if echo x >/dev/full; then echo "full took it"; else echo "full refused"; fi 2>/dev/null
echo gone >/dev/null
set -C
echo y >out 2>/dev/null || echo "noclobber holds"
umask 027
: >private
umask
cd / && pwd
cd "$OLDPWD" && [ -s out ] && echo "back"
