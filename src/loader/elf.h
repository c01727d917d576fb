/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF files as hostile bytes: x86-64 executables, static or static-PIE. Parsing copies and
 * checks every header once; nothing points into the caller's file afterwards except where said.
 * No policy about where guests run, except the limits that are passed in.
 */
#ifndef MAYFLY_LOADER_ELF_H
#define MAYFLY_LOADER_ELF_H

#include "core/util.h"
#include "mayfly.h"

#define ELF_READ 1u
#define ELF_WRITE 2u
#define ELF_EXEC 4u

#define ELF_MAX_SEGMENTS 64
#define ELF_MAX_SYMBOLS (1u << 20)
#define ELF_MAX_SYMBOL_NAME 255

struct elf_limits {
	uint64_t pie_base; /* where a PIE's address 0 goes; page-aligned */
	uint64_t min_va;   /* segments lie within [min_va, max_va) after biasing */
	uint64_t max_va;
	uint64_t max_span; /* from the lowest to the highest loaded page, in bytes */
};

/*
 * A PT_LOAD with memsz > 0, biased; within the limits; filesz <= memsz; file range within the
 * file.
 */
struct elf_segment {
	uint64_t va;
	uint64_t memsz;
	uint64_t offset;
	uint64_t filesz;
	uint32_t prot; /* ELF_READ... */
};

/* A defined function (STT_FUNC), biased; name printable ASCII only, owned by the image. */
struct elf_symbol {
	uint64_t va;
	uint64_t size;
	const char *name;
};

struct elf_image {
	bool pie;
	uint64_t bias;
	uint64_t entry;	  /* biased; 0 if none */
	uint64_t phdr_va; /* of the program headers in memory, 0 if not loaded (for AT_PHDR) */
	uint16_t phnum;
	uint64_t start_va; /* page-aligned span of all segments */
	uint64_t end_va;
	struct elf_segment segments[ELF_MAX_SEGMENTS]; /* ascending, not overlapping */
	size_t nsegments;
	struct { /* PT_TLS; all zero if none. align is a power of two <= 4096 */
		uint64_t va;
		uint64_t filesz;
		uint64_t memsz;
		uint64_t align;
	} tls;
	struct elf_symbol
		*symbols; /* ascending by va; from .symtab, else .dynsym; may be NULL */
	size_t nsymbols;
	char *names; /* storage of the symbols' names */
};

/*
 * Parse [data, data+len). On success *out owns memory: elf_image_fini(). Errors: FORMAT (which
 * says what), UNSUPPORTED (dynamically linked, with an interpreter, not x86-64, not an
 * executable, with the flag or link option that would help), TOO_LARGE (beyond the limits),
 * NOMEM. Missing or damaged symbols and sections are no error: then there are just no symbols.
 */
int elf_parse(const void *data, size_t len, const struct elf_limits *limits,
	      struct elf_image *out, mayfly_error *err);
void elf_image_fini(struct elf_image *image);

/*
 * Put the segments into `mem`, which stands for [start_va, end_va) and is all zero, and apply
 * the relocations of a PIE (R_X86_64_RELATIVE and NONE; others UNSUPPORTED, their targets must
 * lie inside a segment). `data` is the file that was parsed: unchanged since.
 */
int elf_load(const struct elf_image *image, const void *data, size_t len, uint8_t *mem,
	     mayfly_error *err);

/*
 * Page protections after loading: ELF_READ|... of the page at `va` (page-aligned), 0 for a
 * hole. Segments that share a page are merged.
 */
uint32_t elf_page_prot(const struct elf_image *image, uint64_t va);

/* A page that is both writable and executable, or 0: W^X is violated there. */
uint64_t elf_find_wx_page(const struct elf_image *image);

/* The symbol that holds `va`, or NULL. Size 0 symbols reach to the next one. O(log n). */
const struct elf_symbol *elf_symbol_at(const struct elf_symbol *symbols, size_t n, uint64_t va);

/*
 * Walk the notes in memory ([mem] as filled by elf_load; PT_NOTE segments that lie in loaded
 * memory). `name` as in the note. Calls `fn` for each note of this name with the type and the
 * descriptor: pointer into mem, its length, and its guest-virtual address; stops at fn's first
 * non-zero result and gives it. A malformed note is an error (FORMAT).
 */
typedef int (*elf_note_fn)(void *context, uint32_t type, const uint8_t *desc, size_t len,
			   uint64_t desc_va, mayfly_error *err);
int elf_walk_notes(const struct elf_image *image, const void *data, size_t len,
		   const uint8_t *mem, const char *name, elf_note_fn fn, void *context,
		   mayfly_error *err);

/* All notes together. Bounds the walk when many PT_NOTE headers name the same bytes. */
#define ELF_MAX_NOTE_BYTES ((uint64_t)16 << 20)

/* One PT_NOTE: `size` bytes, at most ELF_MAX_NOTE_BYTES, that lie in memory at `va`. */
struct elf_notes {
	uint32_t number; /* of its program header, for messages */
	const uint8_t *mem;
	uint64_t size;
	uint64_t va;
	uint64_t align; /* 4 or 8 */
};

/* The same as elf_walk_notes() for one of them. */
int elf_walk_note_segment(const struct elf_notes *notes, const char *name, elf_note_fn fn,
			  void *context, mayfly_error *err);

#endif
