/* SPDX-License-Identifier: Apache-2.0 */
/* The bash completion, made from the verbs' option tables. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "message.h"
#include "options.h"
#include "snapshot.h"

static void print_list(const char *variable, const struct verb *verb,
		       bool (*wanted)(const struct option_spec *))
{
	const struct option_spec *spec;

	printf("\t\t%s=\"", variable);
	for (size_t i = 0; (spec = option_at(verb, i)); i++) {
		if (spec->hidden || !wanted(spec))
			continue;
		printf(" --%s", spec->name);
		if (spec->letter)
			printf(" -%c", spec->letter);
	}
	printf(" \"\n");
}

static bool any(const struct option_spec *spec)
{
	(void)spec;
	return true;
}

/* Those whose argument is the next word: "--name=ARG" is one word and skips nothing. */
static bool takes_next_word(const struct option_spec *spec)
{
	return spec->type != OPTION_FLAG && !spec->fallback;
}

static bool takes_file(const struct option_spec *spec)
{
	return spec->type == OPTION_FILE || spec->type == OPTION_FILES;
}

static bool names_file(const struct option_spec *spec)
{
	return spec->names_file;
}

/* `name`: of the case of $verb. */
static void print_verb(const char *name, const struct verb *verb)
{
	static const char *const operands[] = {
		[OPERANDS_NONE] = "none",	[OPERANDS_CALL] = "call",
		[OPERANDS_PROGRAM] = "program", [OPERANDS_KERNEL] = "kernel",
		[OPERANDS_VERB] = "verb",
	};
	const struct option_spec *spec;

	printf("\t%s)\n", name);
	print_list("options", verb, any);
	print_list("skip", verb, takes_next_word);
	print_list("files", verb, takes_file);
	print_list("named", verb, names_file);
	printf("\t\toperands=%s\n", operands[verb->operands]);
	printf("\t\tcase $previous in\n");
	for (size_t i = 0; (spec = option_at(verb, i)); i++) {
		if (spec->hidden || !spec->words)
			continue;
		printf("\t\t--%s", spec->name);
		if (spec->letter)
			printf(" | -%c", spec->letter);
		printf(") words=\"%s\" ;;\n", spec->words);
	}
	printf("\t\tesac\n\t\t;;\n");
}

/*
 * The fixed parts. COMP_WORDS is split at "=" and ":" too: "--print=x" is three words, of which
 * the first is put into `previous`.
 */
static const char script_head[] =
	"# SPDX-License-Identifier: Apache-2.0\n"
	"# bash completion for mayfly; made by 'mayfly --completion bash'\n"
	"_mayfly()\n"
	"{\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	"\tlocal verb=${COMP_WORDS[1]} options= skip= files= named= operands= words= i kind "
	"name rest\n"
	"\tlocal -a plain=()\n"
	"\tCOMPREPLY=()\n";

/* Behind --completion; and whose options "snapshot" has: --when's argument says it. */
static const char script_verb[] =
	"\tif [[ $verb == --completion ]]; then\n"
	"\t\t((COMP_CWORD == 2)) &&\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -W bash -- \"$current\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	"\t\t[[ $verb != snapshot || ${COMP_WORDS[i]} == -- ]] && break\n"
	"\t\tcase ${COMP_WORDS[i]} in\n"
	"\t\t-w | --when)\n"
	"\t\t\t[[ ${COMP_WORDS[i+1]} == = ]] && ((i++))\n"
	"\t\t\t((i + 1 < COMP_CWORD)) && name=${COMP_WORDS[i+1]} ;;\n"
	"\t\t-w?*) name=${COMP_WORDS[i]#-w} ;;\n"
	"\t\tesac\n"
	"\t\t[[ ${name#[\\'\\\"]} == @(port|console*|[0-9]*) ]] && verb=snapshot-kernel\n"
	"\tdone\n";

static const char script_tail[] =
	"\tesac\n"
	"\t# NAME=FILE, which may be one word, or three.\n"
	"\tname=\n"
	"\tif [[ $equals ]]; then\n"
	"\t\t((i = COMP_CWORD - 2))\n"
	"\t\t[[ ${COMP_WORDS[COMP_CWORD]} == = ]] || ((i--))\n"
	"\t\t[[ ${COMP_WORDS[i]} == = ]] && ((i--))\n"
	"\t\tname=${COMP_WORDS[i]}\n"
	"\telif [[ $current == *=* ]]; then\n"
	"\t\tname=$previous rest=${current%%=*}=\n"
	"\tfi\n"
	"\tif [[ $named == *\" $name \"* ]]; then\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -P \"$rest\" -f -- \"${current#\"$rest\"}\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [[ $files == *\" $previous \"* && ( $equals || $skip == *\" $previous \"* ) ]]; "
	"then\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tif [[ $words && ( $equals || $skip == *\" $previous \"* ) ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\t[[ $skip == *\" $previous \"* ]] && return\n"
	"\t# The operands so far.\n"
	"\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	"\t\tif [[ ${#plain[@]} -eq 0 && ${COMP_WORDS[i]} == -* ]]; then\n"
	"\t\t\t[[ ${COMP_WORDS[i+1]} != = && $skip == *\" ${COMP_WORDS[i]} \"* ]] && ((i++))\n"
	"\t\t\twhile [[ ${COMP_WORDS[i+1]} == [:=] ]]; do ((i += 2)); done\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tplain+=(\"${COMP_WORDS[i]}\")\n"
	"\tdone\n"
	"\tif [[ ${#plain[@]} -eq 0 && $current == -* ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W \"$options --help -h\" -- \"$current\")\n"
	"\t\treturn\n"
	"\tfi\n"
	"\tcase $operands:${#plain[@]} in\n"
	"\tverb:0) mapfile -t COMPREPLY < <(compgen -W \"$verbs\" -- \"$current\") ;;\n"
	"\tcall:0 | kernel:0)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	"\t\t;;\n"
	"\tcall:1)\n"
	"\t\twhile read -r kind name rest; do\n"
	"\t\t\t[[ $kind == export && $name == \"$current\"* ]] && COMPREPLY+=(\"$name\")\n"
	"\t\tdone < <(\"${COMP_WORDS[0]/#\\~/$HOME}\" call --list \"${plain[0]/#\\~/$HOME}\" "
	"2>/dev/null)\n"
	"\t\t;;\n"
	"\tprogram:0)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -c -f -- \"$current\" | sort -u)\n"
	"\t\t;;\n"
	"\tprogram:*)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	"\t\t;;\n"
	"\tcall:*)\n"
	"\t\t[[ $current == @* ]] || return\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -P @ -f -- \"${current#@}\")\n"
	"\t\t;;\n"
	"\tesac\n"
	"}\n"
	"complete -F _mayfly mayfly\n";

int completion_print(const char *shell)
{
	if (strcmp(shell, "bash") != 0) {
		complain("there is no completion for '%.60s', only for bash", shell);
		return STATUS_FAILED;
	}
	fputs(script_head, stdout);
	printf("\tlocal verbs=\"");
	for (size_t i = 0; verbs[i]; i++)
		printf("%s%s", i ? " " : "", verbs[i]->name);
	printf("\"\n\tlocal equals=\n"
	       "\tif [[ $current == = ]]; then\n"
	       "\t\tcurrent= equals=1\n"
	       "\telif [[ $previous == = ]]; then\n"
	       "\t\tprevious=${COMP_WORDS[COMP_CWORD-2]} equals=1\n"
	       "\tfi\n"
	       "\tif ((COMP_CWORD == 1)); then\n"
	       "\t\tmapfile -t COMPREPLY < <(compgen -W \"$verbs --version --help "
	       "--completion\" -- "
	       "\"$current\")\n"
	       "\t\treturn\n"
	       "\tfi\n");
	fputs(script_verb, stdout);
	printf("\tcase $verb in\n");
	for (size_t i = 0; verbs[i]; i++)
		print_verb(verbs[i]->name, verbs[i]);
	print_verb("snapshot-kernel", &verb_snapshot_machine);
	fputs(script_tail, stdout);
	return STATUS_OK;
}
