/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile snapshot file: opened and, where that works, a VM is made of it (of the mock), run, captured,
 * restored both ways, saved and opened again.
 *
 * The input is the file. What it lacks at its end, up to the length in its header, is taken to be
 * zero, so that inputs are short. Number of pages and hashes are made right, unless the header's last
 * byte is odd.
 */
#include <string.h>

#include "fuzz.h"
#include "guest_fixture.h"
#include "snapshot_bytes.h"

#define MAX_FILE ((size_t)4 << 20)

static int ready(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	(void)context;
	guest_put(vm, op, FN_OP_READY);
	*exit = mock_out(FN_PORT_GATE);
	return 0;
}

/* What the host relies on is in place, whatever the file says. */
static void check_vm(mayfly_sandbox *sb)
{
	const struct guest *g = sb->inst.guest;
	struct mock_vm *vm = fixture_vm(sb);
	const struct layout *l = &sb->guest->layout;

	CHECK(memcmp(mock_physical(vm, 0, g->tables_len), g->tables, g->tables_len) == 0);
	CHECK(memcmp(mock_physical(vm, g->state_page * PAGE_SIZE, PAGE_SIZE),
		     sb->inst.snap->state, PAGE_SIZE) == 0);
	CHECK(sb->call->heap_start == l->heap_va);
	CHECK(sb->call->heap_end == l->heap_va + l->heap_len);
	CHECK(!mock_write(vm, FN_GATE_VA, "", 1));
	CHECK(!mock_write(vm, FN_FRESH_VA, "", 1));
	CHECK(!mock_read(vm, FN_SUPERVISOR_VA, &(char){0}, 1));
	CHECK(!mock_read(vm, 0, &(char){0}, 1));
	CHECK(mock_may_execute(vm, FN_GATE_ENTER));
	CHECK(!mock_may_execute(vm, FN_CALL_VA));
	for (uint32_t i = 0; i < g->map.count; i++)
		CHECK(!((g->map.regions[i].prot & GMEM_WRITE) &&
			mock_may_execute(vm, g->map.regions[i].va)));
}

static void save_and_reopen(const struct mayfly_snapshot *snap)
{
	struct mayfly_snapshot *again = NULL;
	struct snapshot_bytes saved;
	mayfly_error err;

	snapshot_bytes_save(snap, &saved);
	CHECK(snapshot_bytes_open(&saved, &again, &err) == 0);
	CHECK(again->npresent == snap->npresent);
	CHECK(memcmp(again->state, snap->state, PAGE_SIZE) == 0);
	fuzz_check_manifest(&function_guest_of(again->guest)->manifest, FN_IMAGE_MIN_VA,
			    FN_IMAGE_MAX_VA);
	mayfly_snapshot_unref(again);
	snapshot_bytes_free(&saved);
}

static void use(struct mayfly_snapshot *snap)
{
	mayfly_sandbox_options none = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct mayfly_snapshot *captured = NULL;
	mayfly_sandbox *sb = NULL;
	mayfly_error err;

	fuzz_check_text(snap->guest->name);
	CHECK(sandbox_new(&hv_mock, snap, &none, &sb, &err) == 0);
	check_vm(sb);
	CHECK(sandbox_capture(sb, &captured, &err) == 0);
	CHECK(sandbox_restore(sb, captured, &err) == 0);
	check_vm(sb);
	CHECK(sandbox_restore(sb, snap, &err) == 0);
	check_vm(sb);
	sandbox_free(sb);
	save_and_reopen(captured);
	mayfly_snapshot_unref(captured);
}

/* As long as its header says it is, within reason. */
static void complete(struct snapshot_bytes *b)
{
	uint64_t len = snapshot_bytes_header(b)->file_len;

	if (len > MAX_FILE || len <= b->len)
		return;
	b->data = realloc(b->data, len);
	CHECK(b->data);
	memset(b->data + b->len, 0, len - b->len);
	b->len = len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mayfly_snapshot *snap = NULL;
	struct snapshot_bytes b;
	mayfly_error err;
	int r;

	mock_reset();
	mock_drive(ready, NULL);
	snapshot_bytes_copy(data, size, &b);
	if (size >= PAGE_SIZE && !(data[PAGE_SIZE - 1] & 1)) {
		complete(&b);
		snapshot_bytes_fix(&b);
	}
	r = snapshot_bytes_open(&b, &snap, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
	} else {
		use(snap);
		mayfly_snapshot_unref(snap);
	}
	CHECK(mock_live() == 0);
	snapshot_bytes_free(&b);
	return 0;
}
