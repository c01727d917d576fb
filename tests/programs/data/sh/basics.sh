# SPDX-License-Identifier: Apache-2.0
# Arithmetic, functions, parameters, strings: nothing here needs another process.
set -u
fib() {
	if [ "$1" -lt 2 ]; then
		fib_result=$1
		return
	fi
	a=0 b=1 i=1
	while [ "$i" -lt "$1" ]; do
		c=$((a + b)) a=$b b=$c i=$((i + 1))
	done
	fib_result=$b
}
for n in 1 2 10 20 80; do
	fib $n
	echo "fib $n $fib_result"
done
echo "$# arguments, first $1, second $2, all: $*"
shift
echo "after shift: $1; ${3-unset}; ${2:?}; ${#1}"
path=/usr/lib/x86_64-linux-gnu/libc.so.6
echo "${path##*/} ${path%/*} ${path#/usr} ${path%%.*}"
printf '%05d|%-6s|%6.2f|%x|%c\n' 42 ab 3.14159 255 z
x=5
echo $((x << 3 | 1)) $((x > 3 && x < 9)) $((-7 / 2)) $((-7 % 3)) $((0x1f + 010))
case $path in
*.so) echo shared ;;
*.so.[0-9]) echo versioned ;;
esac
i=0
until [ $i -ge 3 ]; do
	i=$((i + 1))
	[ $i -eq 2 ] && continue
	echo "loop $i"
done
eval "name_$i=value"
eval "echo \$name_$i"
set -- one two three
for word; do echo "word $word"; done
IFS=:
set -- $PATH
echo "$# directories in PATH, first $1"
