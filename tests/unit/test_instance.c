/* SPDX-License-Identifier: Apache-2.0 */
/* VMs made from snapshots, and the way back: what is copied, what is not, and what failures leave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>

#include "fail_alloc.h"
#include "guest_fixture.h"

static struct mayfly_snapshot *snap;
static mayfly_sandbox *sb;
static struct mock_vm *vm;
static mayfly_error err;

static int ready(struct mock_vm *of, void *unused, struct hv_exit *exit)
{
	(void)unused;
	guest_put(of, op, FN_OP_READY);
	*exit = mock_out(FN_PORT_GATE);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	mock_reset();
	mock_drive(ready, NULL);
	snap = fixture_simple();
	sb = fixture_sandbox(snap, NULL);
	vm = fixture_vm(sb);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_free(sb);
	mayfly_snapshot_unref(snap);
	return mock_live() ? -1 : 0;
}

static uint64_t heap_page(uint64_t n)
{
	const struct layout *l = fixture_layout(snap);

	assert_true((n + 1) * PAGE_SIZE <= l->heap_len);
	return l->heap_va + n * PAGE_SIZE;
}

static uint64_t heap_pages(void)
{
	return fixture_layout(snap)->heap_len / PAGE_SIZE;
}

static void scribble(uint64_t va)
{
	uint8_t junk[PAGE_SIZE];

	memset(junk, 0xcc, sizeof(junk));
	assert_true(mock_write(vm, va, junk, sizeof(junk)));
}

static uint8_t byte_at(uint64_t va)
{
	uint8_t b = 0;

	assert_true(mock_read(vm, va, &b, 1));
	return b;
}

/* All private memory is the snapshot's, but for what the host writes anew for each call. */
static void check_restored(const struct mayfly_snapshot *to)
{
	const struct guest *g = to->guest;
	uint64_t call = fixture_layout(to)->call_gpa / PAGE_SIZE;

	for (uint64_t page = g->tables_len / PAGE_SIZE; page < g->map.private_len / PAGE_SIZE;
	     page++) {
		const uint8_t *is = mock_physical(vm, page * PAGE_SIZE, PAGE_SIZE);

		if (page == call)
			continue;
		if (bitmap_test(to->present, page))
			assert_memory_equal(is, to->image + page * PAGE_SIZE, PAGE_SIZE);
		else
			assert_true(page_is_zero(is));
	}
	assert_memory_equal(mock_physical(vm, 0, g->tables_len), g->tables, g->tables_len);
}

static void restore(struct mayfly_snapshot *to)
{
	assert_int_equal(sandbox_restore(sb, to, &err), 0);
}

static struct mayfly_snapshot *capture(void)
{
	struct mayfly_snapshot *s = NULL;

	assert_int_equal(sandbox_capture(sb, &s, &err), 0);
	return s;
}

/* A snapshot with more pages than are copied: its VMs map it. */
static struct mayfly_snapshot *large_snapshot(uint8_t mark)
{
	struct mayfly_snapshot *s;

	for (uint64_t i = 0; i < heap_pages(); i++)
		assert_true(mock_write(vm, heap_page(i) + 5, &mark, 1));
	s = capture();
	assert_true(s->npresent > 24);
	restore(NULL);
	return s;
}

static void respawn(struct mayfly_snapshot *from)
{
	sandbox_free(sb);
	sb = fixture_sandbox(from, NULL);
	vm = fixture_vm(sb);
}

/* --- new ones -------------------------------------------------------------------------------- */

static void new_vm_has_a_logged_and_a_read_only_slot(void **state)
{
	const struct gmem_map *map = &snap->guest->map;
	const struct hv_slot *own = &vm->slots[INSTANCE_SLOT_PRIVATE].slot;
	const struct hv_slot *shared = &vm->slots[INSTANCE_SLOT_SHARED].slot;

	(void)state;
	assert_int_equal(own->gpa, 0);
	assert_int_equal(own->len, map->private_len);
	assert_true(own->log_dirty);
	assert_false(own->readonly);
	assert_int_equal(shared->gpa, map->shared_gpa);
	assert_int_equal(shared->len, map->shared_len);
	assert_ptr_equal(shared->host, snap->guest->shared);
	assert_true(shared->readonly);
	check_restored(snap);
}

static void guest_cannot_write_tables_state_or_ring_0(void **state)
{
	(void)state;
	assert_false(mock_write(vm, FN_GATE_VA, "x", 1));
	assert_false(mock_write(vm, FN_FRESH_VA, "x", 1));
	assert_false(mock_write(vm, FN_SUPERVISOR_VA, "x", 1));
	assert_false(mock_read(vm, FN_SUPERVISOR_VA, &(char){0}, 1));
	assert_false(mock_read(vm, fixture_layout(snap)->kernel_stack_top - 8, &(char){0}, 1));
	assert_false(mock_read(vm, 0, &(char){0}, 1));
	assert_true(mock_write(vm, FN_CALL_VA, "x", 1));
	assert_false(mock_may_execute(vm, FN_CALL_VA));
	assert_true(mock_may_execute(vm, FN_GATE_VA));
}

static void vms_of_one_snapshot_do_not_see_each_other(void **state)
{
	mayfly_sandbox *other = fixture_sandbox(snap, NULL);

	(void)state;
	scribble(heap_page(0));
	assert_int_equal(byte_at(heap_page(0)), 0xcc);
	vm = fixture_vm(other);
	assert_int_equal(byte_at(heap_page(0)), 0);
	sandbox_free(other);
}

/* --- restoring ------------------------------------------------------------------------------- */

static void restore_copies_exactly_what_was_written(void **state)
{
	const struct gmem_region *data = fixture_region(snap, "data");
	uint64_t stack = fixture_layout(snap)->stack_top - PAGE_SIZE;

	(void)state;
	restore(NULL);
	assert_int_equal(sb->inst.last_restored, 1); /* the call block, by the host */
	scribble(heap_page(1));
	scribble(heap_page(7));
	scribble(data->va);
	scribble(stack);
	restore(NULL);
	check_restored(snap);
	assert_int_equal(sb->inst.last_restored, 5);
}

static void call_block_and_area_hold_nothing_of_an_earlier_call(void **state)
{
	char secret[3000];
	mayfly_value args[2] = {mayfly_i64(0x5ec5e7), mayfly_i64(2)};
	struct fn_call call;
	uint64_t va;

	(void)state;
	memset(secret, 's', sizeof(secret));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(
			sandbox_push_bytes(sb, secret, sizeof(secret), false, &va, &err), 0);
	/* Fails after its arguments were put there: the mock's guest says READY. */
	assert_int_equal(sandbox_call(sb, fixture_function(snap, "add"), args, 2, NULL, &err),
			 MAYFLY_E_PROTOCOL);
	restore(NULL);
	check_restored(snap);
	assert_int_equal(sb->inst.last_restored, 1 + 2); /* call block, two pages of the area */
	guest_read_call(vm, &call);
	assert_int_equal(call.iregs[0] | call.iregs[1] | call.fn | call.reply, 0);
}

static void every_restore_gives_fresh_randomness_and_generation(void **state)
{
	struct fn_call first, second;

	(void)state;
	guest_read_call(vm, &first);
	restore(NULL);
	guest_read_call(vm, &second);
	assert_int_not_equal(first.generation, second.generation);
	assert_memory_not_equal(first.seed, second.seed, sizeof(first.seed));
	assert_int_equal(second.heap_start, fixture_layout(snap)->heap_va);
}

/* They stay in the log, so that writing them costs no exit; after a while they leave it. */
static void pages_no_longer_written_are_cleaned_after_a_while(void **state)
{
	unsigned restores = 0;

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		scribble(heap_page(i));
	restore(NULL);
	assert_int_equal(sb->inst.last_restored, 11);
	assert_int_equal(mock_count(MOCK_VM_CLEAN), 0);
	while (sb->inst.last_restored > 2) {
		scribble(heap_page(0));
		restore(NULL);
		check_restored(snap);
		assert_true(++restores < 100);
	}
	assert_int_equal(sb->inst.last_restored, 2); /* that one, and the call block */
	assert_int_equal(vm->cleaned, 9);
	/* A page that was cleaned is logged again when it is written again. */
	scribble(heap_page(5));
	restore(NULL);
	check_restored(snap);
}

static void restore_resets_the_vcpu_only_if_the_guest_left_ring_3(void **state)
{
	struct mock_step down = {.exit = {.kind = HV_EXIT_SHUTDOWN}};

	(void)state;
	restore(NULL);
	assert_int_equal(vm->resets, 0);
	mock_play(&down, 1);
	assert_int_equal(
		sandbox_call(sb, fixture_function(snap, "nothing"), NULL, 0, NULL, &err),
		MAYFLY_E_FAULT);
	restore(NULL);
	assert_int_equal(vm->resets, 1);
	restore(NULL);
	assert_int_equal(vm->resets, 1);
	assert_int_equal(vm->regs.rip, FN_GATE_ENTER);
}

static void vcpu_that_ring_3_cannot_reset_is_reset_by_every_restore(void **state)
{
	struct mayfly_snapshot *s;
	mayfly_sandbox *other;

	(void)state;
	mock_host()->ring3_resets = mock_host()->fsgsbase = false;
	s = fixture_simple();
	other = fixture_sandbox(s, NULL);
	assert_int_equal(sandbox_restore(other, NULL, &err), 0);
	assert_int_equal(fixture_vm(other)->resets, 1);
	sandbox_free(other);
	mayfly_snapshot_unref(s);
}

/* --- capturing ------------------------------------------------------------------------------- */

static void capture_holds_what_was_written_but_no_call(void **state)
{
	const struct layout *l = fixture_layout(snap);
	struct mayfly_snapshot *s;

	(void)state;
	scribble(heap_page(3));
	assert_true(mock_write(vm, FN_CALL_VA + offsetof(struct fn_call, slots), "secret", 6));
	s = capture();
	assert_false(bitmap_test(s->present, l->call_gpa / PAGE_SIZE));
	for (uint64_t i = 0; i < FIXTURE_CALL_AREA / PAGE_SIZE; i++)
		assert_false(bitmap_test(s->present, l->area_gpa / PAGE_SIZE + i));
	assert_int_equal(s->npresent, snap->npresent + 1);
	scribble(heap_page(4));
	restore(s);
	check_restored(s);
	assert_int_equal(byte_at(heap_page(3)), 0xcc);
	assert_int_equal(byte_at(heap_page(4)), 0);
	mayfly_snapshot_unref(s);
}

static void capture_takes_the_vcpu_s_state(void **state)
{
	const struct fn_fresh *fresh;
	struct mayfly_snapshot *s;

	(void)state;
	memset(vm->xsave, 0x3c, sizeof(vm->xsave));
	vm->control.fs_base = 0x1fe000;
	vm->control.gs_base = 0x1fd000;
	s = capture();
	fresh = (const struct fn_fresh *)(const void *)s->state;
	assert_int_equal(fresh->fs_base, 0x1fe000);
	assert_int_equal(fresh->gs_base, 0x1fd000);
	assert_int_equal(fresh->xsave[100], 0x3c);
	assert_int_equal(fresh->flags, FN_FRESH_FSGSBASE | FN_FRESH_HAVE_XSAVE);
	restore(s);
	assert_memory_equal(mock_physical(vm, fixture_layout(snap)->state_gpa, PAGE_SIZE),
			    s->state, PAGE_SIZE);
	mayfly_snapshot_unref(s);
}

/* What the guest freed and zeroed is not in a snapshot taken later. */
static void capture_of_zeroed_pages_holds_none(void **state)
{
	static const uint8_t zero[PAGE_SIZE];
	struct mayfly_snapshot *first, *second;

	(void)state;
	scribble(heap_page(0));
	first = capture();
	restore(first);
	assert_true(mock_write(vm, heap_page(0), zero, sizeof(zero)));
	second = capture();
	assert_int_equal(second->npresent, snap->npresent);
	restore(second);
	check_restored(second);
	mayfly_snapshot_unref(first);
	mayfly_snapshot_unref(second);
}

static void unused_vm_is_brought_to_the_gate_for_a_capture(void **state)
{
	struct mayfly_snapshot *s = capture();

	(void)state;
	assert_int_equal(vm->runs, 1);
	mayfly_snapshot_unref(s);
	s = capture();
	assert_int_equal(vm->runs, 1);
	mayfly_snapshot_unref(s);
}

static void ask(struct mock_vm *of, void *which)
{
	guest_put(of, op, *(uint32_t *)which);
	guest_put(of, arg[0], fixture_import(snap, "lookup"));
}

static int never(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		 mayfly_value *out, mayfly_error *e)
{
	(void)context, (void)of, (void)args, (void)nargs, (void)out, (void)e;
	assert_true(false);
	return 0;
}

/* A crafted state could get code of its own run on the way to the gate. */
static void guest_on_its_way_to_the_gate_is_served_nothing(void **state)
{
	const mayfly_host_function lookup = {"lookup", "bytes(string)", never, NULL};

	(void)state;
	assert_int_equal(sandbox_register(sb, &lookup, &err), 0);
	for (uint32_t op = FN_OP_RESULT; op <= FN_OP_SYSCALL + 1; op++) {
		struct mock_step step = {
			.act = ask, .context = &op, .exit = mock_out(FN_PORT_GATE)};

		mock_play(&step, 1);
		assert_int_equal(sandbox_warm(sb, &err), MAYFLY_E_PROTOCOL);
		assert_true(sb->poisoned);
		restore(NULL);
	}
}

/* --- other snapshots ------------------------------------------------------------------------- */

static void restore_between_copied_snapshots_leaves_nothing(void **state)
{
	struct mayfly_snapshot *a, *b;

	(void)state;
	scribble(heap_page(0));
	a = capture();
	restore(snap);
	scribble(heap_page(1));
	b = capture();
	for (unsigned i = 0; i < 3; i++) {
		restore(a);
		check_restored(a);
		scribble(heap_page(2 + i));
		restore(b);
		check_restored(b);
		scribble(heap_page(0));
		restore(NULL);
		check_restored(b);
		restore(snap);
		check_restored(snap);
	}
	mayfly_snapshot_unref(a);
	mayfly_snapshot_unref(b);
}

static void restore_between_mapped_snapshots_leaves_nothing(void **state)
{
	struct mayfly_snapshot *a = large_snapshot(1), *b = large_snapshot(2);

	(void)state;
	respawn(a);
	assert_true(sb->inst.mapped);
	check_restored(a);
	for (unsigned i = 0; i < 3; i++) {
		scribble(heap_page(i));
		restore(b);
		check_restored(b);
		scribble(heap_page(3));
		restore(NULL);
		check_restored(b);
		restore(snap);
		check_restored(snap);
		restore(a);
		check_restored(a);
	}
	mayfly_snapshot_unref(a);
	mayfly_snapshot_unref(b);
}

static void copied_vm_can_be_restored_to_a_large_snapshot(void **state)
{
	struct mayfly_snapshot *large = large_snapshot(3);

	(void)state;
	assert_false(sb->inst.mapped);
	restore(large);
	check_restored(large);
	restore(snap);
	check_restored(snap);
	mayfly_snapshot_unref(large);
}

static void snapshot_of_another_guest_is_refused(void **state)
{
	struct mayfly_snapshot *other = fixture_simple();

	(void)state;
	assert_int_equal(sandbox_restore(sb, other, &err), MAYFLY_E_INVALID);
	assert_false(sb->poisoned);
	mayfly_snapshot_unref(other);
}

static void snapshots_outlive_whoever_made_them(void **state)
{
	struct mayfly_snapshot *s;

	(void)state;
	scribble(heap_page(0));
	s = capture();
	respawn(s);
	mayfly_snapshot_unref(s);
	assert_int_equal(byte_at(heap_page(0)), 0xcc);
	scribble(heap_page(1));
	restore(NULL);
	assert_int_equal(byte_at(heap_page(1)), 0);
}

/* --- failures -------------------------------------------------------------------------------- */

static void failure_of_each_step_of_making_a_vm_leaks_nothing(void **state)
{
	static const enum mock_op ops[] = {MOCK_VM_NEW, MOCK_VM_MAP, MOCK_VCPU_NEW};
	mayfly_sandbox_options none = MAYFLY_SANDBOX_OPTIONS_INIT;
	uint64_t live = mock_live();
	uint32_t refs = snap->refs;
	unsigned fds = fixture_open_fds();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		for (uint64_t nth = 1; nth <= (ops[i] == MOCK_VM_MAP ? 2 : 1); nth++) {
			mayfly_sandbox *other = NULL;

			mock_fail(ops[i], nth, MAYFLY_E_HYPERVISOR);
			assert_int_equal(sandbox_new(&hv_mock, snap, &none, &other, &err),
					 MAYFLY_E_HYPERVISOR);
			assert_null(other);
			assert_int_equal(mock_live(), live);
			assert_int_equal(snap->refs, refs);
			assert_int_equal(fixture_open_fds(), fds);
		}
	}
}

static void running_out_of_memory_while_making_a_vm_leaks_nothing(void **state)
{
	const mayfly_host_function lookup = {"lookup", "bytes(string)", never, NULL};
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	uint64_t live = mock_live();
	size_t n;

	(void)state;
	options.host_functions = &lookup;
	options.host_function_count = 1;
	for (n = 1;; n++) {
		mayfly_sandbox *other = NULL;
		int r;

		fail_alloc_at(n);
		r = sandbox_new(&hv_mock, snap, &options, &other, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, 0);
			sandbox_free(other);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(mock_live(), live);
	}
	assert_true(n > 4);
}

static void failed_restore_poisons_and_can_be_tried_again(void **state)
{
	struct mayfly_snapshot *large = large_snapshot(4);
	uint64_t va;

	(void)state;
	respawn(large);
	for (unsigned other = 0; other < 2; other++) {
		struct mayfly_snapshot *to = other ? snap : NULL;
		const enum mock_op op = other ? MOCK_VM_CLEAN : MOCK_VM_DIRTY;

		scribble(heap_page(0));
		assert_int_equal(sandbox_push_bytes(sb, "secret", 6, true, &va, &err), 0);
		mock_fail(op, 1, MAYFLY_E_HYPERVISOR);
		assert_int_equal(sandbox_restore(sb, to, &err), MAYFLY_E_HYPERVISOR);
		assert_true(sb->poisoned);
		restore(to);
		assert_false(sb->poisoned);
		check_restored(to ? to : large);
	}
	mayfly_snapshot_unref(large);
}

static void failed_reset_of_the_vcpu_is_made_up_for(void **state)
{
	struct mock_step down = {.exit = {.kind = HV_EXIT_SHUTDOWN}};

	(void)state;
	mock_play(&down, 1);
	assert_int_equal(
		sandbox_call(sb, fixture_function(snap, "nothing"), NULL, 0, NULL, &err),
		MAYFLY_E_FAULT);
	mock_fail(MOCK_VCPU_RESET, 1, MAYFLY_E_HYPERVISOR);
	assert_int_equal(sandbox_restore(sb, NULL, &err), MAYFLY_E_HYPERVISOR);
	assert_true(sb->poisoned);
	assert_int_equal(vm->resets, 0);
	restore(NULL);
	assert_int_equal(vm->resets, 1);
}

static void failure_of_each_step_of_a_capture_leaks_nothing(void **state)
{
	static const enum mock_op ops[] = {MOCK_VM_DIRTY, MOCK_VCPU_GET_XSAVE,
					   MOCK_VCPU_GET_CONTROL};
	struct mayfly_snapshot *s = capture();
	unsigned fds;
	size_t n;

	(void)state;
	mayfly_snapshot_unref(s);
	fds = fixture_open_fds();
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		s = NULL;
		mock_fail(ops[i], 1, MAYFLY_E_HYPERVISOR);
		assert_int_equal(sandbox_capture(sb, &s, &err), MAYFLY_E_HYPERVISOR);
		assert_null(s);
		assert_int_equal(fixture_open_fds(), fds);
	}
	for (n = 1;; n++) {
		int r;

		s = NULL;
		fail_alloc_at(n);
		r = sandbox_capture(sb, &s, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, 0);
			mayfly_snapshot_unref(s);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(fixture_open_fds(), fds);
	}
	assert_true(n > 3);
	assert_false(sb->poisoned);
	assert_int_equal(fixture_open_fds(), fds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_vm_has_a_logged_and_a_read_only_slot),
		TEST(guest_cannot_write_tables_state_or_ring_0),
		TEST(vms_of_one_snapshot_do_not_see_each_other),
		TEST(restore_copies_exactly_what_was_written),
		TEST(call_block_and_area_hold_nothing_of_an_earlier_call),
		TEST(every_restore_gives_fresh_randomness_and_generation),
		TEST(pages_no_longer_written_are_cleaned_after_a_while),
		TEST(restore_resets_the_vcpu_only_if_the_guest_left_ring_3),
		TEST(vcpu_that_ring_3_cannot_reset_is_reset_by_every_restore),
		TEST(capture_holds_what_was_written_but_no_call),
		TEST(capture_takes_the_vcpu_s_state),
		TEST(capture_of_zeroed_pages_holds_none),
		TEST(unused_vm_is_brought_to_the_gate_for_a_capture),
		TEST(guest_on_its_way_to_the_gate_is_served_nothing),
		TEST(restore_between_copied_snapshots_leaves_nothing),
		TEST(restore_between_mapped_snapshots_leaves_nothing),
		TEST(copied_vm_can_be_restored_to_a_large_snapshot),
		TEST(snapshot_of_another_guest_is_refused),
		TEST(snapshots_outlive_whoever_made_them),
		TEST(failure_of_each_step_of_making_a_vm_leaks_nothing),
		TEST(running_out_of_memory_while_making_a_vm_leaks_nothing),
		TEST(failed_restore_poisons_and_can_be_tried_again),
		TEST(failed_reset_of_the_vcpu_is_made_up_for),
		TEST(failure_of_each_step_of_a_capture_leaks_nothing),
	};

	return cmocka_run_group_tests_name("instance", tests, NULL, NULL);
}
