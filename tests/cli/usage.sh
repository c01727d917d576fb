#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command's surface: verbs, options, help, completion. Needs no KVM.
. "$(dirname "$0")/tap.sh"

test_without_a_verb_the_overview_goes_to_stderr() {
	mayfly 125
	[ ! -s out ] || fail "standard output is not empty"
	err_has "Usage: mayfly VERB"
}

test_version_is_one_line_with_three_numbers() {
	mayfly 0 --version
	[ "$(wc -l <out)" -eq 1 ] || fail "not one line"
	grep -Eq '^mayfly [0-9]+\.[0-9]+\.[0-9]+$' out || fail "not a version"
}

test_help_lists_each_verb() {
	mayfly 0 help
	for verb in run boot snapshot call doctor bench help; do
		grep -q "^  $verb  *[A-Z]" out || fail "no $verb"
	done
}

test_help_of_a_verb_equals_its_help_option() {
	for verb in run boot snapshot call doctor bench help; do
		mayfly 0 help $verb
		mv out expected
		mayfly 0 $verb --help
		cmp -s out expected || fail "they differ for $verb"
		mayfly 0 $verb -h
		cmp -s out expected || fail "they differ for $verb -h"
	done
}

test_unknown_verb_is_refused_with_a_suggestion() {
	mayfly 125 cal
	err_has "mayfly: there is no verb 'cal'; did you mean 'call'?"
}

test_unknown_verb_unlike_any_other_gets_no_suggestion() {
	mayfly 125 frobnicate
	err_has "there is no verb 'frobnicate'; 'mayfly help' lists them"
}

test_unknown_option_is_refused_with_a_suggestion() {
	mayfly 125 call --timout 5s x y
	err_has "call: there is no option --timout (did you mean --timeout?)"
}

test_unknown_letter_is_refused() {
	mayfly 125 call -Z
	err_has "there is no option -Z"
}

test_unknown_letter_among_others_is_named() {
	mayfly 125 call -lZ x
	err_has "there is no option -Z"
	mayfly 125 run --system -la
	err_has "there is no option -l"
}

test_short_option_without_its_argument_is_named() {
	mayfly 125 run -d
	err_has "run: --dir needs an argument"
	mayfly 125 call -t
	err_has "call: --timeout needs an argument"
}

test_option_shortened_too_much_is_called_ambiguous() {
	mayfly 125 call --t 5s x y
	err_has "call: --t could be --timeout, and others: write more of it"
}

test_argument_for_an_option_that_takes_none_is_refused() {
	mayfly 125 call --fresh=yes x y
	err_has "--fresh takes no argument"
}

test_missing_argument_of_an_option_is_refused() {
	mayfly 125 call --timeout
	err_has "--timeout needs an argument"
}

test_option_may_be_shortened_where_that_is_unique() {
	mayfly 127 call --tim 1s /nonexistent f
	err_has "cannot open /nonexistent"
}

test_times_take_us_ms_s_and_m() {
	for time in 0 1us 250ms 1.5s 2m 0.000000001s; do
		mayfly 127 call --timeout $time /nonexistent f
	done
}

test_times_of_other_forms_are_refused() {
	for time in 5 1h 1.s .5s -1s 1e3s 's' '' ' 1s' 99999999999999999999s 400000000000000m; do
		mayfly 125 call --timeout "$time" /nonexistent f
		err_has "--timeout: '$time' is not a time"
	done
}

test_sizes_take_k_m_and_g() {
	for size in 1 4096 64K 64k 16M 1G; do
		mayfly 127 call --memory $size /nonexistent f
	done
}

test_sizes_of_other_forms_are_refused() {
	for size in 1T 1KB 1.5M -1 K '' 18446744073709551616 17179869184G; do
		mayfly 125 call --memory "$size" /nonexistent f
		err_has "--memory: '$size' is not a size"
	done
}

test_counts_from_one_to_the_most_are_taken() {
	for count in 0 -1 x 10000001; do
		mayfly 125 call --repeat "$count" /nonexistent f
		err_has "--repeat: '$count' is not a whole number from 1 to 10000000"
	done
	mayfly 127 call --repeat 10000000 /nonexistent f
}

test_words_of_an_option_are_checked() {
	mayfly 125 call --print=paper /nonexistent f
	err_has "--print: 'paper' is none of: stderr stdout"
	mayfly 127 call --print /nonexistent f
}

test_messages_begin_with_the_name() {
	for arguments in "nonsense" "call" "call --nonsense" "doctor x" "bench x" "help x y" "-x"; do
		# shellcheck disable=SC2086
		mayfly 125 $arguments
		[ "$(head -c 8 err)" = "mayfly: " ] || fail "mayfly $arguments"
		[ ! -s out ] || fail "something on standard output"
	done
}

test_output_that_cannot_be_written_is_a_failure() {
	[ -c /dev/full ] || skip "no /dev/full"
	"$MAYFLY" help >/dev/full 2>err
	status=$?
	[ $status -eq 125 ] || fail "exit status $status"
	err_has "cannot write to standard output"
}

# The long options of a verb, as its help shows them.
long_options() {
	"$MAYFLY" help "$1" | sed -n 's/^ *\(-., \)\{0,1\} *\(--[a-z-]*\).*/\2/p'
}

test_manual_page_of_each_verb_names_each_option() {
	[ -d "$SOURCES/man" ] || skip "no sources"
	for verb in run boot snapshot call doctor bench; do
		[ "$(long_options $verb | wc -l)" -ge 2 ] || fail "no options found for $verb"
		for option in $(long_options $verb); do
			# mdoc: ".Fl -timeout"
			grep -q -- "Fl -${option#--}\b" "$SOURCES/man/mayfly-$verb.1" ||
				[ "$option" = --help ] || fail "mayfly-$verb.1 lacks $option"
		done
	done
}

test_completion_of_an_unknown_shell_is_refused() {
	mayfly 125 --completion fish
	err_has "there is no completion for 'fish'"
}

# complete WORD...: the completions of the last word, one a line, in out.
complete_words() {
	needs bash
	"$MAYFLY" --completion bash >completion
	cat >script <<-'END'
		source ./completion
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_mayfly
		printf '%s\n' "${COMPREPLY[@]}"
	END
	bash script "$@" >out 2>err
	err_is_empty
}

test_completion_offers_verbs() {
	complete_words mayfly ''
	for verb in run boot snapshot call doctor bench help; do
		grep -qx "$verb" out || fail "no $verb"
	done
}

test_completion_offers_itself() {
	complete_words mayfly --
	for option in --help --version --completion; do
		grep -qx -- $option out || fail "no $option"
	done
	complete_words mayfly --completion ''
	out_is bash
	mayfly 0 --help
	out_has "mayfly --completion bash"
}

test_completion_offers_each_option_of_help() {
	for verb in run boot snapshot call doctor bench; do
		complete_words mayfly $verb --
		for option in $(long_options $verb); do
			grep -qx -- "$option" out || fail "no $option for $verb"
		done
	done
}

# Behind the point, whose options there are is known.
test_completion_of_snapshots_offers_the_options_of_the_point() {
	for when in "--when port" "--when = console : x" "-w 5s" "-w5s" "-wport" "--when 250ms -q"; do
		# shellcheck disable=SC2086
		complete_words mayfly snapshot $when --
		for option in $("$MAYFLY" snapshot --when port --help |
			sed -n 's/^ *\(-., \)\{0,1\} *\(--[a-z-]*\).*/\2/p'); do
			grep -qx -- "$option" out || fail "no $option behind $when"
		done
		! grep -qx -- --system out || fail "--system behind $when"
	done
	for when in "" "--when main" "-w ready" "-o port" "--output 5s"; do
		# shellcheck disable=SC2086
		complete_words mayfly snapshot $when --
		grep -qx -- --system out || fail "no --system behind '$when'"
		! grep -qx -- --initrd out || fail "--initrd behind '$when'"
	done
	# The point is not yet told.
	complete_words mayfly snapshot --when port
	out_is port
	: >some-kernel
	complete_words mayfly snapshot --when port some
	out_is some-kernel
}

test_completion_offers_files_behind_a_name() {
	: >some-file
	for words in "boot --fw opt/x =" "boot --fw = opt/x =" "boot -p name =" \
		"snapshot -w port --port name ="; do
		# shellcheck disable=SC2086
		complete_words mayfly $words some
		out_is some-file
		# shellcheck disable=SC2086
		complete_words mayfly $words
		out_has some-file
	done
	# By a shell that takes "=" for a letter as any other.
	complete_words mayfly boot --fw opt/x=some
	out_is opt/x=some-file
	complete_words mayfly boot --fw some
	out_is ''
}

test_completion_does_not_offer_hidden_options() {
	complete_words mayfly doctor --
	! grep -q sysroot out || fail "--sysroot is offered"
}

test_completion_offers_files_for_a_guest() {
	: >some-guest
	complete_words mayfly call -t 5s some
	out_is some-guest
}

test_completion_offers_words_after_an_equals_sign() {
	complete_words mayfly call --print = std
	out_has stderr
	out_has stdout
}

test_completion_offers_files_after_core() {
	: >some-core
	complete_words mayfly call --core some
	out_is some-core
}

test_completion_offers_commands_and_files_for_a_program() {
	: >some-program
	complete_words mayfly run --dir a : /b --env A = 1 some
	out_has some-program
	complete_words mayfly run --timeout 5s ca
	grep -qx cat out || fail "no cat"
	complete_words mayfly run cat some
	out_is some-program
}

test_completion_offers_files_for_options_that_may_be_repeated() {
	: >some-directory
	complete_words mayfly run --dir a --dir some
	out_is some-directory
}

test_completion_offers_files_behind_an_equals_sign_only_where_there_must_be_one() {
	: >some-trace
	complete_words mayfly run --trace = some
	out_is some-trace
	complete_words mayfly run --trace ca
	grep -qx cat out || fail "no cat"
}

test_completion_offers_no_options_among_arguments() {
	complete_words mayfly call guest function --
	out_is ''
}

test_completion_offers_files_behind_an_at_sign() {
	: >some-file
	complete_words mayfly call guest function @some
	out_is @some-file
}

run_tests
