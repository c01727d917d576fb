/* SPDX-License-Identifier: Apache-2.0 */
/* ELF headers, segments, page protections and notes. See the gABI, chapters 4 and 5. */
#include <inttypes.h>
#include <stdio.h>

#include "core/error.h"
#include "loader/elf_file.h"

/* Far more than linkers write; keeps everything that goes over them short. */
#define MAX_PROGRAM_HEADERS 512
#define MAX_TLS_ALIGN 4096

#define X64 "0x%" PRIx64

/*
 * --- the file and its headers
 * -----------------------------------------------------------------
 */

static int check_magic(const uint8_t *data, size_t len, mayfly_error *err)
{
	char shown[32];

	if (len == 0)
		return fail(err, MAYFLY_E_FORMAT, "the file is empty");
	if (len >= 2 && memcmp(data, "#!", 2) == 0)
		return fail(err, MAYFLY_E_FORMAT, "a script, not an ELF file");
	if (len < SELFMAG || memcmp(data, ELFMAG, SELFMAG) != 0)
		return fail(err, MAYFLY_E_FORMAT, "not an ELF file: it begins with \"%s\"",
			    error_printable(shown, sizeof(shown), (const char *)data,
					    len < SELFMAG ? len : SELFMAG));
	if (len < sizeof(Elf64_Ehdr))
		return fail(err, MAYFLY_E_FORMAT,
			    "the ELF header is cut off after %zu of %zu bytes; the file is "
			    "truncated",
			    len, sizeof(Elf64_Ehdr));
	return MAYFLY_OK;
}

static int check_ident(const uint8_t *ident, mayfly_error *err)
{
	if (ident[EI_CLASS] == ELFCLASS32)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "a 32-bit ELF file; guests are 64-bit: build with -m64");
	if (ident[EI_CLASS] != ELFCLASS64)
		return fail(err, MAYFLY_E_FORMAT,
			    "ELF header: class %u is neither 32 nor 64-bit", ident[EI_CLASS]);
	if (ident[EI_DATA] == ELFDATA2MSB)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "a big-endian ELF file, not one for x86-64");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return fail(err, MAYFLY_E_FORMAT, "ELF header: unknown byte order %u",
			    ident[EI_DATA]);
	if (ident[EI_VERSION] != EV_CURRENT)
		return fail(err, MAYFLY_E_FORMAT, "ELF header: unknown version %u",
			    ident[EI_VERSION]);
	return MAYFLY_OK;
}

static const char *machine_name(uint16_t machine)
{
	switch (machine) {
	case EM_386:
		return "32-bit x86";
	case EM_ARM:
		return "32-bit ARM";
	case EM_AARCH64:
		return "AArch64";
	case EM_RISCV:
		return "RISC-V";
	case EM_PPC64:
		return "64-bit PowerPC";
	case EM_S390:
		return "S/390";
	default:
		return "unknown to Mayfly";
	}
}

static int check_type(const Elf64_Ehdr *eh, mayfly_error *err)
{
	if (eh->e_machine != EM_X86_64)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "built for another CPU: machine %u (%s), not x86-64 (%u)",
			    eh->e_machine, machine_name(eh->e_machine), EM_X86_64);
	switch (eh->e_type) {
	case ET_EXEC:
	case ET_DYN:
		return MAYFLY_OK;
	case ET_REL:
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "an object file that was not linked; link it with -static or "
			    "-static-pie");
	case ET_CORE:
		return fail(err, MAYFLY_E_UNSUPPORTED, "a core file, not an executable");
	default:
		return fail(err, MAYFLY_E_FORMAT, "ELF header: unknown type of file %u",
			    eh->e_type);
	}
}

static int check_program_headers(const Elf64_Ehdr *eh, uint64_t len, mayfly_error *err)
{
	if (eh->e_phnum == 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "no program headers: there is nothing to load; was it linked?");
	if (eh->e_phentsize != sizeof(Elf64_Phdr))
		return fail(err, MAYFLY_E_FORMAT,
			    "ELF header: program headers of %u bytes each; they have %zu",
			    eh->e_phentsize, sizeof(Elf64_Phdr));
	if (eh->e_phnum > MAX_PROGRAM_HEADERS)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "ELF header: %u program headers; at most %u are accepted",
			    eh->e_phnum, MAX_PROGRAM_HEADERS);
	if (!range_within(eh->e_phoff, eh->e_phnum * sizeof(Elf64_Phdr), len))
		return fail(err, MAYFLY_E_FORMAT,
			    "the %u program headers run past the end of the file (offset " X64
			    " + size 0x%zx > " X64 "); the file is truncated or damaged",
			    eh->e_phnum, eh->e_phoff, eh->e_phnum * sizeof(Elf64_Phdr), len);
	return MAYFLY_OK;
}

int elf_file_open(struct elf_file *file, const void *data, size_t len, mayfly_error *err)
{
	int r;

	r = check_magic(data, len, err);
	if (r < 0)
		return r;
	file->data = data;
	file->len = len;
	memcpy(&file->eh, data, sizeof(file->eh));
	r = check_ident(file->eh.e_ident, err);
	if (r < 0)
		return r;
	r = check_type(&file->eh, err);
	if (r < 0)
		return r;
	return check_program_headers(&file->eh, len, err);
}

Elf64_Phdr elf_file_phdr(const struct elf_file *file, uint32_t index)
{
	Elf64_Phdr ph;

	memcpy(&ph, file->data + file->eh.e_phoff + index * sizeof(ph), sizeof(ph));
	return ph;
}

/*
 * --- parsing
 * ----------------------------------------------------------------------------------
 */

static int refuse_interpreter(const struct elf_file *file, const Elf64_Phdr *ph,
			      mayfly_error *err)
{
	char shown[96];
	const char *path = "";
	size_t len = 0;

	if (range_within(ph->p_offset, ph->p_filesz, file->len)) {
		path = (const char *)file->data + ph->p_offset;
		len = strnlen(path, ph->p_filesz);
	}
	return fail(
		err, MAYFLY_E_UNSUPPORTED,
		"dynamically linked (it asks for the interpreter \"%s\"); link with -static or "
		"-static-pie",
		error_printable(shown, sizeof(shown), path, len));
}

/*
 * Whether the file can run on its own: no dynamic linker, no libraries, not a library itself.
 */
static int check_linkage(const struct elf_file *file, mayfly_error *err)
{
	struct elf_dynamic dyn;
	int r;

	for (uint32_t i = 0; i < file->eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(file, i);

		if (ph.p_type == PT_INTERP)
			return refuse_interpreter(file, &ph, err);
	}
	r = elf_dynamic_read(file, &dyn, err);
	if (r < 0)
		return r;
	if (file->eh.e_type == ET_DYN && dyn.present && !(dyn.flags_1 & DF_1_PIE))
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"a shared library, not an executable; link with -static-pie instead of "
			"-shared");
	if ((dyn.seen >> DT_NEEDED) & 1)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"dynamically linked (it needs shared libraries); link with -static or "
			"-static-pie");
	return MAYFLY_OK;
}

static uint32_t segment_prot(uint32_t flags)
{
	return ((flags & PF_R) ? ELF_READ : 0) | ((flags & PF_W) ? ELF_WRITE : 0) |
	       ((flags & PF_X) ? ELF_EXEC : 0);
}

/* A PT_LOAD with memsz > 0: what the file has of it. `number` is its program header's. */
static int check_segment(const struct elf_file *file, uint32_t number, const Elf64_Phdr *ph,
			 mayfly_error *err)
{
	if (ph->p_filesz > 0 && !range_within(ph->p_offset, ph->p_filesz, file->len))
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: segment at " X64
			    " runs past the end of the file (offset " X64 " + size " X64
			    " > " X64 "); the file is truncated or damaged",
			    number, ph->p_vaddr, ph->p_offset, ph->p_filesz, file->len);
	if ((ph->p_align & (ph->p_align - 1)) != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: segment at " X64 " is aligned to " X64
			    ", which is no power of two",
			    number, ph->p_vaddr, ph->p_align);
	return MAYFLY_OK;
}

/* And where in memory it goes. */
static int check_placement(const struct elf_image *img, const struct elf_limits *limits,
			   uint32_t number, const Elf64_Phdr *ph, mayfly_error *err)
{
	uint64_t va, end;

	if (ph->p_align > 1 && (img->bias & (ph->p_align - 1)) != 0)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "program header %u: segment at " X64 " wants an alignment of " X64
			    ", but the image is put at " X64
			    "; link with -z max-page-size=4096",
			    number, ph->p_vaddr, ph->p_align, img->bias);
	if (add_overflows(ph->p_vaddr, img->bias, &va) || add_overflows(va, ph->p_memsz, &end))
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: segment at " X64 " of size " X64
			    " runs past the end of the address space",
			    number, ph->p_vaddr, ph->p_memsz);
	if (page_down(va) < limits->min_va || end > page_down(limits->max_va))
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "program header %u: segment at " X64 " to " X64
			    " lies outside of " X64 " to " X64 ", where images may be%s",
			    number, va, end, limits->min_va, limits->max_va,
			    img->pie ? "" : "; link with -static-pie to have it put there");
	return MAYFLY_OK;
}

static int read_segments(const struct elf_file *file, const struct elf_limits *limits,
			 struct elf_image *img, mayfly_error *err)
{
	uint64_t end = 0;
	uint32_t last = 0;

	for (uint32_t i = 0; i < file->eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(file, i);
		uint64_t va = ph.p_vaddr + img->bias;
		int r;

		if (ph.p_type != PT_LOAD)
			continue;
		if (ph.p_filesz > ph.p_memsz)
			return fail(err, MAYFLY_E_FORMAT,
				    "program header %u: segment at " X64
				    " has more bytes in the "
				    "file than in memory (" X64 " > " X64 ")",
				    i, ph.p_vaddr, ph.p_filesz, ph.p_memsz);
		if (ph.p_memsz == 0)
			continue;
		r = check_segment(file, i, &ph, err);
		if (r < 0)
			return r;
		r = check_placement(img, limits, i, &ph, err);
		if (r < 0)
			return r;
		if (img->nsegments == ELF_MAX_SEGMENTS)
			return fail(err, MAYFLY_E_TOO_LARGE,
				    "program header %u: more than %d segments to load", i,
				    ELF_MAX_SEGMENTS);
		if (img->nsegments > 0 && va < end)
			return fail(err, MAYFLY_E_FORMAT,
				    "program headers %u and %u: the segment at " X64
				    " begins before the end of the one before it, " X64,
				    last, i, ph.p_vaddr, end - img->bias);
		img->segments[img->nsegments++] = (struct elf_segment){
			.va = va,
			.memsz = ph.p_memsz,
			.offset = ph.p_filesz ? ph.p_offset : 0,
			.filesz = ph.p_filesz,
			.prot = segment_prot(ph.p_flags),
		};
		end = va + ph.p_memsz;
		last = i;
	}
	if (img->nsegments == 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "no segment (PT_LOAD) to load; was it linked?");
	img->start_va = page_down(img->segments[0].va);
	img->end_va = page_up(end);
	if (img->end_va - img->start_va > limits->max_span)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "the image takes " X64 " bytes of addresses, from " X64 " to " X64
			    "; the guest's memory has room for " X64 ": give it more",
			    img->end_va - img->start_va, img->start_va, img->end_va,
			    limits->max_span);
	return MAYFLY_OK;
}

static int check_tls(const struct elf_image *img, const struct elf_limits *limits,
		     uint32_t number, const Elf64_Phdr *ph, mayfly_error *err)
{
	uint64_t va, end;

	if (ph->p_filesz > ph->p_memsz)
		return fail(
			err, MAYFLY_E_FORMAT,
			"program header %u: thread-local data has more bytes in the file than "
			"in memory (" X64 " > " X64 ")",
			number, ph->p_filesz, ph->p_memsz);
	if ((ph->p_align & (ph->p_align - 1)) != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: thread-local data is aligned to " X64
			    ", which is no power of two",
			    number, ph->p_align);
	if (ph->p_align > MAX_TLS_ALIGN)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "program header %u: thread-local data wants an alignment of " X64
			    "; at most %d is supported",
			    number, ph->p_align, MAX_TLS_ALIGN);
	if (ph->p_memsz > limits->max_span)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "program header %u: thread-local data of " X64
			    " bytes; the guest's memory has room for " X64 ": give it more",
			    number, ph->p_memsz, limits->max_span);
	if (add_overflows(ph->p_vaddr, img->bias, &va) ||
	    add_overflows(va, ph->p_memsz, &end) ||
	    (ph->p_filesz > 0 && !elf_segment_at(img, va, ph->p_filesz)))
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: thread-local data at " X64 " of size " X64
			    " lies in no segment",
			    number, ph->p_vaddr, ph->p_filesz);
	return MAYFLY_OK;
}

static int read_tls(const struct elf_file *file, const struct elf_limits *limits,
		    struct elf_image *img, mayfly_error *err)
{
	bool found = false;

	for (uint32_t i = 0; i < file->eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(file, i);
		int r;

		if (ph.p_type != PT_TLS)
			continue;
		if (found)
			return fail(err, MAYFLY_E_FORMAT,
				    "program header %u: a second one for thread-local data", i);
		found = true;
		r = check_tls(img, limits, i, &ph, err);
		if (r < 0)
			return r;
		if (ph.p_memsz == 0)
			continue;
		img->tls.va = img->bias + ph.p_vaddr;
		img->tls.filesz = ph.p_filesz;
		img->tls.memsz = ph.p_memsz;
		img->tls.align = ph.p_align ? ph.p_align : 1;
	}
	return MAYFLY_OK;
}

static int read_entry(const struct elf_file *file, struct elf_image *img, mayfly_error *err)
{
	const struct elf_segment *seg;
	uint64_t va;

	if (file->eh.e_entry == 0)
		return MAYFLY_OK;
	seg = NULL;
	if (!add_overflows(file->eh.e_entry, img->bias, &va))
		seg = elf_segment_at(img, va, 1);
	if (!seg || !(seg->prot & ELF_EXEC))
		return fail(err, MAYFLY_E_FORMAT,
			    "ELF header: the entry point " X64 " lies in no executable segment",
			    file->eh.e_entry);
	img->entry = va;
	return MAYFLY_OK;
}

/* Where the program headers are in memory: where the file's bytes of them are loaded. */
static uint64_t find_phdr_va(const struct elf_file *file, const struct elf_image *img)
{
	uint64_t size = file->eh.e_phnum * sizeof(Elf64_Phdr);

	for (size_t i = 0; i < img->nsegments; i++) {
		const struct elf_segment *seg = &img->segments[i];

		if (file->eh.e_phoff >= seg->offset &&
		    range_within(file->eh.e_phoff - seg->offset, size, seg->filesz))
			return seg->va + (file->eh.e_phoff - seg->offset);
	}
	return 0;
}

int elf_parse(const void *data, size_t len, const struct elf_limits *limits,
	      struct elf_image *out, mayfly_error *err)
{
	struct elf_image img = {0};
	struct elf_file file;
	int r;

	r = elf_file_open(&file, data, len, err);
	if (r < 0)
		return r;
	r = check_linkage(&file, err);
	if (r < 0)
		return r;
	img.pie = file.eh.e_type == ET_DYN;
	img.bias = img.pie ? limits->pie_base : 0;
	img.phnum = file.eh.e_phnum;
	r = read_segments(&file, limits, &img, err);
	if (r < 0)
		return r;
	r = read_tls(&file, limits, &img, err);
	if (r < 0)
		return r;
	r = read_entry(&file, &img, err);
	if (r < 0)
		return r;
	img.phdr_va = find_phdr_va(&file, &img);
	r = elf_symbols_read(&file, &img, err);
	if (r < 0)
		return r;
	*out = img;
	return MAYFLY_OK;
}

void elf_image_fini(struct elf_image *image)
{
	free(image->symbols);
	free(image->names);
	*image = (struct elf_image){0};
}

/*
 * --- loading
 * ----------------------------------------------------------------------------------
 */

int elf_load(const struct elf_image *image, const void *data, size_t len, uint8_t *mem,
	     mayfly_error *err)
{
	struct elf_dynamic dyn;
	struct elf_file file;
	int r;

	r = elf_file_open(&file, data, len, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct elf_segment *seg = &image->segments[i];

		if (!elf_file_read(&file, seg->offset, mem + (seg->va - image->start_va),
				   seg->filesz))
			return fail(err, MAYFLY_E_FORMAT,
				    "the file became shorter while it was loaded");
	}
	r = elf_dynamic_read(&file, &dyn, err);
	if (r < 0)
		return r;
	return elf_dynamic_relocate(image, &dyn, mem, err);
}

/*
 * --- segments and pages
 * -----------------------------------------------------------------------
 */

/* Index of the first segment that ends above `va`; nsegments if there is none. */
static size_t first_ending_above(const struct elf_image *image, uint64_t va)
{
	size_t low = 0, high = image->nsegments;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (image->segments[mid].va + image->segments[mid].memsz > va)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

const struct elf_segment *elf_segment_at(const struct elf_image *image, uint64_t va,
					 uint64_t len)
{
	size_t i = first_ending_above(image, va);
	const struct elf_segment *seg = &image->segments[i];

	if (i == image->nsegments || va < seg->va ||
	    !range_within(va - seg->va, len, seg->memsz))
		return NULL;
	return seg;
}

uint32_t elf_page_prot(const struct elf_image *image, uint64_t va)
{
	uint32_t prot = 0;

	for (size_t i = first_ending_above(image, va); i < image->nsegments; i++) {
		const struct elf_segment *seg = &image->segments[i];

		if (seg->va > va && seg->va - va >= PAGE_SIZE)
			break;
		prot |= seg->prot;
	}
	return prot;
}

uint64_t elf_find_wx_page(const struct elf_image *image)
{
	const uint32_t both = ELF_WRITE | ELF_EXEC;

	/* Of the segments that share a page, all but the first begin in it. */
	for (size_t i = 0; i < image->nsegments; i++) {
		uint64_t va = page_down(image->segments[i].va);

		if ((elf_page_prot(image, va) & both) == both)
			return va;
	}
	return 0;
}

/*
 * --- notes
 * ------------------------------------------------------------------------------------
 */

static uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static bool all_zero(const uint8_t *p, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/*
 * Each note is a header, the name, and the descriptor, the latter two padded to the alignment
 * (gABI, "Note Section"). The last one's padding may be missing. No sum here can overflow:
 * sizes are 32-bit, `at` is at most ELF_MAX_NOTE_BYTES.
 */
int elf_walk_note_segment(const struct elf_notes *seg, const char *name, elf_note_fn fn,
			  void *context, mayfly_error *err)
{
	size_t name_size = strlen(name) + 1;
	uint64_t at = 0;

	while (seg->size - at >= sizeof(Elf64_Nhdr)) {
		uint64_t name_at = at + sizeof(Elf64_Nhdr);
		uint64_t desc_at, end;
		Elf64_Nhdr nh;
		int r;

		memcpy(&nh, seg->mem + at, sizeof(nh));
		desc_at = align_up(name_at + nh.n_namesz, seg->align);
		end = desc_at + nh.n_descsz;
		if (name_at + nh.n_namesz > seg->size || (nh.n_descsz > 0 && end > seg->size))
			return fail(
				err, MAYFLY_E_FORMAT,
				"program header %u: note at offset " X64 " with a name of "
				"0x%x and a descriptor of 0x%x bytes runs past the end of the "
				"notes, " X64,
				seg->number, at, nh.n_namesz, nh.n_descsz, seg->size);
		if (nh.n_namesz == name_size &&
		    memcmp(seg->mem + name_at, name, name_size) == 0) {
			/* Without a descriptor desc_at can lie in padding that is not there. */
			uint64_t desc = nh.n_descsz > 0 ? desc_at : name_at;

			r = fn(context, nh.n_type, seg->mem + desc, nh.n_descsz, seg->va + desc,
			       err);
			if (r != 0)
				return r;
		}
		at = align_up(end, seg->align);
		if (at >= seg->size)
			return MAYFLY_OK;
	}
	if (!all_zero(seg->mem + at, seg->size - at))
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: the note at offset " X64
			    " is cut off after " X64 " bytes",
			    seg->number, at, seg->size - at);
	return MAYFLY_OK;
}

/* Check where a PT_NOTE lies. 1: in loaded memory, *out is filled; 0: not to be looked at. */
static int locate_notes(const struct elf_image *image, const uint8_t *mem, uint32_t number,
			const Elf64_Phdr *ph, struct elf_notes *out, mayfly_error *err)
{
	const struct elf_segment *seg;
	uint64_t va;

	if (ph->p_type != PT_NOTE || ph->p_filesz == 0 ||
	    add_overflows(ph->p_vaddr, image->bias, &va))
		return 0;
	seg = elf_segment_at(image, va, 1);
	if (!seg)
		return 0;
	/*
	 * Not in the part that has no bytes in the file: that one's size costs a guest nothing.
	 */
	if (!range_within(va - seg->va, ph->p_filesz, seg->filesz))
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: notes at " X64 " of size " X64
			    " run past the end of what is loaded there",
			    number, ph->p_vaddr, ph->p_filesz);
	if (ph->p_align > 8 || (ph->p_align & (ph->p_align - 1)) != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "program header %u: notes are aligned to " X64 "; only 4 and 8 are "
			    "defined",
			    number, ph->p_align);
	*out = (struct elf_notes){
		.number = number,
		.mem = mem + (va - image->start_va),
		.size = ph->p_filesz,
		.va = va,
		.align = ph->p_align == 8 ? 8 : 4,
	};
	return 1;
}

/* Two more parameters than the rule: the walk is over four things, for two. */
/* NOLINTNEXTLINE(readability-function-size) */
int elf_walk_notes(const struct elf_image *image, const void *data, size_t len,
		   const uint8_t *mem, const char *name, elf_note_fn fn, void *context,
		   mayfly_error *err)
{
	uint64_t budget = ELF_MAX_NOTE_BYTES;
	struct elf_file file;
	int r;

	r = elf_file_open(&file, data, len, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < file.eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(&file, i);
		struct elf_notes seg;

		r = locate_notes(image, mem, i, &ph, &seg, err);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (seg.size > budget)
			return fail(err, MAYFLY_E_TOO_LARGE,
				    "program header %u: more than " X64
				    " bytes of notes in all",
				    i, ELF_MAX_NOTE_BYTES);
		budget -= seg.size;
		r = elf_walk_note_segment(&seg, name, fn, context, err);
		if (r != 0)
			return r;
	}
	return MAYFLY_OK;
}
