/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hello in both directions: the host calls a function of the guest, which calls one of the
 * host's.
 *
 *	hello GUEST     (hello_guest)
 */
#include <inttypes.h>
#include <mayfly.h>
#include <stdio.h>

/* What the guest imports as host_name(). `context` is what was registered with it. */
static int host_name(void *context, mayfly_sandbox *sandbox, const mayfly_value *args,
		     size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)sandbox;
	(void)args;
	(void)nargs;
	(void)err;
	*result = mayfly_string(context);
	return MAYFLY_OK;
}

static int call_both(mayfly_snapshot *guest, mayfly_sandbox *sandbox, mayfly_error *err)
{
	const mayfly_function *add, *greet;
	mayfly_value numbers[] = {mayfly_i64(40), mayfly_i64(2)};
	mayfly_value whom = mayfly_string("world"), result;
	int r;

	if ((r = mayfly_snapshot_function(guest, "add", &add, err)) < 0 ||
	    (r = mayfly_snapshot_function(guest, "greet", &greet, err)) < 0)
		return r;
	r = mayfly_sandbox_call(sandbox, add, numbers, 2, &result, err);
	if (r < 0)
		return r;
	printf("add(40, 2) = %" PRId64 "\n", result.as.i64);
	r = mayfly_sandbox_call(sandbox, greet, &whom, 1, &result, err);
	if (r < 0)
		return r;
	/*
	 * The result lies in guest memory, and is good until the next operation on the sandbox.
	 */
	printf("greet(\"world\") = \"%s\"\n", result.as.string.data);
	return MAYFLY_OK;
}

int main(int argc, char **argv)
{
	mayfly_host_function functions[] = {
		{"host_name", "string()", host_name, "your host"},
	};
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_snapshot *guest = NULL;
	mayfly_sandbox *sandbox = NULL;
	mayfly_error err;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: hello GUEST\n");
		return 2;
	}
	options.host_functions = functions;
	options.host_function_count = 1;
	options.timeout_ns = 1000000000; /* a second is plenty */
	r = mayfly_load_file(argv[1], NULL, &guest, &err);
	if (r == 0)
		r = mayfly_sandbox_new(guest, &options, &sandbox, &err);
	if (r == 0)
		r = call_both(guest, sandbox, &err);
	if (r < 0)
		fprintf(stderr, "hello: %s\n", err.message);
	mayfly_sandbox_free(sandbox);
	mayfly_snapshot_unref(guest);
	return r < 0;
}
