/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly bench --programs: programs in VMs beside the same programs without. Whole commands are
 * started as a shell does; the others by the library. Rows whose program this host does not have
 * are left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

#define PYTHON "/usr/bin/python3"
#define BUSYBOX "/bin/busybox"
#define NGINX "/usr/sbin/nginx"
#define WRK "/usr/bin/wrk"
#define NATIVE_PORT "18080"
#define VM_PORT "18081"
/* The no-op's calls for each argument (bench/noop.c). */
#define NOOP_CALLS 1000

extern const unsigned char bench_noop_elf[];
extern const uint64_t bench_noop_elf_size;

/* A directory for what the rows need: the no-op, snapshots, the server's files. */
static struct {
	char path[64];
	char self[4096]; /* this command */
	unsigned users;
} scratch;

/* --- Commands ------------------------------------------------------------------------------- */

static int finish(pid_t pid, const char *name, mayfly_error *err)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return mayfly_error_set(err, MAYFLY_E_IO, "waiting for %s", name);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return mayfly_error_set(err, MAYFLY_E_IO, "%s ended with status 0x%x", name,
					(unsigned)status);
	return 0;
}

/* Run argv to its end, `input` on its standard input. `output` may be NULL. */
static int run(char *const argv[], const char *input, char *output, size_t size, uint64_t *ns,
	       mayfly_error *err)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	uint64_t began;
	size_t have = 0;
	ssize_t n;
	pid_t pid;

	if ((input && pipe2(in, O_CLOEXEC)) || (output && pipe2(out, O_CLOEXEC)))
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no pipe");
	/* It fits into the pipe. */
	if (input && write(in[1], input, strlen(input)) < 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "writing to a pipe");
	if (input)
		close(in[1]);
	began = now_ns();
	pid = bench_command_start(argv, in[0], out[1], -1);
	if (input)
		close(in[0]);
	if (output) {
		close(out[1]);
		while ((n = read(out[0], output + have, size - 1 - have)) > 0)
			have += (size_t)n;
		output[have] = '\0';
		close(out[0]);
	}
	if (pid < 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "starting %s", argv[0]);
	n = finish(pid, argv[0], err);
	*ns = now_ns() - began;
	return (int)n;
}

/* --- The directory --------------------------------------------------------------------------- */

static void in_scratch(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", scratch.path, name);
}

static int write_file(const char *name, const void *data, size_t len, mode_t mode)
{
	char path[128];
	int fd;
	bool good;

	in_scratch(path, sizeof(path), name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -1;
	good = write(fd, data, len) == (ssize_t)len;
	close(fd);
	return good ? 0 : -1;
}

static int open_scratch(mayfly_error *err)
{
	ssize_t n;

	if (scratch.users++)
		return 0;
	n = readlink("/proc/self/exe", scratch.self, sizeof(scratch.self) - 1);
	snprintf(scratch.path, sizeof(scratch.path), "/tmp/mayfly-bench.XXXXXX");
	if (n < 0 || !mkdtemp(scratch.path) ||
	    write_file("noop", bench_noop_elf, bench_noop_elf_size, 0755) < 0) {
		scratch.users--;
		return mayfly_error_set(err, MAYFLY_E_IO, "%s: cannot be made", scratch.path);
	}
	scratch.self[n] = '\0';
	return 0;
}

static void close_scratch(void)
{
	static const char *const names[] = {"noop",   "true.snap", "python.snap", "index.html",
					    "native", "vm",	   "nginx.pid"};
	char path[128];

	if (!scratch.users || --scratch.users)
		return;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		in_scratch(path, sizeof(path), names[i]);
		unlink(path);
	}
	rmdir(scratch.path);
}

/* --- Rows that are commands ------------------------------------------------------------------- */

#define MAX_ARGS 16

struct command {
	char *argv[MAX_ARGS];
	char text[MAX_ARGS][512];
	int argc;
	const char *input;
	bool reports; /* it prints the nanoseconds itself */
};

static void add(struct command *c, const char *text)
{
	/* No argument is longer, but perhaps this command's own path: then it is not found. */
	snprintf(c->text[c->argc], sizeof(c->text[0]), "%.*s", (int)sizeof(c->text[0]) - 1,
		 text);
	c->argv[c->argc] = c->text[c->argc];
	c->argv[++c->argc] = NULL;
}

static void add_in_scratch(struct command *c, const char *name)
{
	char path[128];

	in_scratch(path, sizeof(path), name);
	add(c, path);
}

static int sample_command(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct command *c = state;
	char output[256];
	int r = run(c->argv, c->input, c->reports ? output : NULL, sizeof(output), ret_ns, err);

	if (r == 0 && c->reports)
		*ret_ns = strtoull(output, NULL, 10);
	if (r == 0 && !*ret_ns)
		r = mayfly_error_set(err, MAYFLY_E_IO, "%s printed no time", c->argv[0]);
	return r;
}

static void end_command(void *state)
{
	if (state)
		close_scratch();
	free(state);
}

/* Also *state, which is NULL after a failure. */
static struct command *new_command(void **state, mayfly_error *err)
{
	struct command *c = NULL;

	if (open_scratch(err) == 0) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			close_scratch();
			(void)mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory");
		}
	}
	*state = c;
	return c;
}

static int begin_noop(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct command *c = new_command(state, err);

	(void)row;
	if (!c)
		return err->code;
	add(c, scratch.self);
	add(c, "run");
	add_in_scratch(c, "noop");
	return 0;
}

/* `mayfly snapshot -o SCRATCH/name --when when ...` */
static int make_snapshot(const char *name, const char *when, const char *const *program,
			 mayfly_error *err)
{
	struct command c = {.argc = 0};
	uint64_t ns;

	add(&c, scratch.self);
	add(&c, "snapshot");
	add(&c, "-o");
	add_in_scratch(&c, name);
	add(&c, "--when");
	add(&c, when);
	add(&c, "--system");
	add(&c, "--");
	while (*program)
		add(&c, *program++);
	return run(c.argv, NULL, NULL, 0, &ns, err);
}

static int begin_from(void **state, const char *name, const char *when,
		      const char *const *program, mayfly_error *err)
{
	struct command *c = new_command(state, err);
	int r = c ? make_snapshot(name, when, program, err) : err->code;

	if (!c || r != 0)
		return r;
	add(c, scratch.self);
	add(c, "run");
	add(c, "--system");
	add(c, "--from");
	add_in_scratch(c, name);
	return 0;
}

static int begin_true_from(const struct bench_row *row, void **state, mayfly_error *err)
{
	static const char *const program[] = {BUSYBOX, "true", NULL};

	(void)row;
	return begin_from(state, "true.snap", "main", program, err);
}

static int begin_python_from(const struct bench_row *row, void **state, mayfly_error *err)
{
	static const char *const program[] = {PYTHON, "-", NULL};
	int r = begin_from(state, "python.snap", "stdin", program, err);
	struct command *c = *state;

	(void)row;
	if (r == 0 && c)
		c->input = "pass\n";
	return r;
}

/* pages: 0 natively, 1 in a VM. */
static int begin_python(const struct bench_row *row, const char *script, bool reports,
			void **state, mayfly_error *err)
{
	struct command *c = new_command(state, err);

	if (!c)
		return err->code;
	c->reports = reports;
	if (row->pages) {
		add(c, scratch.self);
		add(c, "run");
		add(c, "--system");
		add(c, "--memory");
		add(c, "2G");
		add(c, "--");
	}
	add(c, PYTHON);
	add(c, "-c");
	add(c, script);
	return 0;
}

static int begin_python_pass(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_python(row, "pass", false, state, err);
}

#define TIMED(setup, work)                                                                     \
	"import time;" setup ";t=time.perf_counter_ns();" work                                 \
	";print(time.perf_counter_ns()-t)"

static int begin_sha256(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_python(
		row, TIMED("import hashlib;b=bytes(1<<28)", "hashlib.sha256(b).digest()"), true,
		state, err);
}

static int begin_loop(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_python(row, TIMED("x=0", "x=sum(i*i%7 for i in range(3000000))"), true,
			    state, err);
}

static int begin_sqlite(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_python(row,
			    TIMED("import sqlite3;c=sqlite3.connect(':memory:');"
				  "c.execute('create table t(a)')",
				  "c.executemany('insert into t values(?)',"
				  "((i,) for i in range(300000)))"),
			    true, state, err);
}

/* --- System calls ----------------------------------------------------------------------------- */

static int begin_syscall(const struct bench_row *row, void **state, mayfly_error *err)
{
	(void)row;
	*state = NULL;
	return open_scratch(err);
}

static void end_syscall(void *state)
{
	(void)state;
	close_scratch();
}

/* The no-op with 20,000 calls, less the same with none. */
static int time_calls(unsigned thousands, uint64_t *ns, mayfly_error *err)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;
	mayfly_process_end end = {.size = sizeof(end)};
	const char *argv[32] = {"noop"};
	mayfly_process *p;
	char path[128];
	uint64_t began;
	int r;

	in_scratch(path, sizeof(path), "noop");
	o.program = path;
	for (unsigned i = 0; i < thousands; i++)
		argv[i + 1] = "x";
	o.argv = argv;
	r = mayfly_process_new(&o, &p, err);
	if (r < 0)
		return r;
	began = now_ns();
	r = mayfly_process_run(p, 0, &end, err);
	*ns = now_ns() - began;
	mayfly_process_free(p);
	if (r == 0 && (end.end != MAYFLY_END_EXIT || end.status))
		r = mayfly_error_set(err, MAYFLY_E_IO, "the no-op ended by %d, %d %s",
				     (int)end.end, end.status, end.message);
	return r;
}

#define THOUSANDS 20

static int sample_syscall(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	uint64_t none, many;
	int r = time_calls(0, &none, err);

	(void)state;
	if (r == 0)
		r = time_calls(THOUSANDS, &many, err);
	if (r == 0)
		*ret_ns = many > none ? (many - none) / ((uint64_t)THOUSANDS * NOOP_CALLS) : 1;
	return r;
}

/* --- Calls of its functions ------------------------------------------------------------------- */

struct called {
	mayfly_process *process;
	const mayfly_function *add;
	bool restored; /* before each call */
};

/* A copy of the no-op that is ready. */
static int copy_of_ready(const char *path, struct called *c, mayfly_error *err)
{
	static const char *const argv[] = {"ready", NULL};
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT, copy = o;
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_process *p;
	int r;

	o.program = path;
	o.argv = argv;
	r = mayfly_process_new(&o, &p, err);
	if (r < 0)
		return r;
	r = mayfly_process_run(p, MAYFLY_PAUSE_READY, &end, err);
	if (r == 0)
		r = mayfly_process_snapshot(p, &copy.snapshot, err);
	copy.flags = MAYFLY_PROCESS_RESTORABLE;
	if (r == 0)
		r = mayfly_process_new(&copy, &c->process, err);
	if (r == 0)
		r = mayfly_process_function(c->process, "add", &c->add, err);
	mayfly_snapshot_unref(copy.snapshot);
	mayfly_process_free(p);
	return r;
}

static int begin_called(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct called *c = calloc(1, sizeof(*c));
	char path[128];
	int r = open_scratch(err);

	if (!c || r < 0) {
		free(c);
		return r < 0 ? r : mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory");
	}
	*state = c;
	c->restored = row->pages;
	in_scratch(path, sizeof(path), "noop");
	return copy_of_ready(path, c, err);
}

static int sample_called(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct called *c = state;
	const mayfly_value args[] = {mayfly_i64(40), mayfly_i64(2)};
	mayfly_value result = {.as.i64 = 0};
	uint64_t began = now_ns();
	int r = c->restored ? mayfly_process_restore(c->process, -1, -1, -1, err) : 0;

	if (r == 0)
		r = mayfly_process_call(c->process, c->add, args, 2, &result, err);
	*ret_ns = now_ns() - began;
	if (r == 0 && result.as.i64 != 42)
		r = mayfly_error_set(err, MAYFLY_E_IO, "40 + 2 = %lld",
				     (long long)result.as.i64);
	return r;
}

static void end_called(void *state)
{
	struct called *c = state;

	if (!c)
		return;
	mayfly_process_free(c->process);
	free(c);
	close_scratch();
}

/* --- A fork for each request ------------------------------------------------------------------ */

struct forks {
	mayfly_snapshot *snap;
	mayfly_process *process; /* of the one that is restored */
	bool restored;
	int in[2], out[2];
	int result;
	mayfly_error err;
};

static const char server_script[] = "import sys,json\n"
				    "for line in sys.stdin:\n"
				    "  print(json.dumps({'answer':line.upper()}),flush=True)\n";

static int open_pipes(struct forks *f, mayfly_error *err)
{
	if (pipe2(f->in, O_CLOEXEC))
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no pipe");
	if (pipe2(f->out, O_CLOEXEC) == 0)
		return 0;
	close(f->in[0]);
	close(f->in[1]);
	return mayfly_error_set(err, MAYFLY_E_NOMEM, "no pipe");
}

static void close_pipes(struct forks *f)
{
	close(f->in[0]);
	close(f->out[0]);
	close(f->out[1]);
}

static int new_process(struct forks *f, mayfly_error *err)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;

	o.snapshot = f->snap;
	o.streams = true;
	o.stdin_fd = f->in[0];
	o.stdout_fd = f->out[1];
	o.stderr_fd = -1;
	o.flags = MAYFLY_PROCESS_SYSTEM;
	if (f->restored)
		o.flags |= MAYFLY_PROCESS_RESTORABLE;
	return mayfly_process_new(&o, &f->process, err);
}

static void *run_process(void *argument)
{
	struct forks *f = argument;
	mayfly_process_end end = {.size = sizeof(end)};

	f->result = mayfly_process_run(f->process, 0, &end, &f->err);
	return NULL;
}

/* From the request, which is there already, to the first line of the answer. */
static int answer(struct forks *f, uint64_t began, uint64_t *ret_ns, mayfly_error *err)
{
	char line[256];
	pthread_t thread;
	ssize_t n;

	if (pthread_create(&thread, NULL, run_process, f))
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no thread");
	n = read(f->out[0], line, sizeof(line));
	*ret_ns = now_ns() - began;
	close(f->in[1]);
	pthread_join(thread, NULL);
	if (f->result < 0)
		*err = f->err;
	else if (n <= 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "no answer");
	return f->result;
}

static int sample_fork(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct forks *f = state;
	uint64_t began;
	int r = open_pipes(f, err);

	if (r < 0)
		return r;
	if (write(f->in[1], "hello\n", 6) != 6)
		return mayfly_error_set(err, MAYFLY_E_IO, "writing a request");
	if (f->restored && f->process)
		r = mayfly_process_restore(f->process, f->in[0], f->out[1], -1, err);
	began = now_ns();
	if (r == 0 && !f->process)
		r = new_process(f, err);
	if (r == 0)
		r = answer(f, began, ret_ns, err);
	if (!f->restored) {
		mayfly_process_free(f->process);
		f->process = NULL;
	}
	close_pipes(f);
	return r;
}

static int begin_fork(const struct bench_row *row, void **state, mayfly_error *err)
{
	static const char *const argv[] = {PYTHON, "-c", server_script, NULL};
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;
	mayfly_process_end end = {.size = sizeof(end)};
	struct forks *f = calloc(1, sizeof(*f));
	mayfly_process *p;
	int r;

	if (!f)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory");
	*state = f;
	f->restored = row->pages;
	r = open_pipes(f, err);
	if (r < 0)
		return r;
	o.program = PYTHON;
	o.argv = argv;
	o.flags = MAYFLY_PROCESS_SYSTEM;
	o.streams = true;
	o.stdin_fd = f->in[0];
	o.stdout_fd = o.stderr_fd = -1;
	r = mayfly_process_new(&o, &p, err);
	if (r == 0) {
		r = mayfly_process_run(p, MAYFLY_PAUSE_STDIN, &end, err);
		if (r == 0)
			r = mayfly_process_snapshot(p, &f->snap, err);
		mayfly_process_free(p);
	}
	close(f->in[1]);
	close_pipes(f);
	return r;
}

static void end_fork(void *state)
{
	struct forks *f = state;

	if (!f)
		return;
	mayfly_process_free(f->process);
	mayfly_snapshot_unref(f->snap);
	free(f);
}

/* --- A server ---------------------------------------------------------------------------------- */

struct server {
	pid_t pid;
	const char *port;
};

/* One process, no log, one file. */
static int write_config(const char *name, const char *port)
{
	char text[1024];
	int n = snprintf(
		text, sizeof(text),
		"daemon off; master_process off; worker_processes 1; pid /tmp/nginx.pid;"
		" error_log /dev/null; events { worker_connections 64; }\n"
		"http { access_log off; client_body_temp_path /tmp; proxy_temp_path /tmp;"
		" fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;\n"
		"server { listen 127.0.0.1:%s; root %s; } }\n",
		port, scratch.path);

	return write_file(name, text, (size_t)n, 0644);
}

static int begin_server(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct command c = {.argc = 0};
	struct server *s = calloc(1, sizeof(*s));
	const char *name = row->pages ? "vm" : "native";
	char text[1024];
	int r = open_scratch(err);

	if (!s || r < 0) {
		free(s);
		return r < 0 ? r : mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory");
	}
	*state = s;
	s->port = row->pages ? VM_PORT : NATIVE_PORT;
	memset(text, 'x', sizeof(text));
	if (write_file("index.html", text, sizeof(text), 0644) < 0 ||
	    write_config(name, s->port) < 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "%s: cannot write", scratch.path);
	chmod(scratch.path, 0755);
	if (row->pages) {
		add(&c, scratch.self);
		add(&c, "run");
		add(&c, "--system");
		add(&c, "--dir");
		add(&c, scratch.path);
		add(&c, "--publish");
		add(&c, VM_PORT ":" VM_PORT);
		add(&c, "--");
	}
	add(&c, NGINX);
	add(&c, "-c");
	add_in_scratch(&c, name);
	s->pid = bench_command_start(c.argv, -1, -1, -1);
	if (s->pid < 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "starting %s", NGINX);
	usleep(500000);
	return 0;
}

static int sample_server(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct server *s = state;
	struct command c = {.argc = 0};
	char url[64], output[4096];
	const char *rate;
	uint64_t ns;
	int r;

	snprintf(url, sizeof(url), "http://127.0.0.1:%s/index.html", s->port);
	add(&c, WRK);
	add(&c, "-t1");
	add(&c, "-c8");
	add(&c, "-d1s");
	add(&c, url);
	r = run(c.argv, NULL, output, sizeof(output), &ns, err);
	if (r < 0)
		return r;
	rate = strstr(output, "Requests/sec:");
	if (!rate || strtod(rate + 13, NULL) <= 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "the server does not answer");
	*ret_ns = (uint64_t)(1e9 / strtod(rate + 13, NULL));
	return 0;
}

static void end_server(void *state)
{
	struct server *s = state;

	if (s && s->pid > 0) {
		kill(s->pid, SIGTERM);
		waitpid(s->pid, NULL, 0);
	}
	if (s)
		close_scratch();
	free(s);
}

/* --- The rows ----------------------------------------------------------------------------------- */

#define COMMAND(row_name, row_what, count, begin_fn, in_vm)                                    \
	{                                                                                      \
		.name = (row_name), .what = (row_what), .batch = (count), .needs_kvm = true,   \
		.pages = (in_vm), .begin = (begin_fn), .sample = sample_command,               \
		.end = end_command                                                             \
	}

static const struct bench_row always[] = {
	COMMAND("run_noop", "mayfly run of a static program that does nothing, start to exit",
		5, begin_noop, 1),
	{.name = "syscall",
	 .what = "a system call of a program that does nothing",
	 .batch = 1,
	 .needs_kvm = true,
	 .begin = begin_syscall,
	 .sample = sample_syscall,
	 .end = end_syscall},
	{.name = "program_call",
	 .what = "call of a program's function, two integers",
	 .batch = 100,
	 .warmup = 5,
	 .needs_kvm = true,
	 .begin = begin_called,
	 .sample = sample_called,
	 .end = end_called},
	{.name = "program_restore_call",
	 .what = "the same, restored before each call",
	 .batch = 50,
	 .warmup = 5,
	 .needs_kvm = true,
	 .pages = 1,
	 .begin = begin_called,
	 .sample = sample_called,
	 .end = end_called},
	{.name = NULL},
};

static const struct bench_row with_busybox[] = {
	COMMAND("run_true_snapshot", "mayfly run --from a snapshot of busybox true", 5,
		begin_true_from, 1),
	{.name = NULL},
};

static const struct bench_row with_python[] = {
	COMMAND("python_native", "python3 -c pass", 2, begin_python_pass, 0),
	COMMAND("python_run", "mayfly run --system python3 -c pass", 2, begin_python_pass, 1),
	COMMAND("python_snapshot", "mayfly run --from a snapshot of python3, pass on its stdin",
		5, begin_python_from, 1),
	{.name = "python_fork",
	 .what = "from a request to the first line of a fresh fork of a started python3",
	 .batch = 5,
	 .warmup = 1,
	 .needs_kvm = true,
	 .begin = begin_fork,
	 .sample = sample_fork,
	 .end = end_fork},
	{.name = "python_restored",
	 .what = "the same of a process that was restored before",
	 .batch = 5,
	 .warmup = 1,
	 .needs_kvm = true,
	 .pages = 1,
	 .begin = begin_fork,
	 .sample = sample_fork,
	 .end = end_fork},
	COMMAND("sha256_native", "SHA-256 of 256 MiB in memory, by python3", 1, begin_sha256,
		0),
	COMMAND("sha256_run", "the same in a VM", 1, begin_sha256, 1),
	COMMAND("loop_native", "a loop of 3 million rounds in python3", 1, begin_loop, 0),
	COMMAND("loop_run", "the same in a VM", 1, begin_loop, 1),
	COMMAND("sqlite_native", "300,000 inserts into an SQLite table in memory", 1,
		begin_sqlite, 0),
	COMMAND("sqlite_run", "the same in a VM", 1, begin_sqlite, 1),
	{.name = NULL},
};

#define SERVER(row_name, row_what, in_vm)                                                      \
	{                                                                                      \
		.name = (row_name), .what = (row_what), .batch = 1, .needs_kvm = true,         \
		.pages = (in_vm), .begin = begin_server, .sample = sample_server,              \
		.end = end_server                                                              \
	}

static const struct bench_row with_nginx[] = {
	SERVER("nginx_native", "a request of wrk's to nginx for a file of 1 KiB, one of eight",
	       0),
	SERVER("nginx_run", "the same in a VM", 1),
	{.name = NULL},
};

const struct bench_row *const *bench_program_rows(void)
{
	static const struct bench_row *lists[5];
	size_t n = 0;

	lists[n++] = always;
	if (access(BUSYBOX, X_OK) == 0)
		lists[n++] = with_busybox;
	if (access(PYTHON, X_OK) == 0)
		lists[n++] = with_python;
	if (access(NGINX, X_OK) == 0 && access(WRK, X_OK) == 0)
		lists[n++] = with_nginx;
	lists[n] = NULL;
	return lists;
}
