/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that is built against an installed Mayfly only, by tests/check-install.sh: calls add(2, 40)
 * in the guest named by its argument. Exit status 77 if there is no hypervisor.
 */
#include <mayfly.h>
#include <stdio.h>

#define SKIPPED 77

static int fail_with(const char *what, const mayfly_error *err)
{
	fprintf(stderr, "%s: %s: %s\n", what, mayfly_code_name(err->code), err->message);
	return 1;
}

int main(int argc, char **argv)
{
	mayfly_snapshot *snap = NULL;
	mayfly_sandbox *sb = NULL;
	const mayfly_function *fn = NULL;
	mayfly_value args[2] = {mayfly_i64(2), mayfly_i64(40)};
	mayfly_value result;
	mayfly_error err;
	int r;

	if (argc != 2) {
		fprintf(stderr, "usage: embedder GUEST\n");
		return 2;
	}
	if (mayfly_load_file(argv[1], NULL, &snap, &err) != MAYFLY_OK)
		return fail_with("load", &err);
	if (mayfly_snapshot_function(snap, "add", &fn, &err) != MAYFLY_OK)
		return fail_with("function", &err);
	r = mayfly_sandbox_new(snap, NULL, &sb, &err);
	if (r == MAYFLY_E_HYPERVISOR) {
		fail_with("skipped, no hypervisor", &err);
		return SKIPPED;
	}
	if (r != MAYFLY_OK)
		return fail_with("sandbox", &err);
	if (mayfly_sandbox_call(sb, fn, args, 2, &result, &err) != MAYFLY_OK)
		return fail_with("call", &err);
	mayfly_sandbox_free(sb);
	mayfly_snapshot_unref(snap);
	printf("mayfly %s: add(2, 40) = %lld\n", mayfly_version(), (long long)result.as.i64);
	return result.as.i64 == 42 ? 0 : 1;
}
