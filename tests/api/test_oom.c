/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory runs out at each allocation of each operation in turn: it fails with NOMEM or copes, leaks
 * nothing, and works afterwards. To be linked with --wrap for the functions below.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- allocations that fail ------------------------------------------------------------------- */

static __thread bool counting;
static __thread size_t left;
static __thread bool failed;
static long live; /* blocks that were given and not got back; atomic */

static bool should_fail(void)
{
	if (!counting || --left != 0)
		return false;
	counting = false;
	failed = true;
	errno = ENOMEM;
	return true;
}

static void *count(void *p)
{
	if (p)
		__atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
	return p;
}

#define WRAP(result, name, parameters)                                                         \
	result __real_##name parameters;                                                       \
	result __wrap_##name parameters;                                                       \
	result __wrap_##name parameters

WRAP(void *, malloc, (size_t size))
{
	return should_fail() ? NULL : count(__real_malloc(size));
}

WRAP(void *, calloc, (size_t n, size_t size))
{
	return should_fail() ? NULL : count(__real_calloc(n, size));
}

WRAP(void *, aligned_alloc, (size_t alignment, size_t size))
{
	return should_fail() ? NULL : count(__real_aligned_alloc(alignment, size));
}

WRAP(char *, strdup, (const char *s))
{
	return should_fail() ? NULL : count(__real_strdup(s));
}

WRAP(void *, realloc, (void *p, size_t size))
{
	void *q;

	if (should_fail())
		return NULL;
	q = __real_realloc(p, size);
	return p ? q : count(q);
}

WRAP(void, free, (void *p))
{
	if (p)
		__atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
	__real_free(p);
}

static int print(char **text, const char *format, va_list ap)
{
	int n = should_fail() ? -1 : vasprintf(text, format, ap);

	if (n >= 0)
		count(*text);
	return n;
}

WRAP(int, asprintf, (char **text, const char *format, ...))
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = print(text, format, ap);
	va_end(ap);
	return n;
}

/* What asprintf() is with _FORTIFY_SOURCE, and mmap() with _FILE_OFFSET_BITS. */
WRAP(int, __asprintf_chk, (char **text, int flag, const char *format, ...))
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, format);
	n = print(text, format, ap);
	va_end(ap);
	return n;
}

WRAP(void *, mmap64, (void *at, size_t len, int prot, int flags, int fd, off_t offset))
{
	return should_fail() ? MAP_FAILED : __real_mmap64(at, len, prot, flags, fd, offset);
}

WRAP(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset))
{
	return should_fail() ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

WRAP(int, memfd_create, (const char *name, unsigned flags))
{
	return should_fail() ? -1 : __real_memfd_create(name, flags);
}

WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg))
{
	return should_fail() ? EAGAIN : __real_pthread_create(thread, attr, start, arg);
}

/* --- the sweep ------------------------------------------------------------------------------- */

/* What an operation works on, and makes. */
struct work {
	struct box b;	       /* made before the sweep, whole at each step */
	mayfly_snapshot *snap; /* of b, with more pages */
	mayfly_snapshot *made_snapshot;
	mayfly_sandbox *made_sandbox;
	mayfly_pool *made_pool;
	mayfly_error err;
};

struct operation {
	int (*run)(struct work *w);
	void (*undo)(struct work *w); /* after success; may be NULL */
	void (*mend)(struct work *w); /* after failure; may be NULL */
	size_t least;		      /* allocations that it makes at least */
};

static void sweep(struct work *w, const struct operation *o)
{
	long blocks = 0;
	int files = 0, maps = 0;
	size_t coped = 0, n;

	/* Caches and threads of the process's own are made by the first. */
	for (int i = 0; i < 2; i++) {
		assert_ok(o->run(w), &w->err);
		if (o->undo)
			o->undo(w);
	}
	files = descriptors_open();
	maps = mappings();
	blocks = live;
	for (n = 1; n < 1000; n++) {
		bool hit;
		int r;

		left = n;
		failed = false;
		counting = true;
		r = o->run(w);
		counting = false;
		hit = failed;
		if (r == 0 && o->undo)
			o->undo(w);
		if (!hit) {
			assert_ok(r, &w->err);
			break;
		}
		coped += r == 0;
		if (r != 0) {
			if (r != MAYFLY_E_NOMEM)
				fail_test("allocation %zu: %d: %s", n, r, w->err.message);
			assert_int_equal(w->err.code, MAYFLY_E_NOMEM);
			assert_true(w->err.message[0]);
		}
		if (r < 0 && o->mend)
			o->mend(w);
		if (live != blocks || descriptors_open() != files || mappings() != maps)
			fail_test("allocation %zu (%d): %ld blocks instead of %ld, %d "
				  "descriptors "
				  "instead of %d, %d mappings instead of %d",
				  n, r, live, blocks, descriptors_open(), files, mappings(),
				  maps);
	}
	assert_true(n < 1000);
	/* False too where the link options are missing. */
	if (n - 1 < o->least)
		fail_test("only %zu allocations were made", n - 1);
	assert_true(coped < n - 1);
}

/* --- operations ------------------------------------------------------------------------------ */

static int echo(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)nargs;
	(void)err;
	*result = args[0];
	return 0;
}

static const mayfly_host_function functions[] = {
	{"host_string", "string(string)", echo, NULL},
	{"host_i64", "i64(i64)", echo, NULL},
	{"another", "void()", echo, NULL},
};

static mayfly_sandbox_options whole_options(void)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	o.host_functions = functions;
	o.host_function_count = COUNT_OF(functions);
	o.timeout_ns = AGES;
	o.dispatch = dispatch_under_test();
	return o;
}

static struct work begin(const char *guest)
{
	struct work w = {.snap = NULL};
	mayfly_sandbox_options o = whole_options();

	w.b = box_open(guest, strcmp(guest, "hostcalls") ? NULL : &o);
	return w;
}

static void end(struct work *w)
{
	mayfly_snapshot_unref(w->snap);
	box_close(&w->b);
	temporary_remove();
}

static void undo_snapshot(struct work *w)
{
	mayfly_snapshot_unref(w->made_snapshot);
}

static void undo_sandbox(struct work *w)
{
	mayfly_sandbox_free(w->made_sandbox);
}

static void undo_pool(struct work *w)
{
	mayfly_pool_free(w->made_pool);
}

static int run_load(struct work *w)
{
	return mayfly_load_file(guest_path("hostcalls"), NULL, &w->made_snapshot, &w->err);
}

static void loading_survives_each_failure(void **state)
{
	struct work w = begin("types");

	(void)state;
	sweep(&w, &(struct operation){run_load, undo_snapshot, NULL, 20});
	end(&w);
}

static int run_sandbox(struct work *w)
{
	mayfly_sandbox_options o = whole_options();

	return mayfly_sandbox_new(w->b.snap, &o, &w->made_sandbox, &w->err);
}

static void spawning_survives_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	sweep(&w, &(struct operation){run_sandbox, undo_sandbox, NULL, 6});
	end(&w);
}

/* The arena's chunk is made and given back with it. */
static void spawning_the_only_one_survives_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	mayfly_sandbox_free(w.b.sb);
	w.b.sb = NULL;
	sweep(&w, &(struct operation){run_sandbox, undo_sandbox, NULL, 6});
	end(&w);
}

static void mend_by_restore(struct work *w)
{
	counting = false;
	box_restore(&w->b);
}

static int run_call(struct work *w)
{
	int r = call(&w->b, "through_string", mayfly_string("some text"));

	w->err = w->b.err;
	assert_true(r == 0 || mayfly_sandbox_is_poisoned(w->b.sb));
	return r;
}

static void a_call_with_a_host_function_survives_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	sweep(&w, &(struct operation){run_call, NULL, mend_by_restore, 1});
	end(&w);
}

/* Without a host function there is nothing to allocate. */
static void a_plain_call_allocates_nothing(void **state)
{
	struct work w = begin("types");

	(void)state;
	must(&w.b, "add", mayfly_i64(1), mayfly_i64(2));
	/* Under hot dispatch strings are copied, into room that is kept. */
	must(&w.b, "echo_string", mayfly_string("text"));
	left = 1;
	failed = false;
	counting = true;
	call(&w.b, "add", mayfly_i64(1), mayfly_i64(2));
	call(&w.b, "echo_string", mayfly_string("text"));
	mayfly_sandbox_restore(w.b.sb, NULL, NULL);
	counting = false;
	assert_false(failed);
	end(&w);
}

static int run_capture(struct work *w)
{
	return mayfly_sandbox_snapshot(w->b.sb, &w->made_snapshot, &w->err);
}

static void capturing_survives_each_failure(void **state)
{
	struct work w = begin("dirty");

	(void)state;
	must(&w.b, "dirty", mayfly_u32(50));
	sweep(&w, &(struct operation){run_capture, undo_snapshot, NULL, 6});
	assert_true(must(&w.b, "dirtied", mayfly_u32(3)).as.u64 == 1);
	end(&w);
}

static int run_save(struct work *w)
{
	return mayfly_snapshot_save(w->b.snap, temporary_path("saved"), &w->err);
}

static void saving_survives_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	sweep(&w, &(struct operation){run_save, NULL, NULL, 3});
	end(&w);
}

static int run_open(struct work *w)
{
	return mayfly_snapshot_open(temporary_path("saved"), &w->made_snapshot, &w->err);
}

static void opening_survives_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	assert_ok(run_save(&w), &w.err);
	sweep(&w, &(struct operation){run_open, undo_snapshot, NULL, 10});
	end(&w);
}

/* After a fault, which has the vCPU reset. */
static int run_restore(struct work *w)
{
	bool was_counting = counting;
	int r;

	counting = false;
	call(&w->b, "divide_by_zero");
	counting = was_counting;
	r = mayfly_sandbox_restore(w->b.sb, NULL, &w->err);
	if (r < 0) {
		assert_true(mayfly_sandbox_is_poisoned(w->b.sb));
		assert_int_equal(call(&w->b, "divide_by_zero"), MAYFLY_E_POISONED);
	}
	return r;
}

static void restoring_survives_each_failure(void **state)
{
	struct work w = begin("faults");

	(void)state;
	sweep(&w, &(struct operation){run_restore, NULL, mend_by_restore, 1});
	assert_int_equal(must(&w.b, "divide", mayfly_i32(6), mayfly_i32(2)).as.i32, 3);
	end(&w);
}

static int run_restore_other(struct work *w)
{
	int r = mayfly_sandbox_restore(w->b.sb, w->snap, &w->err);

	return r < 0 ? r : mayfly_sandbox_restore(w->b.sb, w->b.snap, &w->err);
}

/* Where its memory was mapped anew and that failed it has none, and says so. */
static void mend_other(struct work *w)
{
	mayfly_sandbox *whole;

	assert_true(mayfly_sandbox_is_poisoned(w->b.sb));
	if (mayfly_sandbox_restore(w->b.sb, w->b.snap, &w->err) < 0) {
		assert_contains(w->err.message, "lost its memory");
		assert_true(mayfly_sandbox_is_poisoned(w->b.sb));
		assert_code(call(&w->b, "dirtied", mayfly_u32(60)), MAYFLY_E_POISONED,
			    &w->b.err);
		mayfly_sandbox_free(w->b.sb);
		assert_ok(new_sandbox(w->b.snap, NULL, &whole, &w->err), &w->err);
		w->b.sb = whole;
	}
	assert_true(must(&w->b, "dirtied", mayfly_u32(60)).as.u64 == 1);
	box_restore(&w->b);
}

static void restoring_another_snapshot_survives_each_failure(void **state)
{
	struct work w = begin("dirty");
	mayfly_snapshot *mapped;

	(void)state;
	must(&w.b, "dirty", mayfly_u32(61));
	assert_ok(mayfly_sandbox_snapshot(w.b.sb, &mapped, &w.err), &w.err);
	must(&w.b, "dirty", mayfly_u32(70));
	assert_ok(mayfly_sandbox_snapshot(w.b.sb, &w.snap, &w.err), &w.err);
	box_close(&w.b);
	w.b = box_of(mapped, NULL);
	sweep(&w, &(struct operation){run_restore_other, NULL, mend_other, 2});
	end(&w);
}

static int run_pool(struct work *w)
{
	mayfly_sandbox_options so = whole_options();
	mayfly_pool_options o = MAYFLY_POOL_OPTIONS_INIT;
	mayfly_sandbox *sb;
	int r;

	o.sandbox = &so;
	o.limit = 2;
	r = mayfly_pool_new(w->b.snap, &o, &w->made_pool, &w->err);
	if (r < 0)
		return r;
	r = mayfly_pool_fill(w->made_pool, 1, &w->err);
	if (r == 0)
		r = mayfly_pool_acquire(w->made_pool, 0, &sb, &w->err);
	if (r == 0)
		mayfly_pool_release(w->made_pool, sb);
	if (r < 0)
		mayfly_pool_free(w->made_pool);
	return r;
}

static void pools_survive_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	sweep(&w, &(struct operation){run_pool, undo_pool, NULL, 9});
	end(&w);
}

static int run_pool_with_thread(struct work *w)
{
	mayfly_pool_options o = MAYFLY_POOL_OPTIONS_INIT;

	o.limit = 1;
	o.ready = 1;
	return mayfly_pool_new(w->b.snap, &o, &w->made_pool, &w->err);
}

static void pools_with_a_thread_survive_each_failure(void **state)
{
	struct work w = begin("hostcalls");

	(void)state;
	sweep(&w, &(struct operation){run_pool_with_thread, undo_pool, NULL, 3});
	end(&w);
}

/* A sandbox that cannot be restored is not lent again. */
static void a_release_survives_each_failure(void **state)
{
	struct work w = begin("faults");
	mayfly_pool *pool;
	size_t n;

	(void)state;
	assert_ok(mayfly_pool_new(w.b.snap, NULL, &pool, &w.err), &w.err);
	for (n = 1; n < 100; n++) {
		struct box lent = {.snap = w.b.snap};
		bool hit;

		assert_ok(mayfly_pool_acquire(pool, 0, &lent.sb, &w.err), &w.err);
		assert_int_equal(must(&lent, "divide", mayfly_i32(6), mayfly_i32(2)).as.i32, 3);
		call(&lent, "divide_by_zero");
		left = n;
		failed = false;
		counting = true;
		mayfly_pool_release(pool, lent.sb);
		counting = false;
		hit = failed;
		if (!hit)
			break;
	}
	assert_in_range(n, 2, 99);
	mayfly_pool_free(pool);
	end(&w);
}

static int run_core(struct work *w)
{
	return mayfly_sandbox_write_core(w->b.sb, temporary_path("core"), &w->err);
}

static void writing_a_core_survives_each_failure(void **state)
{
	struct work w = begin("faults");

	(void)state;
	call(&w.b, "divide_by_zero");
	sweep(&w, &(struct operation){run_core, NULL, NULL, 2});
	box_restore(&w.b);
	end(&w);
}

static int run_register(struct work *w)
{
	/* Replaces without an allocation where there is one of the name: ever new names. */
	static unsigned serial;
	char name[20];
	mayfly_host_function f = {name, "void()", echo, NULL};
	mayfly_sandbox *sb;
	bool was_counting = counting;
	int r;

	counting = false;
	assert_ok(mayfly_sandbox_new(w->b.snap, NULL, &sb, &w->err), &w->err);
	counting = was_counting;
	snprintf(name, sizeof(name), "name_%u", serial++);
	r = mayfly_sandbox_register(sb, &f, &w->err);
	was_counting = counting;
	counting = false;
	mayfly_sandbox_free(sb);
	counting = was_counting;
	return r;
}

static void registering_survives_each_failure(void **state)
{
	struct work w = begin("types");

	(void)state;
	sweep(&w, &(struct operation){run_register, NULL, NULL, 2});
	end(&w);
}

static void a_restore_to_another_snapshot_that_fails_may_be_tried_again(void **state)
{
	struct work w = begin("dirty");

	(void)state;
	must(&w.b, "dirty", mayfly_u32(70));
	assert_ok(mayfly_sandbox_snapshot(w.b.sb, &w.snap, &w.err), &w.err);
	for (size_t n = 1; n < 10; n++) {
		left = n;
		failed = false;
		counting = true;
		mayfly_sandbox_restore(w.b.sb, w.snap, NULL);
		counting = false;
		assert_ok(mayfly_sandbox_restore(w.b.sb, w.snap, &w.err), &w.err);
		assert_true(must(&w.b, "dirtied", mayfly_u32(69)).as.u64 == 1);
		must(&w.b, "dirty", mayfly_u32(80));
	}
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading_survives_each_failure),
		cmocka_unit_test(spawning_survives_each_failure),
		cmocka_unit_test(spawning_the_only_one_survives_each_failure),
		cmocka_unit_test(a_call_with_a_host_function_survives_each_failure),
		cmocka_unit_test(a_plain_call_allocates_nothing),
		cmocka_unit_test(capturing_survives_each_failure),
		cmocka_unit_test(saving_survives_each_failure),
		cmocka_unit_test(opening_survives_each_failure),
		cmocka_unit_test(restoring_survives_each_failure),
		cmocka_unit_test(restoring_another_snapshot_survives_each_failure),
		cmocka_unit_test(pools_survive_each_failure),
		cmocka_unit_test(pools_with_a_thread_survive_each_failure),
		cmocka_unit_test(a_release_survives_each_failure),
		cmocka_unit_test(writing_a_core_survives_each_failure),
		cmocka_unit_test(registering_survives_each_failure),
		cmocka_unit_test(a_restore_to_another_snapshot_that_fails_may_be_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
