/* SPDX-License-Identifier: Apache-2.0 */
#include "program_options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"

#define MAX_FILES                                                                              \
	1048576 /* what Linux gives a process at most, unless told otherwise: fs.nr_open */
#define MAX_THREADS 200 /* the library's limit */

/* What execvp(3) and shells search where no PATH is set, and more; there on every Linux. */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

extern char **environ;

#define FIELD(f) .offset = offsetof(struct program_options, f)
static const struct option_spec specs[] = {
	{.name = "dir",
	 .letter = 'd',
	 .type = OPTION_FILES,
	 .argument = "HOST[:GUEST][:rw|:overlay]",
	 FIELD(dirs),
	 .help = "Grant a directory or file of the host, there as GUEST or under its own "
		 "name: read-only; rw: to be written to; overlay: changes are kept in memory "
		 "and then forgotten. May be repeated."},
	{.name = "root",
	 .type = OPTION_FILE,
	 .argument = "DIR[:rw|:ro]",
	 FIELD(root),
	 .help = "Take DIR as the root directory; changes are kept in memory, unless rw or "
		 "ro says otherwise. Its /dev, /proc and /tmp are covered."},
	{.name = "system",
	 .letter = 's',
	 .type = OPTION_FLAG,
	 FIELD(system),
	 .help = "Grant the host's installed programs and libraries (/usr, /bin, /lib*, some "
		 "of /etc), read-only."},
	{.name = "env",
	 .letter = 'e',
	 .type = OPTION_TEXTS,
	 .argument = "NAME[=VALUE]",
	 FIELD(env),
	 .help = "Set a variable, or copy it from the environment of mayfly. May be "
		 "repeated. Without this there are PATH, HOME=/ and, on a terminal, TERM."},
	{.name = "env-all",
	 .type = OPTION_FLAG,
	 FIELD(env_all),
	 .help = "Give it the whole environment of mayfly."},
	{.name = "cwd",
	 .type = OPTION_FILE,
	 .argument = "DIR",
	 FIELD(cwd),
	 .help = "Where in the guest it starts. Default: where mayfly was started, if --dir "
		 "grants that under its own name, else /."},
	{.name = "net",
	 .type = OPTION_TEXTS,
	 .fallback = "*",
	 .argument = "HOST[:PORT[-PORT]]",
	 FIELD(net),
	 .help = "Let it connect: to a name, an address, ADDRESS/BITS or *, the default: any "
		 "but this host's own, link-local and multicast ones. May be repeated."},
	{.name = "publish",
	 .letter = 'p',
	 .type = OPTION_TEXTS,
	 .argument = "[ADDRESS:]HOSTPORT:GUESTPORT",
	 FIELD(publish),
	 .help = "What listens on GUESTPORT in the guest is reached at HOSTPORT of the host, "
		 "on 127.0.0.1 if no address is given. May be repeated."},
	{.name = "memory",
	 .letter = 'm',
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(memory),
	 .help = "All that it can ever occupy, its files in memory included. Default, or 0: "
		 "1G."},
	{.name = "timeout",
	 .letter = 't',
	 .type = OPTION_TIME,
	 .argument = "TIME",
	 FIELD(timeout),
	 .help = "Stop it after this much time has passed; exit status 124. 0: no limit."},
	{.name = "cpu-time",
	 .type = OPTION_TIME,
	 .argument = "TIME",
	 FIELD(cpu_time),
	 .help = "Stop it after this much CPU time of all its threads; exit status 124. "
		 "0: no limit."},
	{.name = "max-output",
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(max_output),
	 .help = "How much it may write to standard output and error together. 0: no limit."},
	{.name = "max-files",
	 .type = OPTION_COUNT,
	 .max = MAX_FILES,
	 .argument = "N",
	 FIELD(max_files),
	 .help = "How many files it may have open, at least 3. Default 256."},
	{.name = "threads",
	 .type = OPTION_COUNT,
	 .max = MAX_THREADS,
	 .argument = "N",
	 FIELD(threads),
	 .help = "How many threads it may have, at most 200. Default 64."},
	{.name = "trace",
	 .type = OPTION_FILE,
	 .fallback = TRACE_TO_STDERR,
	 .argument = "FILE",
	 FIELD(trace),
	 .help = "Print each system call, as strace does, to standard error or FILE."},
	{.name = "stats",
	 .type = OPTION_FLAG,
	 FIELD(stats),
	 .help = "At the end print to standard error how often each system call was made, "
		 "how long they took, and what was used."},
};
#undef FIELD

const struct option_table program_option_table = {specs, COUNT_OF(specs)};

/* --- What the setup is made of ---------------------------------------------------------------- */

void program_setup_grant(struct program_setup *s, const char *host, const char *guest,
			 uint32_t flags)
{
	size_t n = s->library.ngrants;

	s->grants = xrealloc(s->grants, n + 1, sizeof(s->grants[0]));
	s->grants[n] = (mayfly_grant){.host = host, .guest = guest, .flags = flags};
	s->library.grants = s->grants;
	s->library.ngrants = n + 1;
}

void program_setup_rule(struct program_setup *s, const char *host, uint16_t first,
			uint16_t last)
{
	size_t n = s->library.nnet;

	s->rules = xrealloc(s->rules, n + 1, sizeof(s->rules[0]));
	s->rules[n] = (mayfly_net_rule){.host = host, .first_port = first, .last_port = last};
	s->library.net = s->rules;
	s->library.nnet = n + 1;
}

void program_setup_fini(struct program_setup *s)
{
	texts_free(&s->texts);
	free(s->grants);
	free(s->rules);
	free(s->published);
	free(s->envp);
}

void program_options_fini(struct program_options *o)
{
	free(o->dirs.items);
	free(o->env.items);
	free(o->net.items);
	free(o->publish.items);
}

/* --- Paths ------------------------------------------------------------------------------------ */

const char *program_setup_path(struct program_setup *s, const char *path)
{
	char cwd[PATH_MAX] = "";
	char *absolute, *out;
	const char *p;
	size_t len;

	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return path;
	/* One more for the "/" that may be all that remains. */
	absolute = texts_new(&s->texts, strlen(cwd) + strlen(path) + 3);
	stpcpy(stpcpy(stpcpy(absolute, cwd), "/"), path);
	/* Component by component, over what was read: it only becomes shorter. */
	out = absolute;
	for (p = absolute; *p; p += len) {
		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 0 || (len == 1 && p[0] == '.'))
			continue;
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (out > absolute && *--out != '/')
				;
			continue;
		}
		*out++ = '/';
		memmove(out, p, len);
		out += len;
	}
	if (out == absolute)
		*out++ = '/';
	*out = '\0';
	return absolute;
}

struct mode {
	const char *name;
	uint32_t flags;
};

/* Take ":MODE" off the end of `text`; false if there is none. */
static bool take_mode(char *text, uint32_t *ret_flags)
{
	static const struct mode modes[] = {
		{"ro", 0},
		{"rw", MAYFLY_GRANT_WRITE},
		{"overlay", MAYFLY_GRANT_OVERLAY},
	};
	char *colon = strrchr(text, ':');

	for (size_t i = 0; colon && i < COUNT_OF(modes); i++) {
		if (strcmp(colon + 1, modes[i].name) != 0)
			continue;
		*colon = '\0';
		*ret_flags = modes[i].flags;
		return true;
	}
	return false;
}

/*
 * HOST[:GUEST][:MODE]. GUEST begins behind the last ":/", so that HOST may have colons in it if
 * GUEST is given; GUEST has none, or a MODE that is not known would be part of it.
 */
static int add_dir(struct program_setup *s, const char *text, mayfly_error *err)
{
	char *host = texts_copy(&s->texts, text, strlen(text));
	char *guest = NULL;
	uint32_t flags = 0;

	take_mode(host, &flags);
	for (char *p = host; (p = strstr(p, ":/")); p++)
		guest = p;
	if (guest)
		*guest++ = '\0';
	if (!*host)
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.80s' names no directory of the host", text);
	if (strchr(guest ? guest : host, ':'))
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.80s' is not HOST[:GUEST][:MODE]: after a colon "
					"comes an absolute path, or rw, ro or overlay",
					text);
	program_setup_grant(s, host, program_setup_path(s, guest ? guest : host), flags);
	return MAYFLY_OK;
}

static int add_root(struct program_setup *s, const struct program_options *o, mayfly_error *err)
{
	uint32_t flags = MAYFLY_GRANT_OVERLAY;
	char *host;

	if (!o->root)
		return MAYFLY_OK;
	host = texts_copy(&s->texts, o->root, strlen(o->root));
	take_mode(host, &flags);
	if (!*host)
		return mayfly_error_set(err, MAYFLY_E_INVALID, "'%.80s' names no directory",
					o->root);
	program_setup_grant(s, host, "/", flags);
	return MAYFLY_OK;
}

static int add_dirs(struct program_setup *s, const struct program_options *o, mayfly_error *err)
{
	int r = MAYFLY_OK;

	for (size_t i = 0; i < o->dirs.n && r == MAYFLY_OK; i++)
		r = add_dir(s, o->dirs.items[i], err);
	return r;
}

/* Whether `path` is `dir` or in it; both made by program_setup_path(). */
static bool is_within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static const char *working_directory(struct program_setup *s, const struct program_options *o)
{
	const char *here;

	if (o->cwd)
		return program_setup_path(s, o->cwd);
	if (!o->dirs.n)
		return NULL;
	here = program_setup_path(s, ".");
	for (size_t i = 0; i < s->library.ngrants; i++) {
		const mayfly_grant *grant = &s->grants[i];

		if (is_within(here, grant->guest) &&
		    strcmp(program_setup_path(s, grant->host), grant->guest) == 0)
			return here;
	}
	return NULL;
}

/* --- Environment ------------------------------------------------------------------------------ */

/* Replace the variable or add it; there is room. */
static void set_variable(struct program_setup *s, const char *assignment)
{
	size_t len = strcspn(assignment, "=") + 1;

	for (size_t i = 0; i < s->nenv; i++) {
		if (strncmp(s->envp[i], assignment, len) == 0) {
			s->envp[i] = assignment;
			return;
		}
	}
	s->envp[s->nenv++] = assignment;
}

/* NAME=VALUE of our own environment, or NULL. */
static const char *own_variable(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; environ[i]; i++)
		if (strncmp(environ[i], name, len) == 0 && environ[i][len] == '=')
			return environ[i];
	return NULL;
}

static int make_environment(struct program_setup *s, const struct program_options *o,
			    mayfly_error *err)
{
	const char *term = NULL;
	size_t own = 0;

	while (o->env_all && environ[own])
		own++;
	s->envp = xrealloc(NULL, own + o->env.n + 4, sizeof(s->envp[0]));
	if (o->env_all) {
		memcpy(s->envp, environ, own * sizeof(s->envp[0]));
		s->nenv = own;
	} else {
		set_variable(s, "PATH=" DEFAULT_PATH);
		set_variable(s, "HOME=/");
		term = isatty(STDIN_FILENO) ? own_variable("TERM") : NULL;
		if (term)
			set_variable(s, term);
	}
	for (size_t i = 0; i < o->env.n; i++) {
		const char *text = o->env.items[i];

		if (text[0] == '\0' || text[0] == '=')
			return mayfly_error_set(err, MAYFLY_E_INVALID,
						"'%.80s' is not NAME=VALUE or NAME", text);
		/* As with other tools, what is to be copied and is not there is left out. */
		if (!strchr(text, '='))
			text = own_variable(text);
		if (text)
			set_variable(s, text);
	}
	s->envp[s->nenv] = NULL;
	s->library.envp = s->envp;
	return MAYFLY_OK;
}

/* --- All of it -------------------------------------------------------------------------------- */

struct step {
	const char *option;
	int (*take)(struct program_setup *s, const struct program_options *o,
		    mayfly_error *err);
};

/* Of grants, later ones cover earlier ones. */
static const struct step steps[] = {
	{"root", add_root},	      {"dir", add_dirs},
	{"env", make_environment},    {"net", program_net_rules},
	{"publish", program_publish},
};

int program_setup_init(struct program_setup *s, const struct verb *verb,
		       const struct program_options *o)
{
	mayfly_error err;

	s->library = (mayfly_process_options)MAYFLY_PROCESS_OPTIONS_INIT;
	for (size_t i = 0; i < COUNT_OF(steps); i++)
		if (steps[i].take(s, o, &err) != MAYFLY_OK)
			return usage_error(verb, "--%s: %s", steps[i].option, err.message);
	s->library.cwd = working_directory(s, o);
	s->library.memory = o->memory;
	s->library.timeout_ns = o->timeout;
	s->library.cpu_time_ns = o->cpu_time;
	s->library.max_output = o->max_output;
	s->library.max_files = (uint32_t)o->max_files;
	s->library.max_threads = (uint32_t)o->threads;
	s->library.flags = (o->system ? MAYFLY_PROCESS_SYSTEM : 0) |
			   (o->trace ? MAYFLY_PROCESS_TRACE : 0) |
			   (o->stats ? MAYFLY_PROCESS_STATS : 0);
	return STATUS_OK;
}
