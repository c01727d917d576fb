#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-install.sh BUILD_DIR
# Installs below a temporary directory as a packager does, then builds and runs, with nothing but
# what was installed: a guest by mayfly-guest.pc and by mayfly-guest.mk, a program against the shared
# library and one against the static one; and looks at the command's size. Exit status 77 if all but running them was possible.
set -eu
build=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
cd "$source"
work=$(mktemp -d)
root=$work/root

# The directory goes on being configured as it was, whatever happens here.
prefix=$(meson introspect --buildoptions "$build" | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
clean_up() {
	"$source/tools/configure" "$build" "-Dprefix=$prefix"
	rm -rf "$work"
}
trap clean_up EXIT

make --no-print-directory install BUILD="$build" DESTDIR="$root" PREFIX=/usr

installed() {
	# shellcheck disable=SC2086
	set -- "$root"/$1
	[ -s "$1" ] || { echo "$1 was not installed"; exit 1; }
}
for path in usr/bin/mayfly usr/include/mayfly.h usr/include/mayfly_guest.h \
	usr/include/mayfly_export.h usr/include/mayfly_program.h \
	'usr/lib*/*/libmayfly.so.0' 'usr/lib*/*/libmayfly.a' 'usr/lib*/*/libmayfly_guest.a' \
	'usr/lib*/*/pkgconfig/libmayfly.pc' 'usr/lib*/*/pkgconfig/mayfly-guest.pc' \
	usr/libexec/mayfly/mayfly-slirp 'usr/share/man/man1/mayfly.1*' usr/share/bash-completion/completions/mayfly \
	usr/share/mayfly/mayfly-guest.mk usr/share/doc/mayfly/examples; do
	installed "$path"
done
if grep -rlF -e "$work" -e "$build" "$root/usr/share" "$root"/usr/lib*/*/pkgconfig; then
	echo "these name directories of the build"
	exit 1
fi

pc() {
	PKG_CONFIG_PATH=$(echo "$root"/usr/lib*/*/pkgconfig) \
		pkg-config --define-variable=prefix="$root/usr" "$@"
}
libraries=$(dirname "$(echo "$root"/usr/lib*/*/libmayfly.so.0)")
warnings='-Wall -Wextra -Werror'
export LD_LIBRARY_PATH="$libraries"

cp tests/install/*.c "$work"
cd "$work"
run() {
	echo "$*"
	"$@"
}
# shellcheck disable=SC2046,SC2086
{
	run gcc $warnings $(pc --cflags mayfly-guest) -o guest guest.c $(pc --static --libs mayfly-guest)
	run gcc $warnings -o embedder embedder.c $(pc --cflags --libs libmayfly)
	run gcc $warnings $(pc --cflags libmayfly) -o embedder-static embedder.c "$libraries/libmayfly.a"
}
cat >Makefile <<EOF
MAYFLY_INCLUDEDIR := $root/usr/include
MAYFLY_LIBDIR := $libraries
include $root/usr/share/mayfly/mayfly-guest.mk

guest-%: guest.c
	\$(CC) \$(GUEST_CFLAGS) -o \$@ \$< \$(GUEST_LDFLAGS) \$(GUEST_LDLIBS)
EOF
run make guest-pie
run make guest-fixed GUEST_STATIC=-static

"$root/usr/bin/mayfly" --version
# With musl it is one small file that needs no other.
if ! readelf -l "$root/usr/bin/mayfly" | grep -q INTERP; then
	strip -o mayfly "$root/usr/bin/mayfly"
	size=$(stat -c %s mayfly)
	echo "mayfly, stripped: $size bytes"
	[ "$size" -le 1048576 ] || { echo "that is more than 1 MiB"; exit 1; }
fi
outcome=0
for program in ./embedder ./embedder-static; do
	for guest in guest guest-pie guest-fixed; do
		status=0
		run "$program" "$guest" || status=$?
		[ "$status" -eq 0 ] || [ "$status" -eq 77 ] || exit 1
		[ "$status" -eq 0 ] || outcome=77
	done
done
readelf -d embedder-static | grep -q libmayfly && { echo "embedder-static is not static"; exit 1; }
exit "$outcome"
