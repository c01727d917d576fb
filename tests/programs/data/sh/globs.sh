# SPDX-License-Identifier: Apache-2.0
# File tests and pathname expansion.
echo *.c */*.c [!a]*.c nothing*
for f in a.c b.c d l gone; do
	[ -e $f ] && echo "$f exists"
	[ -f $f ] && echo "$f is a file"
	[ -d $f ] && echo "$f is a directory"
	[ -L $f ] && echo "$f is a link"
	[ -s $f ] && echo "$f is not empty"
	[ -r $f ] && echo "$f is readable"
done
[ a.c -ef l ] && echo "the same file"
[ -t 0 ] || echo "no terminal"
[ -c /dev/null ] && echo "null is a device"
