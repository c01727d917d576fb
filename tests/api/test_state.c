/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one call leaves is gone after a restore: every class of registers, every place in memory,
 * however the call ended. Secrets are planted, then looked for.
 */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "function/sandbox.h"
#include "guest/state.h"

#define SECRET UINT64_C(0x5ec2e75ec2e71337)
#define EVERYTHING                                                                             \
	(STATE_GENERAL | STATE_FRAME_POINTER | STATE_X87 | STATE_MXCSR | STATE_VECTOR |        \
	 STATE_FLAGS | STATE_SELECTORS | STATE_PKRU)

/* --- how calls end --------------------------------------------------------------------------- */

static void *interrupt_soon(void *sandbox)
{
	/* Until there is a call that can be hit, and it has had the time to plant. */
	sleep_ns(in_lab() ? 200 * MS : 20 * MS);
	while (!mayfly_sandbox_interrupt(sandbox))
		sleep_ns(MS / 10);
	return NULL;
}

static void end_by_interrupt(struct box *b, uint64_t what)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, b->sb), 0);
	assert_code(call(b, "plant_then_spin", mayfly_u64(SECRET), mayfly_u64(what)),
		    MAYFLY_E_INTERRUPTED, &b->err);
	pthread_join(thread, NULL);
}

static void end_by_timeout(struct box *b, uint64_t what)
{
	assert_ok(mayfly_sandbox_set_limits(b->sb, in_lab() ? 100 * MS : 10 * MS, 0, &b->err),
		  &b->err);
	assert_code(call(b, "plant_then_spin", mayfly_u64(SECRET), mayfly_u64(what)),
		    MAYFLY_E_TIMEOUT, &b->err);
	assert_ok(mayfly_sandbox_set_limits(b->sb, 0, 0, &b->err), &b->err);
}

static void end_by_return(struct box *b, uint64_t what)
{
	/* The gate finds its way back by the frame pointer. */
	what &= ~(uint64_t)STATE_FRAME_POINTER;
	must(b, "plant_registers", mayfly_u64(SECRET), mayfly_u64(what));
}

static void end_by_leaving(struct box *b, uint64_t what)
{
	must(b, "plant_then_leave", mayfly_u64(SECRET), mayfly_u64(what));
}

static void end_by_undefined_instruction(struct box *b, uint64_t what)
{
	assert_code(call(b, "plant_then_fault", mayfly_u64(SECRET), mayfly_u64(what)),
		    MAYFLY_E_FAULT, &b->err);
}

static void end_by_page_fault(struct box *b, uint64_t what)
{
	assert_code(call(b, "plant_then_touch_null", mayfly_u64(SECRET), mayfly_u64(what)),
		    MAYFLY_E_FAULT, &b->err);
}

static const struct ending {
	const char *name;
	void (*end)(struct box *b, uint64_t what);
} endings[] = {
	{"return", end_by_return},
	{"leaving", end_by_leaving},
	{"undefined instruction", end_by_undefined_instruction},
	{"page fault", end_by_page_fault},
	{"interrupt", end_by_interrupt},
	{"timeout", end_by_timeout},
};

/* --- registers ------------------------------------------------------------------------------- */

static bool have_fsgsbase(void)
{
	mayfly_host_info info = {.size = sizeof(info)};
	mayfly_error err;

	assert_ok(mayfly_host_get_info(&info, &err), &err);
	return info.fsgsbase;
}

static struct state_registers look(struct box *b)
{
	struct state_registers r;
	mayfly_value v =
		must(b, "look_registers", mayfly_u64(have_fsgsbase() ? STATE_BASES : 0));

	assert_int_equal(v.as.bytes.len, sizeof(r));
	memcpy(&r, v.as.bytes.data, sizeof(r));
	return r;
}

/* Where in the record the secret is, or a piece of it; NULL: nowhere. */
static const char *find_secret(const struct state_registers *r)
{
	const uint8_t *bytes = (const uint8_t *)r;
	const uint64_t secret = SECRET;

	for (size_t i = 0; i + 4 <= sizeof(*r); i++)
		if (!memcmp(bytes + i, &secret, 4) ||
		    !memcmp(bytes + i, (const char *)&secret + 4, 4)) {
			print_error("a piece of the secret at offset %zu\n", i);
			return "found";
		}
	return NULL;
}

static void compare_registers(const char *ending, const struct state_registers *fresh,
			      const struct state_registers *now)
{
	const uint8_t *a = (const uint8_t *)fresh, *b = (const uint8_t *)now;

	for (size_t i = 0; i < sizeof(*fresh); i++)
		if (a[i] != b[i])
			fail_test("after %s: registers differ at offset %zu: %02x instead of "
				  "%02x",
				  ending, i, b[i], a[i]);
}

/* The test's own eyes: without a restore the secrets are there. */
static void planted_registers_are_seen_without_a_restore(void **state)
{
	struct box b = box_open("ending", NULL);
	struct state_registers r;

	(void)state;
	end_by_return(&b, STATE_VECTOR);
	r = look(&b);
	/* The lower ones carry the call's arguments. */
	for (int i = 8; i < 16; i++)
		assert_memory_equal(r.fxsave + 160 + 16 * i, &(uint64_t){SECRET}, 8);
	end_by_return(&b, STATE_X87);
	r = look(&b);
	assert_memory_equal(r.fxsave + 32, &(uint64_t){SECRET}, 8);
	end_by_return(&b, STATE_MXCSR);
	assert_int_equal(must(&b, "get_mxcsr").as.u32, 0xffff);
	box_close(&b);
}

static void all_registers_are_as_in_a_new_sandbox(void **state)
{
	struct box b = box_open("ending", NULL);
	struct state_registers fresh = look(&b);
	uint64_t what = EVERYTHING | (have_fsgsbase() ? STATE_BASES : 0);

	(void)state;
	assert_null(find_secret(&fresh));
	box_restore(&b);
	for (size_t i = 0; i < COUNT_OF(endings); i++)
		for (int round = 0; round < 3; round++) {
			struct state_registers now;

			endings[i].end(&b,
				       round == 2 ? what & ~(uint64_t)STATE_SELECTORS : what);
			box_restore(&b);
			now = look(&b);
			assert_null(find_secret(&now));
			compare_registers(endings[i].name, &fresh, &now);
			box_restore(&b);
		}
	box_close(&b);
}

static void system_flags_do_not_survive(void **state)
{
	struct box b = box_open("ending", NULL);
	struct state_registers fresh = look(&b);

	(void)state;
	/* AC is set then, which on PVM makes the guest's unaligned accesses fault: not these. */
	for (size_t i = 1; i < 4; i++) {
		struct state_registers now;

		endings[i].end(&b, STATE_FLAGS | STATE_SYSTEM_FLAGS);
		box_restore(&b);
		now = look(&b);
		assert_int_equal(now.rflags, fresh.rflags);
		box_restore(&b);
	}
	box_close(&b);
}

/* Each class alone: no other one's load hides it. */
static void each_class_of_registers_is_reset_by_itself(void **state)
{
	struct box b = box_open("ending", NULL);
	struct state_registers fresh = look(&b);

	(void)state;
	for (uint64_t what = 1; what <= STATE_FRAME_POINTER; what *= 2) {
		if ((what == STATE_BASES && !have_fsgsbase()) || what == STATE_SYSTEM_FLAGS)
			continue;
		for (size_t i = 0; i < 4; i++) {
			struct state_registers now;

			box_restore(&b);
			endings[i].end(&b, what);
			box_restore(&b);
			now = look(&b);
			compare_registers(endings[i].name, &fresh, &now);
		}
	}
	box_close(&b);
}

static void registers_are_reset_when_another_snapshot_is_restored(void **state)
{
	struct box b = box_open("ending", NULL);
	struct state_registers fresh = look(&b), now;
	mayfly_snapshot *later;

	(void)state;
	box_restore(&b);
	must(&b, "count");
	assert_ok(mayfly_sandbox_snapshot(b.sb, &later, &b.err), &b.err);
	for (size_t i = 0; i < 4; i++) {
		endings[i].end(&b, EVERYTHING);
		assert_ok(mayfly_sandbox_restore(b.sb, i % 2 ? b.snap : later, &b.err), &b.err);
		now = look(&b);
		assert_null(find_secret(&now));
		compare_registers(endings[i].name, &fresh, &now);
	}
	mayfly_snapshot_unref(later);
	box_close(&b);
}

static void debug_registers_and_system_registers_are_reset_after_a_fault(void **state)
{
	struct box b = box_open("ending", NULL);
	struct cpu_control c;
	struct cpu_regs r;
	const uint64_t *g = (const uint64_t *)&r;

	(void)state;
	end_by_page_fault(&b, EVERYTHING);
	box_restore(&b);
	/* Before the next entry nothing of the guest's is in the vCPU any more. */
	assert_ok(hv_vcpu_get_control(b.sb->inst.vcpu, &c, &b.err), &b.err);
	assert_int_equal(c.cr2, 0);
	assert_int_equal(c.cs, CPU_SEL_USER_CS);
	assert_int_equal(c.ss, CPU_SEL_USER_SS);
	assert_ok(hv_vcpu_get_regs(b.sb->inst.vcpu, &r, &b.err), &b.err);
	for (size_t i = 0; i < 16; i++)
		assert_true(g[i] != SECRET);
	box_close(&b);
}

/* --- snapshots keep what calls agreed on ----------------------------------------------------- */

static void control_words_outlive_calls_and_go_into_snapshots(void **state)
{
	struct box b = box_open("ending", NULL), c;
	double down, nearest = must(&b, "quotient", mayfly_f64(1), mayfly_f64(3)).as.f64;
	double up;
	mayfly_snapshot *snap;

	(void)state;
	must(&b, "set_mxcsr", mayfly_u32(0x5f80)); /* towards +infinity */
	must(&b, "set_x87_control", mayfly_u32(0x0b7f));
	up = must(&b, "quotient", mayfly_f64(1), mayfly_f64(3)).as.f64;
	assert_true(up > nearest);
	assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
	must(&b, "set_mxcsr", mayfly_u32(0x3f80)); /* towards -infinity */
	down = must(&b, "quotient", mayfly_f64(-1), mayfly_f64(3)).as.f64;
	assert_true(down < -nearest);
	/* A restore to the spawn's snapshot has the original, to the later one that one's. */
	box_restore(&b);
	assert_int_equal(must(&b, "get_mxcsr").as.u32, 0x1f80);
	assert_int_equal(must(&b, "get_x87_control").as.u32, 0x37f);
	assert_ok(mayfly_sandbox_restore(b.sb, snap, &b.err), &b.err);
	assert_int_equal(must(&b, "get_mxcsr").as.u32 & ~0x3fu, 0x5f80);
	assert_int_equal(must(&b, "get_x87_control").as.u32, 0xb7f);
	assert_true(must(&b, "quotient", mayfly_f64(1), mayfly_f64(3)).as.f64 == up);
	/* And so has a new sandbox of it; also after a fault in that one. */
	c = box_of(snap, NULL);
	assert_true(must(&c, "quotient", mayfly_f64(1), mayfly_f64(3)).as.f64 == up);
	end_by_page_fault(&c, EVERYTHING);
	box_restore(&c);
	assert_true(must(&c, "quotient", mayfly_f64(1), mayfly_f64(3)).as.f64 == up);
	assert_int_equal(must(&c, "get_x87_control").as.u32, 0xb7f);
	box_close(&c);
	box_close(&b);
}

static void segment_bases_set_by_the_guest_go_into_snapshots_and_come_back(void **state)
{
	struct box b = box_open("ending", NULL), c;
	struct state_registers before, r;
	mayfly_snapshot *snap;

	(void)state;
	if (!have_fsgsbase()) {
		box_close(&b);
		return;
	}
	before = look(&b);
	assert_true(before.fs_base != 0);
	assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
	c = box_of(snap, NULL);
	r = look(&c);
	assert_true(r.fs_base == before.fs_base && r.gs_base == before.gs_base);
	box_close(&c);
	box_close(&b);
}

/* --- memory ---------------------------------------------------------------------------------- */

static uint64_t find_in_memory(struct box *b)
{
	return must(b, "look_memory", mayfly_u64(~SECRET), mayfly_u64(100 << 10),
		    mayfly_bytes_of("", 0))
		.as.u64;
}

/* The host's own look: all of the guest's private memory, mapped or not. */
static void check_private_memory(struct box *b)
{
	const uint64_t *p = (const uint64_t *)(const void *)b->sb->inst.gm.private_mem;

	for (size_t i = 0; i < b->sb->inst.guest->map.private_len / 8; i++)
		if (p[i] == SECRET)
			fail_test("the secret is at guest-physical 0x%zx", i * 8);
}

static void plant_memory(struct box *b)
{
	static uint8_t area[40 << 10];

	must(b, "plant_memory", mayfly_u64(SECRET), mayfly_bytes_of(area, sizeof(area)));
}

static void planted_memory_is_seen_without_a_restore(void **state)
{
	struct box b = box_open("ending", NULL);

	(void)state;
	plant_memory(&b);
	assert_int_equal(find_in_memory(&b) & (STATE_DATA | STATE_BSS | STATE_HEAP |
					       STATE_STACK | STATE_CALL_BLOCK | STATE_TLS),
			 STATE_DATA | STATE_BSS | STATE_HEAP | STATE_STACK | STATE_CALL_BLOCK |
				 STATE_TLS);
	/* The call area too, which the next call's argument does not reach. */
	assert_memory_equal(b.sb->area + 4096, &(uint64_t){SECRET}, 8);
	box_close(&b);
}

/* With `many_pages` of a snapshot that is mapped, else of one that is copied. */
static void check_memory_gone(bool many_pages)
{
	struct box b = box_open("ending", NULL);

	if (many_pages) {
		mayfly_snapshot *snap;

		must(&b, "plant_memory", mayfly_u64(1), mayfly_bytes_of("", 0));
		assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
		box_close(&b);
		b = box_of(snap, NULL);
		assert_true(b.sb->inst.mapped);
	} else {
		assert_false(b.sb->inst.mapped);
	}
	for (size_t i = 0; i < COUNT_OF(endings); i++) {
		plant_memory(&b);
		endings[i].end(&b, EVERYTHING);
		box_restore(&b);
		check_private_memory(&b);
		assert_int_equal(find_in_memory(&b), 0);
		box_restore(&b);
	}
	box_close(&b);
}

static void memory_is_as_in_the_snapshot_that_was_copied(void **state)
{
	(void)state;
	check_memory_gone(false);
}

static void memory_is_as_in_the_snapshot_that_was_mapped(void **state)
{
	(void)state;
	check_memory_gone(true);
}

/* Byte for byte, against a second sandbox that has done nothing. */
static void all_memory_equals_a_new_sandboxs(void **state)
{
	struct box b = box_open("ending", NULL);
	struct box fresh = box_of(mayfly_snapshot_ref(b.snap), NULL);
	const struct gmem_map *map = &b.sb->inst.guest->map;
	const struct layout *l = &b.sb->guest->layout;

	(void)state;
	plant_memory(&b);
	end_by_undefined_instruction(&b, EVERYTHING);
	box_restore(&b);
	for (uint64_t at = 0; at < map->private_len; at += 4096) {
		struct fn_call x, y;

		/* Ring 0's stack is its own; the call block has a new seed and generation. */
		if (at == l->kernel_stack_top)
			continue;
		if (at != l->call_gpa) {
			const struct gmem_region *r =
				gmem_region_at(map, gva(FN_SUPERVISOR_VA + 0x2000));

			if (r && at - r->gpa < r->len)
				continue;
			if (memcmp(b.sb->inst.gm.private_mem + at,
				   fresh.sb->inst.gm.private_mem + at, 4096))
				fail_test("the page at guest-physical 0x%llx differs",
					  (unsigned long long)at);
			continue;
		}
		memcpy(&x, b.sb->call, sizeof(x));
		memcpy(&y, fresh.sb->call, sizeof(y));
		assert_memory_not_equal(x.seed, y.seed, sizeof(x.seed));
		assert_true(x.generation != y.generation);
		memset(x.seed, 0, sizeof(x.seed));
		memset(y.seed, 0, sizeof(y.seed));
		x.generation = y.generation = 0;
		assert_memory_equal(&x, &y, sizeof(x));
	}
	box_close(&fresh);
	box_close(&b);
}

static void secrets_do_not_get_into_other_sandboxes_or_later_ones(void **state)
{
	struct box b = box_open("ending", NULL);

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct box a = box_of(mayfly_snapshot_ref(b.snap), NULL);

		plant_memory(&a);
		if (i % 2)
			end_by_undefined_instruction(&a, EVERYTHING);
		check_private_memory(&b);
		assert_int_equal(find_in_memory(&b), 0);
		box_close(&a);
		/* The next one may get the same host memory. */
		a = box_of(mayfly_snapshot_ref(b.snap), NULL);
		check_private_memory(&a);
		assert_int_equal(find_in_memory(&a), 0);
		box_close(&a);
	}
	box_close(&b);
}

static void thread_local_variables_are_restored(void **state)
{
	struct box b = box_open("tls", NULL);

	(void)state;
	assert_true(must(&b, "self_pointer_is_right").as.boolean);
	for (int i = 0; i < 3; i++) {
		assert_true(must(&b, "as_initialised").as.boolean);
		assert_int_equal(must(&b, "add_up", mayfly_u32(5)).as.u64, 5);
		assert_int_equal(must(&b, "add_up", mayfly_u32(6)).as.u64, 11);
		assert_false(must(&b, "as_initialised").as.boolean);
		box_restore(&b);
	}
	box_close(&b);
}

/* --- what is never the same ------------------------------------------------------------------ */

static void generation_and_seed_differ_after_each_spawn_and_restore(void **state)
{
	struct box b = box_open("random", NULL);
	uint64_t seen[60];
	uint8_t seeds[60][32];
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct box c = box_of(mayfly_snapshot_ref(b.snap), NULL);
		struct box *from[] = {&b, &c, &c};

		for (int j = 0; j < 3; j++) {
			mayfly_sandbox_stats stats = {.size = sizeof(stats)};
			mayfly_value v;

			if (j != 1)
				box_restore(from[j]);
			v = must(from[j], "seed");
			assert_int_equal(v.as.bytes.len, 32);
			memcpy(seeds[n], v.as.bytes.data, 32);
			seen[n] = must(from[j], "generation").as.u64;
			assert_true(must(from[j], "generation").as.u64 == seen[n]);
			assert_ok(mayfly_sandbox_get_stats(from[j]->sb, &stats, &b.err),
				  &b.err);
			assert_true(stats.generation == seen[n]);
			assert_true(seen[n] != 0);
			for (size_t k = 0; k < n; k++) {
				assert_true(seen[k] != seen[n]);
				assert_memory_not_equal(seeds[k], seeds[n], 32);
			}
			n++;
		}
		box_close(&c);
	}
	box_close(&b);
}

static void random_bytes_differ_each_time(void **state)
{
	static const uint32_t lengths[] = {0, 1, 7, 32, 1023, 1024, 1025, 5000};
	struct box b = box_open("random", NULL);
	uint64_t values[50];
	unsigned ones = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		if (i % 3 == 0)
			box_restore(&b);
		values[i] = must(&b, "random_u64").as.u64;
		for (size_t j = 0; j < i; j++)
			assert_true(values[j] != values[i]);
		ones += (unsigned)__builtin_popcountll(values[i]);
	}
	/* 3,200 bits: eight standard deviations each way. */
	assert_in_range(ones, 1600 - 226, 1600 + 226);
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		mayfly_value v = must(&b, "random_bytes", mayfly_u32(lengths[i]));
		const uint8_t *p = v.as.bytes.data;
		size_t zeros = 0;

		assert_int_equal(v.as.bytes.len, lengths[i]);
		for (size_t j = 0; j < v.as.bytes.len; j++)
			zeros += !p[j];
		assert_true(zeros <= 1 + lengths[i] / 64);
	}
	box_close(&b);
}

static void the_stack_protectors_secret_differs_each_time(void **state)
{
	struct box b = box_open("ending", NULL);
	uint64_t seen[20];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(seen); i++) {
		seen[i] = must(&b, "canary").as.u64;
		assert_int_equal(seen[i] & 0xff, 0);
		assert_true(must(&b, "canary").as.u64 == seen[i]);
		for (size_t j = 0; j < i; j++)
			assert_true(seen[j] != seen[i]);
		box_restore(&b);
	}
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(planted_registers_are_seen_without_a_restore),
		cmocka_unit_test(all_registers_are_as_in_a_new_sandbox),
		cmocka_unit_test(system_flags_do_not_survive),
		cmocka_unit_test(each_class_of_registers_is_reset_by_itself),
		cmocka_unit_test(registers_are_reset_when_another_snapshot_is_restored),
		cmocka_unit_test(debug_registers_and_system_registers_are_reset_after_a_fault),
		cmocka_unit_test(control_words_outlive_calls_and_go_into_snapshots),
		cmocka_unit_test(
			segment_bases_set_by_the_guest_go_into_snapshots_and_come_back),
		cmocka_unit_test(planted_memory_is_seen_without_a_restore),
		cmocka_unit_test(memory_is_as_in_the_snapshot_that_was_copied),
		cmocka_unit_test(memory_is_as_in_the_snapshot_that_was_mapped),
		cmocka_unit_test(all_memory_equals_a_new_sandboxs),
		cmocka_unit_test(secrets_do_not_get_into_other_sandboxes_or_later_ones),
		cmocka_unit_test(thread_local_variables_are_restored),
		cmocka_unit_test(generation_and_seed_differ_after_each_spawn_and_restore),
		cmocka_unit_test(random_bytes_differ_each_time),
		cmocka_unit_test(the_stack_protectors_secret_differs_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
