/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "bench.h"
#include "cli.h"

/* bench_blobs.S: the ELF file of bench/bench_guest.c. */
extern const unsigned char bench_guest_elf[];
extern const uint64_t bench_guest_elf_size;

int bench_guest_load(struct bench_guest *g, uint64_t memory, mayfly_error *err)
{
	const struct {
		const char *name;
		const mayfly_function **fn;
	} functions[] = {
		{"add", &g->add},
		{"dirty", &g->dirty},
		{"call_host", &g->call_host},
		{"spin", &g->spin},
	};
	mayfly_load_options options = MAYFLY_LOAD_OPTIONS_INIT;
	int r;

	options.memory = memory;
	g->snap = NULL;
	r = mayfly_load_memory(bench_guest_elf, bench_guest_elf_size, "bench_guest", &options,
			       &g->snap, err);
	for (size_t i = 0; r == MAYFLY_OK && i < COUNT_OF(functions); i++)
		r = mayfly_snapshot_function(g->snap, functions[i].name, functions[i].fn, err);
	if (r != MAYFLY_OK)
		bench_guest_fini(g);
	return r;
}

void bench_guest_fini(struct bench_guest *g)
{
	mayfly_snapshot_unref(g->snap);
	g->snap = NULL;
}

static int check(bool right, const char *name, mayfly_error *err)
{
	if (right)
		return MAYFLY_OK;
	return mayfly_error_set(err, MAYFLY_E_PROTOCOL,
				"%s of the built-in guest gave a wrong result", name);
}

int bench_guest_add(const struct bench_guest *g, mayfly_sandbox *sb, mayfly_error *err)
{
	const mayfly_value args[] = {mayfly_i64(40), mayfly_i64(2)};
	mayfly_value result;
	int r = mayfly_sandbox_call(sb, g->add, args, COUNT_OF(args), &result, err);

	return r == MAYFLY_OK ? check(result.as.i64 == 42, "add", err) : r;
}

int bench_guest_dirty(const struct bench_guest *g, mayfly_sandbox *sb, uint32_t pages,
		      mayfly_error *err)
{
	const mayfly_value args[] = {mayfly_u32(pages)};
	mayfly_value result;
	int r = mayfly_sandbox_call(sb, g->dirty, args, COUNT_OF(args), &result, err);

	return r == MAYFLY_OK ? check(result.as.u32 == pages, "dirty", err) : r;
}

int bench_guest_call_host(const struct bench_guest *g, mayfly_sandbox *sb, mayfly_error *err)
{
	const mayfly_value args[] = {mayfly_i64(41)};
	mayfly_value result;
	int r = mayfly_sandbox_call(sb, g->call_host, args, COUNT_OF(args), &result, err);

	return r == MAYFLY_OK ? check(result.as.i64 == 42, "call_host", err) : r;
}

static int host_add(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		    mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)nargs;
	(void)err;
	result->as.i64 = args[0].as.i64 + args[1].as.i64;
	return MAYFLY_OK;
}

const mayfly_host_function bench_host_add = {
	.name = "host_add", .signature = "i64(i64,i64)", .fn = host_add};

int bench_sample_add(const struct bench_guest *g, mayfly_sandbox *sb, uint64_t *ret_ns,
		     mayfly_error *err)
{
	uint64_t start = now_ns();
	int r = bench_guest_add(g, sb, err);

	*ret_ns = now_ns() - start;
	return r;
}

int bench_sample_call_host(const struct bench_guest *g, mayfly_sandbox *sb, uint64_t *ret_ns,
			   mayfly_error *err)
{
	uint64_t start = now_ns();
	int r = bench_guest_call_host(g, sb, err);

	*ret_ns = now_ns() - start;
	return r;
}
