/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes small guests as ELF files in memory: valid ones, in which a test then spoils one thing.
 *
 *   struct elfb b;
 *   elfb_init(&b, ET_DYN);
 *   elfb_abi(&b, FN_ABI_VERSION);
 *   elfb_export(&b, "add", "i32(i32,i32)", 0x10);
 *   elfb_finish(&b);
 *   elfb_phdr(&b, ELFB_TEXT)->p_filesz = 1;  (spoil)
 *   ... b.data, b.len ...
 *   elfb_free(&b);
 *
 * The file: ELF header, program headers, notes, relocations, dynamic section (segment "headers",
 * read only); code (segment "text"); data (segment "data", with room behind it that is not in the
 * file); symbols; section headers. Running out of memory ends the test program.
 */
#ifndef MAYFLY_TESTS_ELF_BUILDER_H
#define MAYFLY_TESTS_ELF_BUILDER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

/* Program headers, by index. */
#define ELFB_HEADERS 0
#define ELFB_TEXT 1
#define ELFB_DATA 2
#define ELFB_NOTES 3
#define ELFB_DYNAMIC 4 /* PT_NULL for an ET_EXEC without relocations */
#define ELFB_TLS 5
#define ELFB_STACK 6
#define ELFB_PHNUM 7

#define ELFB_EXEC_BASE 0x400000
#define ELFB_TEXT_SIZE 0x80
#define ELFB_DATA_FILESZ 0x100
#define ELFB_DATA_MEMSZ 0x1800
#define ELFB_TLS_FILESZ 0x10
#define ELFB_TLS_MEMSZ 0x30
#define ELFB_MAX_RELOCS 256

struct elfb {
	uint8_t *data;
	size_t len;
	size_t capacity;
	uint16_t type;
	uint64_t base;	  /* address of offset 0, before biasing */
	uint64_t text_va; /* may be raised before the first export */
	uint64_t data_va; /* set by elfb_finish() */
	Elf64_Rela rela[ELFB_MAX_RELOCS];
	size_t nrela;
	uint64_t relr[ELFB_MAX_RELOCS];
	size_t nrelr;
	Elf64_Sym *syms;
	size_t nsyms;
	char *strings;
	size_t strings_len;
	/* Offsets in the file, set by elfb_finish() but the first. */
	size_t notes;
	size_t rela_at;
	size_t relr_at;
	size_t dynamic;
	size_t text;
	size_t symtab;
	size_t strtab;
	size_t shdrs;
};

void elfb_init(struct elfb *b, uint16_t type);
void elfb_free(struct elfb *b);

/* Notes, before elfb_finish(). Offsets of functions count from the beginning of the text. */
void elfb_abi(struct elfb *b, uint32_t version);
void elfb_export(struct elfb *b, const char *name, const char *signature, uint64_t offset);
/* Gives the address of its descriptor, before biasing. */
uint64_t elfb_import(struct elfb *b, const char *name, const char *signature);
void elfb_note(struct elfb *b, const char *name, uint32_t type, const void *desc, size_t len);

/* Relocations and symbols, before elfb_finish(); addresses before biasing. */
void elfb_rela(struct elfb *b, uint64_t offset, uint64_t info, int64_t addend);
void elfb_relr(struct elfb *b, uint64_t entry);
void elfb_symbol(struct elfb *b, const char *name, uint64_t va, uint64_t size, uint8_t info);

void elfb_finish(struct elfb *b);

/* To spoil with, after elfb_finish(); good until something is appended. */
Elf64_Ehdr *elfb_ehdr(struct elfb *b);
Elf64_Phdr *elfb_phdr(struct elfb *b, size_t index);
Elf64_Shdr *elfb_shdr(struct elfb *b, size_t index);
/* The dynamic section's entry of this tag; fails the program if there is none. */
Elf64_Dyn *elfb_dyn(struct elfb *b, int64_t tag);
/* Append bytes, aligned; gives their offset. */
size_t elfb_append(struct elfb *b, const void *data, size_t len, size_t align);
/* Replace the program headers by `count` ones, the old first, further ones zero, at the end. */
void elfb_more_phdrs(struct elfb *b, size_t count);

#endif
