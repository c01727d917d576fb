/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elf_builder.h"

#define NEED(condition, why)                                                                   \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "guest_fixture: %s: %s\n", #condition, (why));         \
			abort();                                                               \
		}                                                                              \
	} while (0)

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
	return value ? value : fallback;
}

static void declare(struct elfb *b, const struct fixture *f)
{
	/* Functions lie 8 bytes apart, as far as the text reaches; none is ever run. */
	for (size_t i = 0; f->exports && f->exports[i].name; i++) {
		uint64_t offset = i * 8 % ELFB_TEXT_SIZE;

		elfb_export(b, f->exports[i].name, f->exports[i].signature, offset);
		if (i * 8 < ELFB_TEXT_SIZE)
			elfb_symbol(b, f->exports[i].name, b->text_va + offset, 8,
				    ELF64_ST_INFO(STB_GLOBAL, STT_FUNC));
	}
	for (size_t i = 0; f->imports && f->imports[i].name; i++)
		elfb_import(b, f->imports[i].name, f->imports[i].signature);
}

struct mayfly_snapshot *fixture_load(const struct fixture *f)
{
	const struct function_sizes sizes = {
		.memory = or_default(f->memory, FIXTURE_MEMORY),
		.stack = or_default(f->stack, FIXTURE_STACK),
		.call_area = or_default(f->call_area, FIXTURE_CALL_AREA),
	};
	struct mayfly_snapshot *snap = NULL;
	mayfly_error err = {0};
	struct elfb b;
	int r;

	elfb_init(&b, ET_DYN);
	elfb_abi(&b, FN_ABI_VERSION);
	declare(&b, f);
	elfb_finish(&b);
	r = function_load(&(struct function_source){b.data, b.len, "fixture"}, &sizes,
			  mock_host(), &snap, &err);
	elfb_free(&b);
	NEED(r == 0, err.message);
	return snap;
}

struct mayfly_snapshot *fixture_simple(void)
{
	static const struct fixture_name exports[] = {
		{"add", "i64(i64,i64)"}, {"nothing", "void()"}, {NULL, NULL}};
	static const struct fixture_name imports[] = {{"lookup", "bytes(string)"},
						      {NULL, NULL}};

	return fixture_load(&(struct fixture){.exports = exports, .imports = imports});
}

mayfly_sandbox *fixture_sandbox(struct mayfly_snapshot *snap,
				const mayfly_sandbox_options *options)
{
	mayfly_sandbox_options none = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox *sb = NULL;
	mayfly_error err = {0};
	int r = sandbox_new(&hv_mock, snap, options ? options : &none, &sb, &err);

	NEED(r == 0, err.message);
	return sb;
}

const mayfly_function *fixture_function(const struct mayfly_snapshot *snap, const char *name)
{
	const mayfly_function *fn = NULL;
	mayfly_error err = {0};
	int r = manifest_find(&function_guest_of(snap->guest)->manifest, name, &fn, &err);

	NEED(r == 0, err.message);
	return fn;
}

uint64_t fixture_import(const struct mayfly_snapshot *snap, const char *name)
{
	const struct manifest_import *import =
		manifest_import_named(&function_guest_of(snap->guest)->manifest, name);

	NEED(import, name);
	return import->note_va;
}

struct mock_vm *fixture_vm(mayfly_sandbox *sb)
{
	return mock_vm_of(sb->inst.vcpu);
}

const struct layout *fixture_layout(const struct mayfly_snapshot *snap)
{
	return &function_guest_of(snap->guest)->layout;
}

const struct gmem_region *fixture_region(const struct mayfly_snapshot *snap, const char *name)
{
	const struct gmem_map *map = &snap->guest->map;

	for (uint32_t i = 0; i < map->count; i++)
		if (!strncmp(map->regions[i].name, name, GMEM_MAX_NAME - 1))
			return &map->regions[i];
	NEED(false, name);
	return NULL;
}

unsigned fixture_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	NEED(dir, "/proc/self/fd");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

void guest_read_call(struct mock_vm *vm, struct fn_call *out)
{
	NEED(mock_read(vm, FN_CALL_VA, out, sizeof(*out)), "the call block is not readable");
}

void guest_put_at(struct mock_vm *vm, size_t offset, const void *value, size_t len)
{
	NEED(mock_write(vm, FN_CALL_VA + offset, value, len), "the call block is not writable");
}

void guest_put_slots(struct mock_vm *of, const uint64_t slots[FN_MAX_SLOTS])
{
	guest_put_at(of, offsetof(struct fn_call, arg[1]), slots,
		     FN_NEAR_SLOTS * sizeof(*slots));
	guest_put_at(of, offsetof(struct fn_call, slots), slots + FN_NEAR_SLOTS,
		     (FN_MAX_SLOTS - FN_NEAR_SLOTS) * sizeof(*slots));
}
