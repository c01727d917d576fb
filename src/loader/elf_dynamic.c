/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dynamic section of executables without a dynamic linker, and their relocations. Work and
 * memory are bounded by the file: tables are only accepted where segments have bytes of the
 * file.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/error.h"
#include "loader/elf_file.h"

/* Of newer C libraries' elf.h only. */
#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR 36
#define DT_RELRENT 37
#endif

#define X64 "0x%" PRIx64

static int find_dynamic(const struct elf_file *file, Elf64_Phdr *out, bool *found,
			mayfly_error *err)
{
	*found = false;
	for (uint32_t i = 0; i < file->eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(file, i);

		if (ph.p_type != PT_DYNAMIC || ph.p_filesz == 0)
			continue;
		if (*found)
			return fail(err, MAYFLY_E_FORMAT,
				    "program header %u: a second dynamic section", i);
		if (!range_within(ph.p_offset, ph.p_filesz, file->len))
			return fail(
				err, MAYFLY_E_FORMAT,
				"program header %u: the dynamic section runs past the end of "
				"the file (offset " X64 " + size " X64 " > " X64
				"); the file is truncated or damaged",
				i, ph.p_offset, ph.p_filesz, file->len);
		*found = true;
		*out = ph;
	}
	return MAYFLY_OK;
}

int elf_dynamic_read(const struct elf_file *file, struct elf_dynamic *out, mayfly_error *err)
{
	struct elf_dynamic dyn = {0};
	Elf64_Phdr ph = {0};
	Elf64_Dyn d;
	int r;

	r = find_dynamic(file, &ph, &dyn.present, err);
	if (r < 0)
		return r;
	for (uint64_t at = 0; ph.p_filesz - at >= sizeof(d); at += sizeof(d)) {
		memcpy(&d, file->data + ph.p_offset + at, sizeof(d));
		if (d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_FLAGS_1)
			dyn.flags_1 = d.d_un.d_val;
		if (d.d_tag < 0 || d.d_tag >= ELF_DYNAMIC_TAGS)
			continue;
		dyn.seen |= (uint64_t)1 << d.d_tag;
		dyn.value[d.d_tag] = d.d_un.d_val;
	}
	*out = dyn;
	return MAYFLY_OK;
}

/*
 * --- relocations
 * ------------------------------------------------------------------------------
 */

struct relocator {
	const struct elf_image *image;
	uint8_t *mem;
	const struct elf_segment *last; /* of the last target: mostly the next one's too */
	uint64_t left;			/* how many relocations may still come */
};

/* A table of relocations: its tags, and where it is in memory. */
struct reloc_table {
	const char *name;
	int tag;
	int size_tag;
	uint64_t entry_size;
	const uint8_t *mem;
	uint64_t count;
};

/*
 * Find the eight bytes at `va`, before biasing, which relocation `index` of a table changes;
 * they must lie within one segment.
 */
static int reloc_target(struct relocator *rel, const struct reloc_table *table, uint64_t index,
			uint64_t va, uint8_t **ret_target, mayfly_error *err)
{
	const struct elf_segment *seg = rel->last;
	uint64_t biased;

	if (rel->left == 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "relocation %" PRIu64 " of %s: there are more than the image has "
			    "room for",
			    index, table->name);
	rel->left--;
	if (add_overflows(va, rel->image->bias, &biased))
		seg = NULL;
	else if (!seg || biased < seg->va || !range_within(biased - seg->va, 8, seg->memsz))
		seg = elf_segment_at(rel->image, biased, 8);
	if (!seg)
		return fail(err, MAYFLY_E_FORMAT,
			    "relocation %" PRIu64 " of %s: its target, the 8 bytes at " X64
			    ", does not lie within a segment",
			    index, table->name, va);
	rel->last = seg;
	*ret_target = rel->mem + (biased - rel->image->start_va);
	return MAYFLY_OK;
}

/*
 * Fill in where the table is: it must lie in one segment's part that comes from the file. A
 * size of 0 or none gives an empty one.
 */
static int find_table(const struct relocator *rel, const struct elf_dynamic *dyn,
		      struct reloc_table *table, mayfly_error *err)
{
	uint64_t size = dyn->value[table->size_tag];
	const struct elf_segment *seg = NULL;
	uint64_t va;

	if (size == 0)
		return MAYFLY_OK;
	if (size % table->entry_size != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "dynamic section: %s has " X64
			    " bytes, which is no multiple of its entries' %" PRIu64,
			    table->name, size, table->entry_size);
	if (!add_overflows(dyn->value[table->tag], rel->image->bias, &va))
		seg = elf_segment_at(rel->image, va, 1);
	if (!((dyn->seen >> table->tag) & 1) || !seg ||
	    !range_within(va - seg->va, size, seg->filesz))
		return fail(err, MAYFLY_E_FORMAT,
			    "dynamic section: %s, " X64 " bytes at " X64
			    ", does not lie in what is loaded from the file",
			    table->name, size, dyn->value[table->tag]);
	table->mem = rel->mem + (va - rel->image->start_va);
	table->count = size / table->entry_size;
	return MAYFLY_OK;
}

static int refuse_type(const struct reloc_table *table, uint64_t index, uint32_t type,
		       uint64_t offset, mayfly_error *err)
{
	const char *what = "of a type unknown to Mayfly";

	switch (type) {
	case R_X86_64_IRELATIVE:
		what = "R_X86_64_IRELATIVE, an indirect function (IFUNC) as in the C library; "
		       "link "
		       "without it (-nostdlib)";
		break;
	case R_X86_64_64:
	case R_X86_64_GLOB_DAT:
	case R_X86_64_JUMP_SLOT:
	case R_X86_64_COPY:
		what = "against a symbol, which a dynamic linker would look up; link with "
		       "-static-pie and define every symbol";
		break;
	case R_X86_64_DTPMOD64:
	case R_X86_64_DTPOFF64:
	case R_X86_64_TPOFF64:
		what = "for thread-local data; build with -ftls-model=local-exec";
		break;
	default:
		break;
	}
	return fail(err, MAYFLY_E_UNSUPPORTED,
		    "relocation %" PRIu64 " of %s at " X64 " is type %u, %s", index,
		    table->name, offset, type, what);
}

static int apply_rela(struct relocator *rel, const struct reloc_table *table, mayfly_error *err)
{
	for (uint64_t i = 0; i < table->count; i++) {
		Elf64_Rela rela;
		uint8_t *target;
		uint64_t value;
		int r;

		memcpy(&rela, table->mem + i * sizeof(rela), sizeof(rela));
		if (ELF64_R_TYPE(rela.r_info) == R_X86_64_NONE)
			continue;
		if (ELF64_R_TYPE(rela.r_info) != R_X86_64_RELATIVE)
			return refuse_type(table, i, ELF64_R_TYPE(rela.r_info), rela.r_offset,
					   err);
		r = reloc_target(rel, table, i, rela.r_offset, &target, err);
		if (r < 0)
			return r;
		value = rel->image->bias + (uint64_t)rela.r_addend;
		memcpy(target, &value, sizeof(value));
	}
	return MAYFLY_OK;
}

static int add_bias(struct relocator *rel, const struct reloc_table *table, uint64_t index,
		    uint64_t va, mayfly_error *err)
{
	uint8_t *target;
	uint64_t value;
	int r;

	r = reloc_target(rel, table, index, va, &target, err);
	if (r < 0)
		return r;
	memcpy(&value, target, sizeof(value));
	value += rel->image->bias;
	memcpy(target, &value, sizeof(value));
	return MAYFLY_OK;
}

/*
 * Relative relocations only, packed (gABI, "Relative Relocation Table"): an even entry is the
 * address of one; an odd one is a bitmap of the 63 words that follow those dealt with so far.
 */
static int apply_relr(struct relocator *rel, const struct reloc_table *table, mayfly_error *err)
{
	uint64_t next = 0;

	for (uint64_t i = 0; i < table->count; i++) {
		uint64_t entry;
		int r = MAYFLY_OK;

		memcpy(&entry, table->mem + i * sizeof(entry), sizeof(entry));
		if (!(entry & 1)) {
			r = add_bias(rel, table, i, entry, err);
			if (r < 0)
				return r;
			next = entry + 8;
			continue;
		}
		if (i == 0)
			return fail(err, MAYFLY_E_FORMAT,
				    "dynamic section: %s begins with a bitmap, not an address",
				    table->name);
		for (uint64_t bits = entry >> 1, va = next; bits; bits >>= 1, va += 8) {
			if (bits & 1)
				r = add_bias(rel, table, i, va, err);
			if (r < 0)
				return r;
		}
		next += UINT64_C(63) * 8;
	}
	return MAYFLY_OK;
}

static int check_tables(const struct elf_dynamic *dyn, mayfly_error *err)
{
	if (dyn->value[DT_RELSZ] > 0 ||
	    (dyn->value[DT_PLTRELSZ] > 0 && dyn->value[DT_PLTREL] != DT_RELA))
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"dynamic section: relocations without addends (DT_REL), which x86-64 "
			"does not use");
	if (dyn->value[DT_RELASZ] > 0 && dyn->value[DT_RELAENT] != sizeof(Elf64_Rela))
		return fail(err, MAYFLY_E_FORMAT,
			    "dynamic section: DT_RELAENT is %" PRIu64 ", not %zu",
			    dyn->value[DT_RELAENT], sizeof(Elf64_Rela));
	if (dyn->value[DT_RELRSZ] > 0 && dyn->value[DT_RELRENT] != 8)
		return fail(err, MAYFLY_E_FORMAT,
			    "dynamic section: DT_RELRENT is %" PRIu64 ", not 8",
			    dyn->value[DT_RELRENT]);
	return MAYFLY_OK;
}

int elf_dynamic_relocate(const struct elf_image *image, const struct elf_dynamic *dyn,
			 uint8_t *mem, mayfly_error *err)
{
	struct relocator rel = {
		.image = image,
		.mem = mem,
		/* For each word two: linkers may list those of DT_JMPREL in DT_RELA too. */
		.left = (image->end_va - image->start_va) / 4,
	};
	const uint64_t size = sizeof(Elf64_Rela);
	struct reloc_table relr = {"DT_RELR", DT_RELR, DT_RELRSZ, 8, NULL, 0};
	struct reloc_table rela = {"DT_RELA", DT_RELA, DT_RELASZ, size, NULL, 0};
	struct reloc_table plt = {"DT_JMPREL", DT_JMPREL, DT_PLTRELSZ, size, NULL, 0};
	int r;

	r = check_tables(dyn, err);
	if (r == 0)
		r = find_table(&rel, dyn, &relr, err);
	if (r == 0)
		r = find_table(&rel, dyn, &rela, err);
	if (r == 0)
		r = find_table(&rel, dyn, &plt, err);
	if (r == 0)
		r = apply_relr(&rel, &relr, err);
	if (r == 0)
		r = apply_rela(&rel, &rela, err);
	if (r == 0)
		r = apply_rela(&rel, &plt, err);
	return r;
}
