/* SPDX-License-Identifier: Apache-2.0 */
#include "elf_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"

static void *need(void *p)
{
	if (!p) {
		fputs("elf_builder: out of memory\n", stderr);
		abort();
	}
	return p;
}

size_t elfb_append(struct elfb *b, const void *data, size_t len, size_t align)
{
	size_t at = (b->len + align - 1) / align * align;

	if (at + len > b->capacity) {
		b->capacity = (at + len) * 2;
		b->data = need(realloc(b->data, b->capacity));
	}
	memset(b->data + b->len, 0, at - b->len);
	if (data)
		memcpy(b->data + at, data, len);
	else
		memset(b->data + at, 0, len);
	b->len = at + len;
	return at;
}

void elfb_init(struct elfb *b, uint16_t type)
{
	*b = (struct elfb){.type = type};
	b->base = type == ET_EXEC ? ELFB_EXEC_BASE : 0;
	b->text_va = b->base + 0x2000;
	b->strings = need(calloc(1, 1));
	b->strings_len = 1;
	b->syms = need(calloc(1, sizeof(*b->syms)));
	b->nsyms = 1;
	elfb_append(b, NULL, sizeof(Elf64_Ehdr) + ELFB_PHNUM * sizeof(Elf64_Phdr), 1);
	b->notes = b->len;
}

void elfb_free(struct elfb *b)
{
	free(b->data);
	free(b->syms);
	free(b->strings);
	*b = (struct elfb){0};
}

/* --- notes ------------------------------------------------------------------------------------ */

/* Appends all but the descriptor; its offset is b->len afterwards. */
static void note_header(struct elfb *b, const char *name, uint32_t type, size_t len)
{
	Elf64_Nhdr nh = {
		.n_namesz = (Elf64_Word)strlen(name) + 1,
		.n_descsz = (Elf64_Word)len,
		.n_type = type,
	};

	elfb_append(b, &nh, sizeof(nh), 4);
	elfb_append(b, name, nh.n_namesz, 4);
	elfb_append(b, NULL, 0, 4);
}

void elfb_note(struct elfb *b, const char *name, uint32_t type, const void *desc, size_t len)
{
	note_header(b, name, type, len);
	elfb_append(b, desc, len, 1);
	elfb_append(b, NULL, 0, 4);
}

void elfb_abi(struct elfb *b, uint32_t version)
{
	elfb_note(b, FN_NOTE_NAME, FN_NOTE_ABI, &version, sizeof(version));
}

static void declaration(struct elfb *b, uint64_t value, const char *name, const char *signature)
{
	elfb_append(b, &value, sizeof(value), 1);
	elfb_append(b, name, strlen(name) + 1, 1);
	elfb_append(b, signature, strlen(signature) + 1, 1);
	elfb_append(b, NULL, 0, 4);
}

void elfb_export(struct elfb *b, const char *name, const char *signature, uint64_t offset)
{
	note_header(b, FN_NOTE_NAME, FN_NOTE_EXPORT, 8 + strlen(name) + strlen(signature) + 2);
	declaration(b, b->text_va + offset - (b->base + b->len), name, signature);
}

uint64_t elfb_import(struct elfb *b, const char *name, const char *signature)
{
	uint64_t va;

	note_header(b, FN_NOTE_NAME, FN_NOTE_IMPORT, 8 + strlen(name) + strlen(signature) + 2);
	va = b->base + b->len;
	declaration(b, 0, name, signature);
	return va;
}

/* --- relocations and symbols ------------------------------------------------------------------ */

static void room_for_reloc(size_t n)
{
	if (n == ELFB_MAX_RELOCS) {
		fputs("elf_builder: too many relocations\n", stderr);
		abort();
	}
}

void elfb_rela(struct elfb *b, uint64_t offset, uint64_t info, int64_t addend)
{
	room_for_reloc(b->nrela);
	b->rela[b->nrela++] = (Elf64_Rela){offset, info, addend};
}

void elfb_relr(struct elfb *b, uint64_t entry)
{
	room_for_reloc(b->nrelr);
	b->relr[b->nrelr++] = entry;
}

void elfb_symbol(struct elfb *b, const char *name, uint64_t va, uint64_t size, uint8_t info)
{
	size_t len = strlen(name) + 1;

	b->syms = need(realloc(b->syms, (b->nsyms + 1) * sizeof(*b->syms)));
	b->strings = need(realloc(b->strings, b->strings_len + len));
	b->syms[b->nsyms++] = (Elf64_Sym){
		.st_name = (Elf64_Word)b->strings_len,
		.st_info = info,
		.st_shndx = 1,
		.st_value = va,
		.st_size = size,
	};
	memcpy(b->strings + b->strings_len, name, len);
	b->strings_len += len;
}

/* --- putting it together ---------------------------------------------------------------------- */

static size_t append_dynamic(struct elfb *b)
{
	Elf64_Dyn dyn[16] = {0};
	size_t n = 0;

	if (b->nrela > 0) {
		dyn[n++] = (Elf64_Dyn){DT_RELA, {b->base + b->rela_at}};
		dyn[n++] = (Elf64_Dyn){DT_RELASZ, {b->nrela * sizeof(Elf64_Rela)}};
		dyn[n++] = (Elf64_Dyn){DT_RELAENT, {sizeof(Elf64_Rela)}};
	}
	if (b->nrelr > 0) {
		dyn[n++] = (Elf64_Dyn){36 /* DT_RELR */, {b->base + b->relr_at}};
		dyn[n++] = (Elf64_Dyn){35 /* DT_RELRSZ */, {b->nrelr * 8}};
		dyn[n++] = (Elf64_Dyn){37 /* DT_RELRENT */, {8}};
	}
	dyn[n++] = (Elf64_Dyn){DT_FLAGS_1, {DF_1_PIE}};
	n++; /* DT_NULL */
	b->dynamic = elfb_append(b, dyn, n * sizeof(*dyn), 8);
	return n * sizeof(*dyn);
}

static void append_sections(struct elfb *b)
{
	Elf64_Shdr sh[3] = {{0}};

	b->symtab = elfb_append(b, b->syms, b->nsyms * sizeof(*b->syms), 8);
	b->strtab = elfb_append(b, b->strings, b->strings_len, 1);
	sh[1] = (Elf64_Shdr){
		.sh_type = SHT_SYMTAB,
		.sh_offset = b->symtab,
		.sh_size = b->nsyms * sizeof(*b->syms),
		.sh_link = 2,
		.sh_entsize = sizeof(Elf64_Sym),
	};
	sh[2] = (Elf64_Shdr){
		.sh_type = SHT_STRTAB,
		.sh_offset = b->strtab,
		.sh_size = b->strings_len,
	};
	b->shdrs = elfb_append(b, sh, sizeof(sh), 8);
}

/* `filesz` bytes at `offset`, at the address that follows from it. */
static void set_phdr(struct elfb *b, size_t index, uint32_t type, size_t offset,
		     uint64_t filesz)
{
	*elfb_phdr(b, index) = (Elf64_Phdr){
		.p_type = type,
		.p_flags = PF_R,
		.p_offset = offset,
		.p_vaddr = b->base + offset,
		.p_filesz = filesz,
		.p_memsz = filesz,
		.p_align = type == PT_LOAD   ? 0x1000
			   : type == PT_NOTE ? 4
					     : 8,
	};
}

static void set_phdrs(struct elfb *b, size_t notes_size, size_t dynamic_size,
		      size_t headers_size)
{
	size_t data = b->text + ELFB_TEXT_SIZE;
	Elf64_Phdr *ph;

	set_phdr(b, ELFB_HEADERS, PT_LOAD, 0, headers_size);
	set_phdr(b, ELFB_NOTES, PT_NOTE, b->notes, notes_size);
	set_phdr(b, ELFB_DYNAMIC, dynamic_size ? PT_DYNAMIC : PT_NULL, b->dynamic,
		 dynamic_size);
	set_phdr(b, ELFB_TEXT, PT_LOAD, b->text, ELFB_TEXT_SIZE);
	ph = elfb_phdr(b, ELFB_TEXT);
	ph->p_flags |= PF_X;
	ph->p_vaddr = b->text_va;
	set_phdr(b, ELFB_DATA, PT_LOAD, data, ELFB_DATA_FILESZ);
	ph = elfb_phdr(b, ELFB_DATA);
	ph->p_flags |= PF_W;
	ph->p_vaddr = b->data_va;
	ph->p_memsz = ELFB_DATA_MEMSZ;
	set_phdr(b, ELFB_TLS, PT_TLS, data, ELFB_TLS_FILESZ);
	ph = elfb_phdr(b, ELFB_TLS);
	ph->p_vaddr = b->data_va;
	ph->p_memsz = ELFB_TLS_MEMSZ;
	set_phdr(b, ELFB_STACK, PT_GNU_STACK, 0, 0);
}

void elfb_finish(struct elfb *b)
{
	size_t notes_size = b->len - b->notes, dynamic_size = 0, headers_size, data;

	b->data_va = b->text_va + 0x1000;
	b->rela_at = elfb_append(b, b->rela, b->nrela * sizeof(Elf64_Rela), 8);
	b->relr_at = elfb_append(b, b->relr, b->nrelr * 8, 8);
	if (b->type == ET_DYN || b->nrela > 0 || b->nrelr > 0)
		dynamic_size = append_dynamic(b);
	headers_size = b->len;
	b->text = elfb_append(b, NULL, ELFB_TEXT_SIZE, 16);
	memset(b->data + b->text, 0xc3, ELFB_TEXT_SIZE); /* RET */
	data = elfb_append(b, NULL, ELFB_DATA_FILESZ, 1);
	for (size_t i = 0; i < ELFB_DATA_FILESZ; i++)
		b->data[data + i] = (uint8_t)(i + 1);
	append_sections(b);
	set_phdrs(b, notes_size, dynamic_size, headers_size);
	*elfb_ehdr(b) = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = b->type,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = b->text_va,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_shoff = b->shdrs,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = ELFB_PHNUM,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 3,
	};
}

/* --- spoiling --------------------------------------------------------------------------------- */

Elf64_Ehdr *elfb_ehdr(struct elfb *b)
{
	return (Elf64_Ehdr *)b->data;
}

Elf64_Phdr *elfb_phdr(struct elfb *b, size_t index)
{
	size_t at = elfb_ehdr(b)->e_phoff ? elfb_ehdr(b)->e_phoff : sizeof(Elf64_Ehdr);

	return (Elf64_Phdr *)(b->data + at) + index;
}

Elf64_Shdr *elfb_shdr(struct elfb *b, size_t index)
{
	return (Elf64_Shdr *)(b->data + b->shdrs) + index;
}

Elf64_Dyn *elfb_dyn(struct elfb *b, int64_t tag)
{
	Elf64_Dyn *dyn = (Elf64_Dyn *)(b->data + b->dynamic);

	while (dyn->d_tag != tag) {
		if (dyn->d_tag == DT_NULL) {
			fputs("elf_builder: no such dynamic tag\n", stderr);
			abort();
		}
		dyn++;
	}
	return dyn;
}

void elfb_more_phdrs(struct elfb *b, size_t count)
{
	size_t at = elfb_append(b, NULL, count * sizeof(Elf64_Phdr), 8);

	memcpy(b->data + at, elfb_phdr(b, 0), elfb_ehdr(b)->e_phnum * sizeof(Elf64_Phdr));
	elfb_ehdr(b)->e_phoff = at;
	elfb_ehdr(b)->e_phnum = (Elf64_Half)count;
}
