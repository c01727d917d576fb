/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parser of hostile data in a sandbox, run on files, with the result of the same code run
 * natively beside it. Between two files the sandbox is restored: what one file's bytes might
 * have done to the parser is gone before the next.
 *
 *	parser GUEST FILE...     (parser_guest)
 */
#include <mayfly.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json_scan.h"

#define MAX_FILE ((size_t)16 << 20)

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The whole file, malloc'ed; NULL after a message. */
static char *read_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *data = f ? malloc(MAX_FILE) : NULL;

	*len = data ? fread(data, 1, MAX_FILE, f) : 0;
	if (!data || ferror(f) || !feof(f)) {
		fprintf(stderr, "parser: %s: cannot be read, or larger than 16 MiB\n", path);
		free(data);
		data = NULL;
	}
	if (f)
		fclose(f);
	return data;
}

/* 1 if the two disagree or the sandbox failed. */
static int parse(mayfly_sandbox *sandbox, const mayfly_function *describe, const char *path)
{
	struct json_summary summary;
	mayfly_value arg, result;
	mayfly_error err;
	double start, native_us, sandbox_us;
	char native[400];
	size_t len;
	char *data = read_file(path, &len);
	int failed;

	if (!data)
		return 1;
	start = now_us();
	json_scan(data, len, &summary);
	json_describe(native, sizeof(native), &summary);
	native_us = now_us() - start;

	arg = mayfly_bytes_of(data, len);
	start = now_us();
	failed = mayfly_sandbox_call(sandbox, describe, &arg, 1, &result, &err) < 0;
	sandbox_us = now_us() - start;
	if (failed)
		printf("%s (%zu bytes)\n  sandbox: %s\n", path, len, err.message);
	else
		printf("%s (%zu bytes)\n  sandbox, %6.0f us: %s\n  native,  %6.0f us: %s\n",
		       path, len, sandbox_us, result.as.string.data, native_us, native);
	if (!failed && strcmp(native, result.as.string.data) != 0) {
		printf("  these differ!\n");
		failed = 1;
	}
	if (mayfly_sandbox_restore(sandbox, NULL, &err) < 0) {
		printf("  restore: %s\n", err.message);
		failed = 1;
	}
	free(data);
	return failed;
}

int main(int argc, char **argv)
{
	mayfly_load_options load = MAYFLY_LOAD_OPTIONS_INIT;
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	const mayfly_function *describe;
	mayfly_snapshot *guest = NULL;
	mayfly_sandbox *sandbox = NULL;
	mayfly_error err;
	int failed = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: parser GUEST FILE...\n");
		return 2;
	}
	load.call_area = MAX_FILE;
	load.memory = 2 * MAX_FILE;
	options.timeout_ns = 2000000000;
	if (mayfly_load_file(argv[1], &load, &guest, &err) < 0 ||
	    mayfly_snapshot_function(guest, "describe", &describe, &err) < 0 ||
	    mayfly_sandbox_new(guest, &options, &sandbox, &err) < 0) {
		fprintf(stderr, "parser: %s\n", err.message);
		failed = 1;
	}
	for (int i = 2; sandbox && i < argc; i++)
		failed |= parse(sandbox, describe, argv[i]);
	mayfly_sandbox_free(sandbox);
	mayfly_snapshot_unref(guest);
	return failed;
}
