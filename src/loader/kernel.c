/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>

#include "loader/kernel_file.h"

#define MAX_SEGMENTS 64
#define MAX_NOTES 256
#define MAX_NOTES_LEN ((uint64_t)1 << 20)

/* Notes of name "Xen" (xen/include/public/elfnote.h). */
#define NOTE_GUEST_OS 6
#define NOTE_PHYS32_ENTRY 18

/* What a PVH kernel may be given: below 2 GiB, where its first page tables reach. */
#define PVH_INITRD_MAX ((uint64_t)1 << 31)

/* The parts that matter of a program header, of 32 or 64 bits. */
struct segment {
	uint32_t type;
	uint64_t offset, filesz, paddr, memsz, align;
};

struct file {
	struct image *image;
	bool wide; /* ELF64 */
	uint64_t entry;
	struct segment segments[MAX_SEGMENTS];
	uint32_t nsegments;
	/* What notes say. */
	bool has_pvh;
	uint64_t pvh_entry;
	enum kernel_system system;
};

int kernel_place(const struct ram *ram, uint64_t at, uint64_t len, uint8_t **out,
		 mayfly_error *err)
{
	uint64_t end;

	if (at < KERNEL_LOWEST || add_overflows(at, len, &end))
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: %#llx bytes at physical address %#llx, but the first MiB is "
			"not for kernels",
			(unsigned long long)len, (unsigned long long)at);
	if (end > RAM_LOW_MAX)
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: it lies up to physical address %#llx, but from %#llx on are "
			"devices",
			(unsigned long long)end, (unsigned long long)RAM_LOW_MAX);
	*out = ram_span(ram, gpa(at), len);
	if (!*out)
		return fail(
			err, MAYFLY_E_TOO_LARGE,
			"kernel: it needs memory up to %llu MiB, and the machine has %llu MiB",
			(unsigned long long)((end + (1 << 20) - 1) >> 20),
			(unsigned long long)(ram->len >> 20));
	return MAYFLY_OK;
}

/* --- headers ----------------------------------------------------------------------------- */

static int check_ident(const Elf64_Ehdr *e, mayfly_error *err)
{
	if (e->e_ident[EI_DATA] != ELFDATA2LSB)
		return fail(err, MAYFLY_E_UNSUPPORTED, "kernel: the ELF file is big-endian");
	if (e->e_ident[EI_CLASS] != ELFCLASS64 && e->e_ident[EI_CLASS] != ELFCLASS32)
		return fail(err, MAYFLY_E_FORMAT,
			    "kernel: ELF class %u is neither 32 nor 64 bits",
			    e->e_ident[EI_CLASS]);
	/* These lie at the same place in both classes. */
	if (e->e_type != ET_EXEC && e->e_type != ET_DYN)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "kernel: ELF type %u: it is no executable, such as a vmlinux, but "
			    "perhaps an object or module",
			    e->e_type);
	if (e->e_machine != EM_X86_64 && e->e_machine != EM_386)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "kernel: ELF machine %u: it is not for x86", e->e_machine);
	return MAYFLY_OK;
}

static void read_segment(const struct file *f, const uint8_t *header, struct segment *s)
{
	Elf64_Phdr wide;
	Elf32_Phdr narrow;

	if (f->wide) {
		memcpy(&wide, header, sizeof(wide));
		*s = (struct segment){wide.p_type,  wide.p_offset, wide.p_filesz,
				      wide.p_paddr, wide.p_memsz,  wide.p_align};
		return;
	}
	memcpy(&narrow, header, sizeof(narrow));
	*s = (struct segment){narrow.p_type,  narrow.p_offset, narrow.p_filesz,
			      narrow.p_paddr, narrow.p_memsz,  narrow.p_align};
}

static int read_headers(struct file *f, mayfly_error *err)
{
	uint8_t headers[MAX_SEGMENTS * sizeof(Elf64_Phdr)];
	uint64_t at, len = f->image->len;
	size_t need = sizeof(Elf32_Ehdr);
	Elf32_Ehdr narrow;
	Elf64_Ehdr wide;
	uint32_t n, size;
	int r;

	memset(&wide, 0, sizeof(wide));
	r = image_read(f->image, 0, &wide, len < sizeof(wide) ? len : sizeof(wide), err);
	if (r)
		return r;
	f->wide = wide.e_ident[EI_CLASS] == ELFCLASS64;
	if (f->wide)
		need = sizeof(wide);
	if (len < need)
		return fail(err, MAYFLY_E_FORMAT, "kernel: the ELF header is cut off");
	if ((r = check_ident(&wide, err)))
		return r;
	memcpy(&narrow, &wide, sizeof(narrow));
	f->entry = f->wide ? wide.e_entry : narrow.e_entry;
	at = f->wide ? wide.e_phoff : narrow.e_phoff;
	n = f->wide ? wide.e_phnum : narrow.e_phnum;
	size = f->wide ? wide.e_phentsize : narrow.e_phentsize;
	if (size != (f->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return fail(err, MAYFLY_E_FORMAT, "kernel: ELF program headers of %u bytes",
			    size);
	if (n == 0 || n > MAX_SEGMENTS)
		return fail(err, MAYFLY_E_FORMAT,
			    "kernel: %u ELF program headers; 1 to %d are expected", n,
			    MAX_SEGMENTS);
	if (!range_within(at, (uint64_t)n * size, len))
		return fail(err, MAYFLY_E_FORMAT,
			    "kernel: the ELF program headers at offset %#llx are cut off",
			    (unsigned long long)at);
	if ((r = image_read(f->image, at, headers, (uint64_t)n * size, err)))
		return r;
	for (f->nsegments = 0; f->nsegments < n; f->nsegments++)
		read_segment(f, headers + (size_t)f->nsegments * size,
			     &f->segments[f->nsegments]);
	return MAYFLY_OK;
}

/* --- notes ------------------------------------------------------------------------------- */

struct note {
	uint32_t type;
	const char *name; /* of name_len bytes, a terminating zero among them */
	uint32_t name_len;
	const uint8_t *desc;
	uint32_t desc_len;
};

static bool note_is(const struct note *n, const char *name)
{
	size_t len = strlen(name) + 1;

	return n->name_len == len && memcmp(n->name, name, len) == 0;
}

static void take_note(struct file *f, const struct note *n)
{
	if (note_is(n, "NetBSD")) {
		f->system = KERNEL_NETBSD;
	} else if (note_is(n, "Linux")) {
		f->system = KERNEL_LINUX;
	} else if (note_is(n, "Xen") && n->type == NOTE_GUEST_OS) {
		if (n->desc_len >= 5 && memcmp(n->desc, "linux", 5) == 0)
			f->system = KERNEL_LINUX;
		else if (n->desc_len >= 6 && memcmp(n->desc, "NetBSD", 6) == 0)
			f->system = KERNEL_NETBSD;
	} else if (note_is(n, "Xen") && n->type == NOTE_PHYS32_ENTRY &&
		   (n->desc_len == 4 || n->desc_len == 8)) {
		f->pvh_entry = 0;
		memcpy(&f->pvh_entry, n->desc, n->desc_len);
		f->has_pvh = true;
	}
}

/*
 * The notes of a segment (gABI, "Note Section"): name and descriptor are padded to 4 bytes, or
 * to 8 where the segment says so; which, as linkers have it, is about where the descriptor lies,
 * not about the name's length.
 */
static int read_notes(struct file *f, const struct segment *s, const uint8_t *notes,
		      mayfly_error *err)
{
	uint64_t pad = s->align == 8 ? 7 : 3, at = 0;

	for (uint32_t n = 0; n < MAX_NOTES; n++) {
		Elf64_Nhdr h; /* the same as Elf32_Nhdr */
		uint64_t name, desc, end;

		if (s->filesz - at < sizeof(h))
			return MAYFLY_OK;
		memcpy(&h, notes + at, sizeof(h));
		name = at + sizeof(h);
		desc = (name + h.n_namesz + pad) & ~pad;
		end = desc + h.n_descsz;
		if (end > s->filesz)
			return fail(err, MAYFLY_E_FORMAT,
				    "kernel: the ELF note at offset %#llx is cut off",
				    (unsigned long long)(s->offset + at));
		take_note(f, &(struct note){h.n_type, (const char *)notes + name, h.n_namesz,
					    notes + desc, h.n_descsz});
		at = (end + pad) & ~pad;
		if (at > s->filesz)
			return MAYFLY_OK;
	}
	return fail(err, MAYFLY_E_FORMAT, "kernel: more than %d ELF notes in one segment",
		    MAX_NOTES);
}

static int read_note_segment(struct file *f, const struct segment *s, mayfly_error *err)
{
	_cleanup_free_ uint8_t *notes = NULL;
	int r;

	if (!range_within(s->offset, s->filesz, f->image->len))
		return fail(err, MAYFLY_E_FORMAT,
			    "kernel: ELF notes at offset %#llx are cut off",
			    (unsigned long long)s->offset);
	if (s->filesz > MAX_NOTES_LEN)
		return fail(err, MAYFLY_E_FORMAT, "kernel: %llu bytes of ELF notes",
			    (unsigned long long)s->filesz);
	notes = malloc(s->filesz + 1); /* none of them is no error */
	if (!notes)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a kernel's ELF notes");
	r = image_read(f->image, s->offset, notes, s->filesz, err);
	return r ? r : read_notes(f, s, notes, err);
}

static int read_all_notes(struct file *f, mayfly_error *err)
{
	int r = MAYFLY_OK;

	for (uint32_t i = 0; i < f->nsegments && r == MAYFLY_OK; i++)
		if (f->segments[i].type == PT_NOTE)
			r = read_note_segment(f, &f->segments[i], err);
	return r;
}

/* --- loading ----------------------------------------------------------------------------- */

static bool overlap(const struct segment *a, const struct segment *b)
{
	return a->paddr < b->paddr + b->memsz && b->paddr < a->paddr + a->memsz;
}

static int load_segment(const struct file *f, uint32_t i, const struct ram *ram,
			mayfly_error *err)
{
	const struct segment *s = &f->segments[i];
	uint8_t *to;
	int r;

	if (s->filesz > s->memsz || !range_within(s->offset, s->filesz, f->image->len))
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: ELF segment %u has %#llx bytes at offset %#llx of the file, "
			"which has %llu, and %#llx in memory",
			i, (unsigned long long)s->filesz, (unsigned long long)s->offset,
			(unsigned long long)f->image->len, (unsigned long long)s->memsz);
	if ((r = kernel_place(ram, s->paddr, s->memsz, &to, err)))
		return r;
	/* Those before are in memory, so their sums do not overflow. */
	for (uint32_t j = 0; j < i; j++) {
		const struct segment *other = &f->segments[j];

		if (other->type == PT_LOAD && other->memsz && overlap(other, s))
			return fail(err, MAYFLY_E_FORMAT,
				    "kernel: ELF segments %u and %u overlap in memory", j, i);
	}
	return image_place(f->image, s->offset, to, s->filesz, err);
}

static int load_segments(const struct file *f, const struct ram *ram, struct kernel *out,
			 mayfly_error *err)
{
	int r;

	out->start = UINT64_MAX;
	for (uint32_t i = 0; i < f->nsegments; i++) {
		const struct segment *s = &f->segments[i];

		if (s->type != PT_LOAD || s->memsz == 0)
			continue;
		if ((r = load_segment(f, i, ram, err)))
			return r;
		if (s->paddr < out->start)
			out->start = s->paddr;
		if (s->paddr + s->memsz > out->end)
			out->end = s->paddr + s->memsz;
	}
	if (out->end == 0)
		return fail(err, MAYFLY_E_FORMAT, "kernel: the ELF file has nothing to load");
	if (out->entry < out->start || out->entry >= out->end)
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: its entry %#llx is outside of what is loaded, %#llx to %#llx",
			(unsigned long long)out->entry, (unsigned long long)out->start,
			(unsigned long long)out->end);
	return MAYFLY_OK;
}

static int load_elf(struct image *image, const struct ram *ram, struct kernel *out,
		    mayfly_error *err)
{
	struct file f = {.image = image};
	int r;

	if ((r = read_headers(&f, err)) || (r = read_all_notes(&f, err)))
		return r;
	out->system = f.system;
	out->initrd_max = PVH_INITRD_MAX;
	if (f.has_pvh) {
		out->kind = KERNEL_PVH;
		out->entry = f.pvh_entry;
	} else if (f.wide && image_contains(image, "Linux version ")) {
		out->kind = KERNEL_LINUX64;
		out->system = KERNEL_LINUX;
		out->entry = f.entry;
	} else {
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "kernel: no PVH entry: the ELF file has no note \"Xen\" of type 18 "
			    "(PHYS32_ENTRY), and is no 64-bit Linux; Linux has it with "
			    "CONFIG_PVH, NetBSD in its GENERIC and MICROVM kernels");
	}
	return load_segments(&f, ram, out, err);
}

int kernel_load(struct image *image, const struct ram *ram, struct kernel *out,
		mayfly_error *err)
{
	uint8_t head[BZIMAGE_HEADER];
	uint64_t len = image->len < sizeof(head) ? image->len : sizeof(head);
	struct kernel k;
	int r = image_read(image, 0, head, len, err);

	memset(&k, 0, sizeof(k));
	if (r)
		return r;
	if (len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		r = load_elf(image, ram, &k, err);
	else if (bzimage_is(head, len))
		r = bzimage_load(image, head, ram, &k, err);
	else
		r = fail(err, MAYFLY_E_FORMAT,
			 "kernel: neither an ELF file nor a Linux bzImage");
	if (r == MAYFLY_OK)
		*out = k;
	return r;
}
