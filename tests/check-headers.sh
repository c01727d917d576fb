#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: tests/check-headers.sh
# The public headers must compile alone and twice, without a warning, as strict C99 and later C, and
# as C++; so must what their macros make of options.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
warnings='-Wall -Wextra -Wconversion -Wshadow -Wundef -pedantic -Werror'

try() {
	# shellcheck disable=SC2086
	"$@" $warnings -Iinclude -fsyntax-only "$source" || {
		echo "failed: $* $warnings on include/$header"
		status=1
	}
}

for header in mayfly.h mayfly_export.h mayfly_guest.h mayfly_program.h; do
	[ -e "include/$header" ] || { echo "include/$header is missing"; status=1; continue; }
	for suffix in c cc; do
		{
			printf '#include "%s"\n#include "%s"\nint main(void);\nint main(void)\n{\n' \
				"$header" "$header"
			# MAYFLY_POOL_OPTIONS_INIT is for a mayfly_pool_options.
			sed -n 's/^#define \(MAYFLY_[A-Z_]*\)_INIT .*/\1/p' "include/$header" |
				while read -r name; do
					variable=$(echo "$name" | tr '[:upper:]' '[:lower:]')
					printf '\t%s a_%s = %s_INIT;\n\t(void)a_%s;\n' \
						"$variable" "$variable" "$name" "$variable"
				done
			printf '\treturn 0;\n}\n'
		} >"$work/header.$suffix"
	done
	for compiler in gcc clang; do
		command -v "$compiler" >/dev/null || continue
		source=$work/header.c
		for standard in c99 c11 gnu17; do
			try "$compiler" "-std=$standard" -Wstrict-prototypes
		done
	done
	for compiler in g++ clang++; do
		command -v "$compiler" >/dev/null || continue
		source=$work/header.cc
		for standard in c++11 c++17; do
			try "$compiler" "-std=$standard"
		done
	done
done
exit "$status"
