/* SPDX-License-Identifier: Apache-2.0 */
/* The process around the library: forks, what a child may do, what is left when all is freed. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run `body` in a child, which has to exit by itself; 0 is success. */
static void in_child(void (*body)(struct box *b), struct box *b)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		body(b);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_test("the child ended with status 0x%x", status);
}

static void do_nothing(struct box *b)
{
	(void)b;
}

static void free_it(struct box *b)
{
	mayfly_sandbox_free(b->sb);
	mayfly_snapshot_unref(b->snap);
}

/* What the child has mapped meanwhile may lie where the sandbox was. */
static void map_then_free(struct box *b)
{
	enum { PIECES = 64 };
	const size_t len = (size_t)256 << 20;
	uint8_t *pieces[PIECES];

	for (int i = 0; i < PIECES; i++) {
		pieces[i] = mmap(NULL, len, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (pieces[i] == MAP_FAILED)
			_exit(2);
		/* A page each, not a huge one. */
		madvise(pieces[i], len, MADV_NOHUGEPAGE);
		for (size_t at = 0; at < len; at += len / 16)
			pieces[i][at] = (uint8_t)(i + 1);
	}
	free_it(b);
	for (int i = 0; i < PIECES; i++)
		for (size_t at = 0; at < len; at += len / 16)
			if (pieces[i][at] != (uint8_t)(i + 1))
				_exit(3);
}

static void make_another(struct box *b)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	const mayfly_function *count;
	mayfly_sandbox *sb;
	mayfly_value v;

	o.timeout_ns = AGES;
	if (mayfly_snapshot_function(b->snap, "count", &count, NULL) < 0)
		_exit(2);
	for (uint64_t i = 0; i < 3; i++) {
		mayfly_error err;

		if (mayfly_sandbox_new(b->snap, &o, &sb, &err) < 0) {
			print_error("%s\n", err.message);
			_exit(3);
		}
		for (uint64_t j = 1; j < 4; j++)
			if (mayfly_sandbox_call(sb, count, NULL, 0, &v, NULL) < 0 ||
			    v.as.u64 != j)
				_exit(4);
		if (mayfly_sandbox_restore(sb, NULL, NULL) < 0)
			_exit(5);
		if (i == 1)
			mayfly_sandbox_free(b->sb); /* the parent's, in between */
		mayfly_sandbox_free(sb);
	}
	mayfly_snapshot_unref(b->snap);
}

static void check_fork(void (*body)(struct box *b), bool mapped)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;

	o.timeout_ns = AGES;
	b = box_open("ending", &o);
	if (mapped) {
		mayfly_snapshot *snap;

		must(&b, "plant_memory", mayfly_u64(1), mayfly_bytes_of("", 0));
		assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
		box_close(&b);
		b = box_of(snap, &o);
	}
	assert_int_equal(must(&b, "count").as.u64, 1);
	in_child(body, &b);
	/* The parent goes on. */
	assert_int_equal(must(&b, "count").as.u64, 2);
	box_restore(&b);
	assert_int_equal(must(&b, "count").as.u64, 1);
	in_child(body, &b);
	assert_int_equal(must(&b, "count").as.u64, 2);
	box_close(&b);
}

static void a_child_that_exits_does_no_harm(void **state)
{
	(void)state;
	check_fork(do_nothing, false);
	check_fork(do_nothing, true);
}

static void a_child_may_free_what_it_inherited(void **state)
{
	(void)state;
	check_fork(free_it, false);
	check_fork(free_it, true);
}

static void freeing_in_a_child_does_not_unmap_what_the_child_mapped(void **state)
{
	(void)state;
	check_fork(map_then_free, false);
	check_fork(map_then_free, true);
}

static void a_child_makes_sandboxes_of_its_own(void **state)
{
	(void)state;
	check_fork(make_another, false);
	check_fork(make_another, true);
}

static void refuse(int r, const mayfly_error *err)
{
	if (r != MAYFLY_E_PROTOCOL || !strstr(err->message, "forked this one"))
		_exit(6);
}

static void use_it(struct box *b)
{
	const mayfly_function *fn;
	mayfly_snapshot *snap;
	mayfly_value v;

	if (mayfly_snapshot_function(b->snap, "count", &fn, &b->err) < 0)
		_exit(7);
	refuse(mayfly_sandbox_call(b->sb, fn, NULL, 0, &v, &b->err), &b->err);
	refuse(mayfly_sandbox_restore(b->sb, NULL, &b->err), &b->err);
	refuse(mayfly_sandbox_snapshot(b->sb, &snap, &b->err), &b->err);
	refuse(mayfly_sandbox_write_core(b->sb, "/nonexistent/core", &b->err), &b->err);
	refuse(mayfly_sandbox_set_dispatch(b->sb, MAYFLY_DISPATCH_HOT, &b->err), &b->err);
	mayfly_sandbox_free(b->sb);
}

static void what_a_child_inherited_refuses_to_run_there(void **state)
{
	(void)state;
	check_fork(use_it, false);
	check_fork(use_it, true);
}

static void a_child_leaves_the_parents_memory_alone(void **state)
{
	struct box b = box_open("types", NULL);
	static uint8_t data[8192];
	mayfly_value v;

	(void)state;
	memset(data, 0x5c, sizeof(data));
	v = must(&b, "echo_bytes", mayfly_bytes_of(data, sizeof(data)));
	in_child(free_it, &b);
	/* The view of guest memory is still good here. */
	assert_memory_equal(v.as.bytes.data, data, sizeof(data));
	box_close(&b);
}

/* --- what is left ---------------------------------------------------------------------------- */

static void use_everything(void)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_snapshot *snap, *opened;
	struct box b, c;
	mayfly_pool *pool;
	mayfly_sandbox *sb;

	o.timeout_ns = AGES;
	b = box_open("ending", &o);
	must(&b, "count");
	call(&b, "plant_then_fault", mayfly_u64(1), mayfly_u64(1));
	assert_ok(mayfly_sandbox_write_core(b.sb, temporary_path("core"), &b.err), &b.err);
	box_restore(&b);
	must(&b, "plant_memory", mayfly_u64(1), mayfly_bytes_of("", 0));
	assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
	assert_ok(mayfly_snapshot_save(snap, temporary_path("saved"), &b.err), &b.err);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &opened, &b.err), &b.err);
	c = box_of(opened, NULL);
	must(&c, "count");
	box_close(&c);
	assert_ok(mayfly_pool_new(snap, NULL, &pool, &b.err), &b.err);
	assert_ok(mayfly_pool_fill(pool, 2, &b.err), &b.err);
	assert_ok(mayfly_pool_acquire(pool, 0, &sb, &b.err), &b.err);
	mayfly_pool_release(pool, sb);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
	box_close(&b);
	temporary_remove();
}

static void everything_that_was_made_can_be_given_back(void **state)
{
	int files = 0, maps = 0;

	(void)state;
	/* Memory is counted by the tests in which it runs out. */
	for (int i = 0; i < 8; i++) {
		if (i == 4) {
			files = descriptors_open();
			maps = mappings();
		}
		use_everything();
	}
	assert_int_equal(descriptors_open(), files);
	assert_int_equal(mappings(), maps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_that_exits_does_no_harm),
		cmocka_unit_test(a_child_may_free_what_it_inherited),
		cmocka_unit_test(freeing_in_a_child_does_not_unmap_what_the_child_mapped),
		cmocka_unit_test(a_child_makes_sandboxes_of_its_own),
		cmocka_unit_test(what_a_child_inherited_refuses_to_run_there),
		cmocka_unit_test(a_child_leaves_the_parents_memory_alone),
		cmocka_unit_test(everything_that_was_made_can_be_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
