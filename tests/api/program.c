/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mayfly_process_options options_for(const char *how, const char *const *argv)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;

	o.program = argv[0];
	o.argv = argv;
	o.timeout_ns = AGES;
	if (!strcmp(how, "dynamic"))
		o.flags |= MAYFLY_PROCESS_SYSTEM;
	return o;
}

void program_run_to_ready(struct program *p)
{
	mayfly_process_end end = {.size = sizeof(end)};

	assert_ok(mayfly_process_run(p->process, MAYFLY_PAUSE_READY, &end, &p->err), &p->err);
	assert_int_equal(end.end, MAYFLY_END_PAUSE);
	assert_int_equal(end.status, MAYFLY_PAUSE_READY);
}

struct program program_made(const char *how, const char *argument,
			    const mayfly_process_options *more)
{
	char path[512], name[64];
	const char *argv[] = {path, argument, NULL};
	mayfly_process_options o;
	struct program p = {.out = -1};
	int out[2];

	need_kvm();
	snprintf(name, sizeof(name), "functions_%s", how);
	snprintf(path, sizeof(path), "%s", guest_path(name));
	if (access(path, X_OK) < 0 ||
	    (!strcmp(how, "dynamic") && access("/lib64/ld-linux-x86-64.so.2", F_OK) < 0)) {
		print_message("no %s\n", path);
		skip();
	}
	o = options_for(how, argv);
	if (more) {
		o.timeout_ns = more->timeout_ns ? more->timeout_ns : o.timeout_ns;
		o.cpu_time_ns = more->cpu_time_ns;
		o.memory = more->memory;
		o.policy = more->policy;
		o.trace_write = more->trace_write;
		o.trace_context = more->trace_context;
		o.flags |= more->flags;
	}
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	o.streams = true;
	o.stdin_fd = o.stderr_fd = -1;
	o.stdout_fd = out[1];
	assert_ok(mayfly_process_new(&o, &p.process, &p.err), &p.err);
	close(out[1]);
	p.out = out[0];
	return p;
}

struct program program_ready(const char *how, const char *argument)
{
	struct program p = program_made(how, argument, NULL);

	program_run_to_ready(&p);
	return p;
}

void program_done(struct program *p)
{
	mayfly_process_free(p->process);
	if (p->out >= 0)
		close(p->out);
}

int program_call(struct program *p, const char *name, const mayfly_value *args, size_t nargs)
{
	const mayfly_function *fn;

	assert_ok(mayfly_process_function(p->process, name, &fn, &p->err), &p->err);
	return mayfly_process_call(p->process, fn, args, nargs, &p->result, &p->err);
}

mayfly_value program_must(struct program *p, const char *name, const mayfly_value *args,
			  size_t nargs, const char *file, int line)
{
	check_code(program_call(p, name, args, nargs), MAYFLY_OK, &p->err, file, line);
	return p->result;
}

void program_is_usable(struct program *p)
{
	assert_true(MUST(p, "negate", mayfly_bool(false)).as.boolean);
}

void program_is_over(struct program *p)
{
	mayfly_process_end end = {.size = sizeof(end)};

	assert_code(CALL(p, "nothing"), MAYFLY_E_PROTOCOL, &p->err);
	assert_code(mayfly_process_run(p->process, 0, &end, &p->err), MAYFLY_E_PROTOCOL,
		    &p->err);
}

void program_run_on(struct program *p, const char *output)
{
	mayfly_process_end end = {.size = sizeof(end)};
	char text[200] = "";

	assert_ok(mayfly_process_run(p->process, 0, &end, &p->err), &p->err);
	assert_int_equal(end.end, MAYFLY_END_EXIT);
	assert_int_equal(end.status, 0);
	assert_true(read(p->out, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, output);
}

mayfly_snapshot *program_snapshot(struct program *p)
{
	mayfly_snapshot *snap;

	assert_ok(mayfly_process_snapshot(p->process, &snap, &p->err), &p->err);
	return snap;
}

struct program program_from(mayfly_snapshot *snap, const char *how, uint32_t flags)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;
	struct program p = {.out = -1};

	o.snapshot = snap;
	o.timeout_ns = AGES;
	o.flags = flags | (!strcmp(how, "dynamic") ? MAYFLY_PROCESS_SYSTEM : 0);
	assert_ok(mayfly_process_new(&o, &p.process, &p.err), &p.err);
	return p;
}
