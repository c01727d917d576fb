/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's slow start paid once: run it until it says that it is ready, take a snapshot, and
 * answer each request by a copy of the program in a virtual machine of its own: through its
 * standard streams, and by a call of its function.
 *
 *	requests PROGRAM [COUNT]     (requests_program; 200 requests)
 */
#include <mayfly.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Start it, in a VM without files, network or streams, and snapshot it where it is ready. */
static int start(const char *path, mayfly_snapshot **ready, mayfly_error *err)
{
	mayfly_process_options options = MAYFLY_PROCESS_OPTIONS_INIT;
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_process *process;
	double began = now_us();
	int r;

	options.program = path;
	r = mayfly_process_new(&options, &process, err);
	if (r < 0)
		return r;
	r = mayfly_process_run(process, MAYFLY_PAUSE_READY, &end, err);
	printf("start of the program: %.0f us\n", now_us() - began);
	began = now_us();
	if (r == 0 && end.end == MAYFLY_END_PAUSE)
		r = mayfly_process_snapshot(process, ready, err);
	else if (r == 0)
		r = mayfly_error_set(err, MAYFLY_E_INVALID, "%s ended before it was ready",
				     path);
	if (r == 0)
		printf("snapshot: %.0f us\n", now_us() - began);
	mayfly_process_free(process);
	return r;
}

/* The request on `in`, the answer to `out`: in `*process`, made or restored before. */
static int serve(mayfly_snapshot *ready, mayfly_process **process, int in, int out,
		 mayfly_error *err)
{
	mayfly_process_options options = MAYFLY_PROCESS_OPTIONS_INIT;
	mayfly_process_end end = {.size = sizeof(end)};
	int r;

	options.snapshot = ready;
	options.streams = true;
	options.stdin_fd = in;
	options.stdout_fd = out;
	options.stderr_fd = -1;
	options.flags = MAYFLY_PROCESS_RESTORABLE;
	if (*process)
		r = mayfly_process_restore(*process, in, out, -1, err);
	else
		r = mayfly_process_new(&options, process, err);
	return r < 0 ? r : mayfly_process_run(*process, 0, &end, err);
}

static int request(mayfly_snapshot *ready, mayfly_process **process, unsigned number, bool show,
		   mayfly_error *err)
{
	char text[32], answer[64];
	int in[2], out[2], r = -1;
	ssize_t n;

	if (pipe(in) || pipe(out))
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no pipe");
	n = snprintf(text, sizeof(text), "%u\n", number);
	if (write(in[1], text, (size_t)n) == n) {
		close(in[1]);
		r = serve(ready, process, in[0], out[1], err);
	}
	close(out[1]);
	n = read(out[0], answer, sizeof(answer) - 1);
	if (r == 0 && show && n > 0)
		printf("  %.*s", (int)n, answer);
	if (r == 0 && n <= 0)
		r = mayfly_error_set(err, MAYFLY_E_INVALID, "no answer");
	close(in[0]);
	close(out[0]);
	return r;
}

/* `reuse`: one machine, restored before each request; else a new one for each. */
static int requests(mayfly_snapshot *ready, unsigned count, bool reuse, mayfly_error *err)
{
	mayfly_process *process = NULL;
	double began = now_us();
	int r = 0;

	for (unsigned i = 0; r == 0 && i < count; i++) {
		r = request(ready, &process, 1000000 + i * 37, !reuse && i < 3, err);
		if (!reuse) {
			mayfly_process_free(process);
			process = NULL;
		}
	}
	mayfly_process_free(process);
	if (r == 0)
		printf("%u requests, each in %s: %.0f us each\n", count,
		       reuse ? "one machine, restored before" : "a machine of its own",
		       (now_us() - began) / count);
	return r;
}

/* By calls of its function, without streams: one machine, restored before each. */
static int calls(mayfly_snapshot *ready, unsigned count, mayfly_error *err)
{
	mayfly_process_options options = MAYFLY_PROCESS_OPTIONS_INIT;
	mayfly_process *process = NULL;
	const mayfly_function *answer;
	double began = 0;
	int r;

	options.snapshot = ready;
	options.flags = MAYFLY_PROCESS_RESTORABLE;
	r = mayfly_process_new(&options, &process, err);
	if (r == 0)
		r = mayfly_process_function(process, "answer", &answer, err);
	began = now_us();
	for (unsigned i = 0; r == 0 && i < count; i++) {
		mayfly_value line, text;
		char number[32];

		snprintf(number, sizeof(number), "%u", 1000000 + i * 37);
		line = mayfly_string(number);
		if (i)
			r = mayfly_process_restore(process, -1, -1, -1, err);
		if (r == 0)
			r = mayfly_process_call(process, answer, &line, 1, &text, err);
		if (r == 0 && i < 3)
			printf("  %s", text.as.string.data);
	}
	if (r == 0)
		printf("%u calls, in one machine, restored before each: %.0f us each\n", count,
		       (now_us() - began) / count);
	mayfly_process_free(process);
	return r;
}

int main(int argc, char **argv)
{
	mayfly_snapshot *ready = NULL;
	unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200;
	mayfly_error err;
	int r;

	if (argc < 2) {
		fprintf(stderr, "usage: requests PROGRAM [COUNT]\n");
		return 2;
	}
	r = start(argv[1], &ready, &err);
	if (r == 0)
		r = requests(ready, count, false, &err);
	if (r == 0)
		r = requests(ready, count, true, &err);
	if (r == 0)
		r = calls(ready, count, &err);
	mayfly_snapshot_unref(ready);
	if (r < 0)
		fprintf(stderr, "requests: %s\n", err.message);
	return r < 0;
}
