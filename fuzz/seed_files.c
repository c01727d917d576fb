/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the seeds that no linker makes: each valid but for one thing, for which it is named.
 * usage: seed_files CORPUS_DIR; called by make-seeds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "elf_builder.h"
#include "function/manifest.h"
#include "seed_kernel.h"
#include "virtqueue_input.h"

#define FUNC ELF64_ST_INFO(STB_GLOBAL, STT_FUNC)
#define RELR 36 /* DT_RELR, DT_RELRSZ: older C libraries' elf.h lacks them */
#define RELRSZ 35

static const char *corpus;

static void write_seed(const char *kind, const char *name, const void *data, size_t len)
{
	char path[1024];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/%s", corpus, kind, name);
	file = fopen(path, "wb");
	if (!file || fwrite(data, 1, len, file) != len || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

/* --- guests ----------------------------------------------------------------------------------- */

static void typical(struct elfb *b)
{
	uint64_t data;

	elfb_init(b, ET_DYN);
	data = b->text_va + 0x1000;
	elfb_abi(b, FN_ABI_VERSION);
	elfb_export(b, "add", "i32(i32,i32)", 0x10);
	elfb_export(b, "parse", "bytes(string,bool)", 0x20);
	elfb_import(b, "log", "void(string)");
	elfb_symbol(b, "add", b->text_va + 0x10, 0x10, FUNC);
	elfb_symbol(b, "parse", b->text_va + 0x20, 0, FUNC);
	elfb_rela(b, data, R_X86_64_RELATIVE, 0x10);
	elfb_rela(b, data + 8, R_X86_64_RELATIVE, 0x20);
	elfb_relr(b, data + 16);
	elfb_relr(b, 7);
	elfb_finish(b);
}

/* One thing to spoil in a typical guest. */
struct spoiler {
	const char *name;
	void (*spoil)(struct elfb *b);
};

static void nothing(struct elfb *b)
{
	(void)b;
}

static void phnum_65535(struct elfb *b)
{
	elfb_ehdr(b)->e_phnum = PN_XNUM;
}

static void phentsize_wrong(struct elfb *b)
{
	elfb_ehdr(b)->e_phentsize = 57;
}

static void phoff_overflow(struct elfb *b)
{
	elfb_ehdr(b)->e_phoff = UINT64_MAX - 100;
}

static void segments_overlap(struct elfb *b)
{
	elfb_phdr(b, ELFB_DATA)->p_vaddr = b->text_va + 1;
}

static void segment_huge(struct elfb *b)
{
	elfb_phdr(b, ELFB_DATA)->p_memsz = UINT64_MAX - 0x10000;
}

static void segment_offset_overflow(struct elfb *b)
{
	elfb_phdr(b, ELFB_DATA)->p_offset = UINT64_MAX - 1;
}

static void segment_filesz_beyond_memsz(struct elfb *b)
{
	elfb_phdr(b, ELFB_DATA)->p_memsz = 1;
}

static void segments_share_page(struct elfb *b)
{
	elfb_phdr(b, ELFB_DATA)->p_vaddr = b->text_va + ELFB_TEXT_SIZE;
	elfb_phdr(b, ELFB_TLS)->p_type = PT_NULL;
	elfb_phdr(b, ELFB_DYNAMIC)->p_type = PT_NULL;
}

static void tls_align_huge(struct elfb *b)
{
	elfb_phdr(b, ELFB_TLS)->p_align = UINT64_C(1) << 63;
}

static void rela_outside(struct elfb *b)
{
	elfb_dyn(b, DT_RELA)->d_un.d_ptr = UINT64_MAX - 23;
}

static void rela_in_zeroed_memory(struct elfb *b)
{
	elfb_dyn(b, DT_RELA)->d_un.d_ptr = b->data_va + ELFB_DATA_FILESZ;
	elfb_dyn(b, DT_RELASZ)->d_un.d_val = 2400;
}

static void relasz_absurd(struct elfb *b)
{
	elfb_dyn(b, DT_RELASZ)->d_un.d_val = UINT64_C(24) << 56;
}

static void rela_target_straddles(struct elfb *b)
{
	uint64_t va = b->data_va - 4;

	memcpy(b->data + b->rela_at, &va, sizeof(va));
}

static void rela_of_itself(struct elfb *b)
{
	uint64_t va = b->rela_at + 24;

	memcpy(b->data + b->rela_at, &va, sizeof(va));
}

static void rela_irelative(struct elfb *b)
{
	uint64_t info = R_X86_64_IRELATIVE;

	memcpy(b->data + b->rela_at + 8, &info, sizeof(info));
}

static void relr_bitmap_first(struct elfb *b)
{
	b->data[b->relr_at] |= 1;
}

static void relr_runs_out(struct elfb *b)
{
	memset(b->data + b->relr_at + 8, 0xff, 8);
	elfb_phdr(b, ELFB_DATA)->p_memsz = ELFB_DATA_FILESZ;
}

static void relrsz_absurd(struct elfb *b)
{
	elfb_dyn(b, RELRSZ)->d_un.d_val = UINT64_MAX - 7;
	elfb_dyn(b, RELR)->d_un.d_ptr = 8;
}

static void note_size_overflow(struct elfb *b)
{
	memset(b->data + b->notes + 24, 0xff, 8);
}

static void notes_in_zeroed_memory(struct elfb *b)
{
	elfb_phdr(b, ELFB_NOTES)->p_vaddr = b->data_va + ELFB_DATA_FILESZ - 24;
	elfb_phdr(b, ELFB_NOTES)->p_filesz = ELFB_DATA_MEMSZ - ELFB_DATA_FILESZ;
}

static void notes_twice(struct elfb *b)
{
	*elfb_phdr(b, ELFB_STACK) = *elfb_phdr(b, ELFB_NOTES);
}

static void notes_align_8(struct elfb *b)
{
	elfb_phdr(b, ELFB_NOTES)->p_align = 8;
}

static void symbols_unsorted(struct elfb *b)
{
	Elf64_Sym *syms = (Elf64_Sym *)(b->data + b->symtab);
	Elf64_Sym first = syms[1];

	syms[1] = syms[2];
	syms[2] = first;
}

static void symbol_name_outside(struct elfb *b)
{
	((Elf64_Sym *)(b->data + b->symtab))[1].st_name = UINT32_MAX;
}

static void symbol_strings_unterminated(struct elfb *b)
{
	elfb_shdr(b, 2)->sh_size -= 1;
}

static void section_count_absurd(struct elfb *b)
{
	elfb_ehdr(b)->e_shnum = 0;
	elfb_shdr(b, 0)->sh_size = UINT64_MAX;
}

static const struct spoiler spoilers[] = {
	{"typical", nothing},
	{"phnum-65535", phnum_65535},
	{"phentsize-wrong", phentsize_wrong},
	{"phoff-overflow", phoff_overflow},
	{"segments-overlap", segments_overlap},
	{"segment-huge", segment_huge},
	{"segment-offset-overflow", segment_offset_overflow},
	{"segment-filesz-beyond-memsz", segment_filesz_beyond_memsz},
	{"segments-share-page", segments_share_page},
	{"tls-align-huge", tls_align_huge},
	{"rela-outside", rela_outside},
	{"rela-in-zeroed-memory", rela_in_zeroed_memory},
	{"relasz-absurd", relasz_absurd},
	{"rela-target-straddles", rela_target_straddles},
	{"rela-of-itself", rela_of_itself},
	{"rela-irelative", rela_irelative},
	{"relr-bitmap-first", relr_bitmap_first},
	{"relr-runs-out", relr_runs_out},
	{"relrsz-absurd", relrsz_absurd},
	{"note-size-overflow", note_size_overflow},
	{"notes-in-zeroed-memory", notes_in_zeroed_memory},
	{"notes-twice", notes_twice},
	{"notes-align-8", notes_align_8},
	{"symbols-unsorted", symbols_unsorted},
	{"symbol-name-outside", symbol_name_outside},
	{"symbol-strings-unterminated", symbol_strings_unterminated},
	{"section-count-absurd", section_count_absurd},
};

/* The same 64 words relocated until more were than there are. */
static void write_relr_flood(void)
{
	struct elfb b;

	elfb_init(&b, ET_DYN);
	for (int i = 0; i < 100; i++) {
		elfb_relr(&b, b.text_va + 0x1000);
		elfb_relr(&b, UINT64_MAX);
	}
	elfb_finish(&b);
	write_seed("elf", "relr-flood", b.data, b.len);
	elfb_free(&b);
}

static void write_guests(void)
{
	struct elfb b;

	for (size_t i = 0; i < ARRAY_SIZE(spoilers); i++) {
		typical(&b);
		spoilers[i].spoil(&b);
		write_seed("elf", spoilers[i].name, b.data, b.len);
		elfb_free(&b);
	}
	typical(&b);
	write_seed("elf", "truncated", b.data, b.text + 1);
	elfb_free(&b);
}

/* --- manifests -------------------------------------------------------------------------------- */

static void write_manifest(const char *name, const struct manifest *m)
{
	uint8_t *bytes;
	size_t len;

	if (manifest_encode(m, &bytes, &len, NULL) != MAYFLY_OK) {
		fputs("seed_files: out of memory\n", stderr);
		exit(1);
	}
	write_seed("manifest", name, bytes, len);
	free(bytes);
}

static void write_manifests(void)
{
	uint64_t va = FN_IMAGE_MIN_VA;
	struct mayfly_function exports[] = {
		{.va = va, .name = "parse", .text = "i64(bytes,bool)"},
		{.va = va + 16, .name = "add", .text = "i32(i32,i32)"},
	};
	struct manifest_import imports[] = {
		{.note_va = va + 100, .name = "log", .text = "void(string)"},
		{.note_va = va + 200, .name = "log", .text = "void(string)"},
		{.note_va = va + 300, .name = "now", .text = "u64()"},
	};
	struct elf_symbol symbols[] = {{va, 16, "parse"}, {va + 16, 0, "add"}};
	struct manifest m = {0};

	write_manifest("empty", &m);
	m = (struct manifest){
		.exports = exports,
		.nexports = 2,
		.imports = imports,
		.nimports = 3,
		.symbols = symbols,
		.nsymbols = 2,
	};
	write_manifest("typical", &m);
	exports[1].text[3] = '[';
	write_manifest("signature-malformed", &m);
	stpcpy(exports[1].text, "i32(i32, i32)");
	write_manifest("signature-not-canonical", &m);
	exports[1] = exports[0];
	write_manifest("exported-twice", &m);
	m.nexports = 1;
	stpcpy(imports[1].text, "void(bytes)");
	write_manifest("import-of-two-signatures", &m);
	imports[0].note_va = UINT64_MAX;
	write_manifest("import-outside", &m);
	m.nimports = 0;
	symbols[1].va = va;
	write_manifest("symbols-out-of-order", &m);
	symbols[1] = (struct elf_symbol){va + 1, UINT64_MAX, "huge"};
	write_manifest("symbol-huge", &m);
	write_seed("manifest", "counts-absurd",
		   "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS_DIR\n", argv[0]);
		return 2;
	}
	corpus = argv[1];
	write_guests();
	write_relr_flood();
	write_manifests();
	kernel_seeds(write_seed);
	virtqueue_seeds(write_seed);
	return 0;
}
