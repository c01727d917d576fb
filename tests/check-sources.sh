#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-sources.sh BUILD_DIR
# Rules of the tree: each C and assembly source is part of the build; each source names its licence
# in the first lines; no file of over 900 lines, but the public header, which is the whole API and
# half comments; no trailing blanks. What tests feed to programs
# (tests/programs/data) is as it is.
set -eu
build=$1
cd "$(dirname "$0")/.."
status=0

say() {
	echo "$*"
	status=1
}

files() {
	find .ci include src cli slirp unpack guest examples tests tools bench fuzz man Makefile meson.build \
		meson_options.txt -type f ! -path 'fuzz/corpus/*' ! -path 'tests/programs/data/*' \
		! -name '*.pyc' | sort
}

# A file that the build does not name is not tested and not analysed, yet looks as if it were.
built=$(cat "$build/build.ninja")
for source in $(find src cli slirp unpack guest bench examples tests fuzz -name '*.[cS]' ! -path 'tests/install/*' \
	! -path 'tests/programs/data/*' | sort); do
	case $source in
	fuzz/*) # built only for fuzzing; named without the prefix there
		name=$(basename "$source")
		stem=${name%.c}
		grep -qF -e "'$name'" -e "'${stem#fuzz_}'" -e " $name" fuzz/meson.build fuzz/make-seeds &&
			continue
		;;
	*)
		case $built in *"/$source"*) continue ;; esac
		;;
	esac
	say "$source: not in the build; name it in a meson.build"
done

for file in $(files); do
	case $file in
	*.[chS] | *.py | *.sh | */meson.build | Makefile | meson.build | meson_options.txt | tools/* | .ci/*)
		head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' ||
			say "$file: no line SPDX-License-Identifier: Apache-2.0 at its beginning"
		lines=$(wc -l <"$file")
		[ "$lines" -le 900 ] || [ "$file" = include/mayfly.h ] ||
			say "$file: $lines lines; split it"
		;;
	esac
	! grep -nIH '[[:blank:]]$' "$file" || say "$file: blanks at the end of a line"
done
exit "$status"
