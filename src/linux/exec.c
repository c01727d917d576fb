/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executables: what the kernel's fs/binfmt_elf.c and fs/binfmt_script.c do. The files are
 * hostile: headers are copied once, every sum is checked, and what is mapped is checked by
 * mm_map() again.
 */
#include "linux/exec.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/error.h"
#include "linux/functions.h"
#include "linux/mm_areas.h"
#include "linux/process.h"
#include "loader/elf_file.h"

/* Headers must be within so many bytes of the file's beginning: linkers put them first. */
#define HEADER_SIZE 65536
#define MAX_PHDRS 256
#define MAX_SYMBOL_BYTES ((uint64_t)32 << 20) /* that main() is searched in */
#define STACK_SIZE ((uint64_t)8 << 20)	      /* RLIMIT_STACK's usual value */
#define STACK_GUARD ((uint64_t)1 << 20)
#define PIE_BASE 0x555555554000 /* as Linux (ELF_ET_DYN_BASE) */
#define MMAP_BASE 0x7f0000000000
#define STACK_TOP 0x7ffffff00000
#define MAX_IMAGE ((uint64_t)16 << 30)
#define MAX_SCRIPT_LINE 256 /* BINPRM_BUF_SIZE */

struct image {
	struct file *file;
	struct elf_file elf;
	uint8_t header[HEADER_SIZE];
	size_t header_len;
	uint64_t bias, start, end; /* biased, pages */
	uint64_t phdr;
	char interp[PATH_MAX];
	bool foreign;	  /* its path is another file's word */
	const char *path; /* for messages */
	char printable[256];
};

static int fail_open(mayfly_error *err, const char *path, int e)
{
	if (e == ENOENT || e == ENOTDIR)
		return fail_errno(err, MAYFLY_E_NO_PROGRAM, e, "%s", path);
	if (e == ENOMEM || e == EMFILE || e == ENFILE)
		return fail_errno(err, MAYFLY_E_NOMEM, e, "%s", path);
	return fail_errno(err, MAYFLY_E_FORMAT, e, "%s: cannot be executed", path);
}

static int open_image(struct process *p, const char *path, struct image *image,
		      mayfly_error *err)
{
	struct stat st;
	ssize_t n;
	int r = vfs_open(p->vfs, NULL, path, O_RDONLY, 0, &image->file);

	if (image->foreign)
		path = error_printable(image->printable, sizeof(image->printable), path,
				       strlen(path));
	image->path = path;
	if (r < 0)
		return fail_open(err, path, -r);
	if (vfs_fstat(p->vfs, image->file, &st) < 0 || !S_ISREG(st.st_mode))
		return fail(err, MAYFLY_E_FORMAT, "%s: not a regular file", path);
	if (!(st.st_mode & 0111))
		return fail_errno(err, MAYFLY_E_FORMAT, EACCES,
				  "%s: not executable (chmod +x?)", path);
	n = pread(image->file->fd, image->header, sizeof(image->header), 0);
	if (n < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", path);
	image->header_len = (size_t)n;
	return 0;
}

/* --- Segments ----------------------------------------------------------------------------- */

/* Checks all PT_LOADs; fills start and end, unbiased. */
static int measure(struct image *image, mayfly_error *err)
{
	image->start = UINT64_MAX;
	image->end = 0;
	for (uint32_t i = 0; i < image->elf.eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(&image->elf, i);
		uint64_t end;

		if (ph.p_type != PT_LOAD || !ph.p_memsz)
			continue;
		if (ph.p_filesz > ph.p_memsz || add_overflows(ph.p_vaddr, ph.p_memsz, &end) ||
		    end > PROG_VA_END || ph.p_offset > INT64_MAX ||
		    ph.p_filesz > (uint64_t)INT64_MAX - ph.p_offset ||
		    (ph.p_vaddr & PAGE_MASK) != (ph.p_offset & PAGE_MASK))
			return fail(err, MAYFLY_E_FORMAT,
				    "%s: program header %u (PT_LOAD at 0x%llx) makes no sense",
				    image->path, i, (unsigned long long)ph.p_vaddr);
		if (page_down(ph.p_vaddr) < image->start)
			image->start = page_down(ph.p_vaddr);
		if (page_up(end) > image->end)
			image->end = page_up(end);
		if (image->elf.eh.e_phoff >= ph.p_offset &&
		    image->elf.eh.e_phoff < ph.p_offset + ph.p_filesz)
			image->phdr = image->elf.eh.e_phoff - ph.p_offset + ph.p_vaddr;
	}
	if (image->start >= image->end)
		return fail(err, MAYFLY_E_FORMAT, "%s: nothing to load in it (no PT_LOAD)",
			    image->path);
	if (image->end - image->start > MAX_IMAGE)
		return fail(err, MAYFLY_E_TOO_LARGE, "%s: its image spans %llu bytes",
			    image->path, (unsigned long long)(image->end - image->start));
	return 0;
}

static uint32_t segment_prot(uint32_t flags)
{
	return (flags & PF_R ? PROT_READ : 0u) | (flags & PF_W ? PROT_WRITE : 0u) |
	       (flags & PF_X ? PROT_EXEC : 0u);
}

/* One PT_LOAD. -errno */
static int64_t map_segment(struct mm *mm, const struct image *image, const Elf64_Phdr *ph)
{
	const struct mm_source source = {image->file, page_down(ph->p_offset)};
	uint32_t prot = segment_prot(ph->p_flags);
	uint64_t va = ph->p_vaddr + image->bias;
	uint64_t file_end = va + ph->p_filesz, end = page_up(va + ph->p_memsz);
	uint64_t start = page_down(va), zero = page_up(file_end);
	int64_t r = 0;

	if (ph->p_filesz)
		r = mm_map(mm, start, zero - start, prot,
			   MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, &source);
	else
		zero = start;
	/* What follows the file's bytes in their last page must be zero, where it matters. */
	if (r >= 0 && ph->p_memsz > ph->p_filesz && (prot & PROT_WRITE) && zero > file_end)
		r = mm_zero(mm, file_end, zero - file_end);
	if (r >= 0 && end > zero)
		r = mm_map(mm, zero, end - zero, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			   NULL);
	return r;
}

static uint64_t max_align(const struct image *image)
{
	uint64_t align = PAGE_SIZE;

	for (uint32_t i = 0; i < image->elf.eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(&image->elf, i);

		if (ph.p_type == PT_LOAD && ph.p_align > align && ph.p_align <= MM_CHUNK &&
		    !(ph.p_align & (ph.p_align - 1)))
			align = ph.p_align;
	}
	return align;
}

/* `base`: where a PIE is to go, 0: wherever there is room. */
static int load_image(struct process *p, struct image *image, uint64_t base, mayfly_error *err)
{
	uint64_t align = max_align(image), len;
	int64_t r = 0;
	int checked = measure(image, err);

	if (checked < 0)
		return checked;
	len = image->end - image->start;
	if (image->elf.eh.e_type == ET_DYN) {
		r = mm_map(&p->mm, base, len + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			   NULL);
		if (r >= 0) {
			uint64_t room = (uint64_t)r;

			image->bias = (room + align - 1) / align * align - image->start;
			r = mm_unmap(&p->mm, room, len + align);
		}
	} else if (image->start < PROG_LOW_VA) {
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "%s: linked to 0x%llx; addresses below 0x%x are taken: link it "
			    "elsewhere (-Wl,-Ttext-segment=0x400000) or as a PIE",
			    image->path, (unsigned long long)image->start, PROG_LOW_VA);
	}
	for (uint32_t i = 0; r >= 0 && i < image->elf.eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(&image->elf, i);

		if (ph.p_type == PT_LOAD && ph.p_memsz)
			r = map_segment(&p->mm, image, &ph);
	}
	if (r == -EFAULT)
		return fail(err, MAYFLY_E_FORMAT,
			    "%s: a segment ends behind the end of the file, which is truncated "
			    "or damaged",
			    image->path);
	if (r < 0)
		return fail_errno(err, r == -ENOMEM ? MAYFLY_E_TOO_LARGE : MAYFLY_E_FORMAT,
				  (int)-r, "%s: loading it into %llu bytes of memory",
				  image->path, (unsigned long long)p->mm.limit);
	image->start += image->bias;
	image->end += image->bias;
	image->phdr += image->bias;
	return 0;
}

static int parse_image(struct image *image, mayfly_error *err)
{
	int r = elf_file_open(&image->elf, image->header, image->header_len, err);

	if (r < 0) {
		error_prefix(err, "%s", image->path);
		return r;
	}
	if (image->elf.eh.e_phnum > MAX_PHDRS)
		return fail(err, MAYFLY_E_FORMAT, "%s: %u program headers", image->path,
			    image->elf.eh.e_phnum);
	image->interp[0] = 0;
	for (uint32_t i = 0; i < image->elf.eh.e_phnum; i++) {
		Elf64_Phdr ph = elf_file_phdr(&image->elf, i);

		if (ph.p_type != PT_INTERP)
			continue;
		if (ph.p_filesz < 2 || ph.p_filesz > sizeof(image->interp) ||
		    ph.p_offset > INT64_MAX ||
		    pread(image->file->fd, image->interp, ph.p_filesz, (off_t)ph.p_offset) !=
			    (ssize_t)ph.p_filesz ||
		    image->interp[ph.p_filesz - 1])
			return fail(err, MAYFLY_E_FORMAT,
				    "%s: its interpreter's name is damaged", image->path);
		break;
	}
	return 0;
}

/* --- Scripts ------------------------------------------------------------------------------ */

struct arguments {
	const char **list; /* owned; the strings are borrowed or in `owned` */
	size_t count;
	char *owned[3 * EXEC_MAX_SCRIPTS];
	size_t nowned;
};

static char *own(struct arguments *args, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	if (copy)
		args->owned[args->nowned++] = copy;
	return copy;
}

/* argv becomes: interpreter, its argument if any, the script's path, argv[1...]. */
static int rewrite(struct arguments *args, const char *line, size_t len, const char *script,
		   mayfly_error *err)
{
	const char *end = line + len, *word, *word_end;
	char *interp, *option = NULL, *path;
	size_t extra;

	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	for (word = line; word < end && *word != ' ' && *word != '\t'; word++)
		;
	word_end = word;
	while (word < end && (*word == ' ' || *word == '\t'))
		word++;
	if (word_end == line)
		return fail(err, MAYFLY_E_FORMAT, "%s: its #! line names no interpreter",
			    script);
	interp = own(args, line, (size_t)(word_end - line));
	path = own(args, script, strlen(script));
	if (word < end)
		option = own(args, word, (size_t)(end - word));
	extra = option ? 2 : 1;
	if (!interp || !path || (word < end && !option))
		return fail(err, MAYFLY_E_NOMEM, "no memory for a script's arguments");
	args->list = reallocarray(args->list, args->count + extra + 2, sizeof(*args->list));
	if (!args->list)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a script's arguments");
	memmove(args->list + extra + 1, args->list + 1, args->count * sizeof(*args->list));
	args->list[0] = interp;
	if (option)
		args->list[1] = option;
	args->list[extra] = path;
	args->count += extra;
	return 0;
}

static int copy_arguments(struct arguments *args, const char *const *argv, const char *path,
			  mayfly_error *err)
{
	while (argv && argv[args->count])
		args->count++;
	args->list = calloc(args->count + 2, sizeof(*args->list));
	if (!args->list)
		return fail(err, MAYFLY_E_NOMEM, "no memory for arguments");
	for (size_t i = 0; i < args->count; i++)
		args->list[i] = argv[i];
	if (!args->count)
		args->list[args->count++] = path;
	return 0;
}

static void free_arguments(struct arguments *args)
{
	for (size_t i = 0; i < args->nowned; i++)
		free(args->owned[i]);
	free(args->list);
}

/* Open `path`, and as long as it is a script its interpreter instead. */
static int open_program(struct process *p, const char *path, struct arguments *args,
			struct image *image, mayfly_error *err)
{
	char script[256] = "";

	for (int depth = 0;; depth++) {
		const char *newline;
		size_t len;
		int r;

		image->foreign = depth;
		r = open_image(p, path, image, err);
		if (r < 0) {
			if (depth)
				error_prefix(err, "the interpreter of %s", script);
			return r;
		}
		if (image->header_len < 2 || memcmp(image->header, "#!", 2) != 0)
			return 0;
		if (depth == EXEC_MAX_SCRIPTS)
			return fail(err, MAYFLY_E_FORMAT, "%s: scripts that lead to scripts",
				    path);
		len = image->header_len - 2 < MAX_SCRIPT_LINE ? image->header_len - 2
							      : MAX_SCRIPT_LINE;
		newline = memchr(image->header + 2, '\n', len);
		if (newline)
			len = (size_t)(newline - (const char *)image->header - 2);
		r = rewrite(args, (const char *)image->header + 2, len, path, err);
		if (r < 0)
			return r;
		error_printable(script, sizeof(script), path, strlen(path));
		path = args->list[0];
		file_put(image->file);
		image->file = NULL;
	}
}

/* --- All together ------------------------------------------------------------------------- */

/* Where things go. Random, as Linux has it, unless the layout is to be fixed. */
static void choose_layout(struct process *p, uint64_t *pie)
{
	uint64_t seed[3] = {0, 0, 0};

	if (!p->fixed_layout)
		random_bytes(seed, sizeof(seed));
	*pie = PIE_BASE + (seed[0] & 0xfffffff) * PAGE_SIZE;
	p->mm.mmap_base = MMAP_BASE + (seed[1] & 0xffff) * MM_CHUNK;
	p->mm.stack_top = STACK_TOP - (seed[2] & 0xffff) * PAGE_SIZE;
}

static int map_stack(struct process *p, mayfly_error *err)
{
	uint64_t top = p->mm.stack_top;
	int64_t r = mm_map(&p->mm, top - STACK_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_STACK, NULL);

	if (r < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, (int)-r, "mapping the stack");
	p->mm.areas[area_find(&p->mm, top - STACK_SIZE)].name = "[stack]";
	return 0;
}

static int load_interpreter(struct process *p, struct image *program, struct task *t,
			    mayfly_error *err)
{
	_cleanup_free_ struct image *interp = calloc(1, sizeof(*interp));
	int r;

	if (!interp)
		return fail(err, MAYFLY_E_NOMEM, "no memory to load a program");
	interp->foreign = true;
	r = open_image(p, program->interp, interp, err);
	if (r < 0)
		error_prefix(err,
			     "%s is dynamically linked, and its loader is not among what was "
			     "granted",
			     program->path);
	else
		r = parse_image(interp, err);
	if (r == 0)
		r = load_image(p, interp, 0, err);
	if (r == 0) {
		p->mm.interp_base = interp->bias;
		t->regs.rip = interp->elf.eh.e_entry + interp->bias;
	}
	file_put(interp->file);
	return r;
}

static int load(struct process *p, struct task *t, struct image *image,
		const struct arguments *args, const char *const *envp, mayfly_error *err)
{
	uint64_t pie, sp;
	int r = parse_image(image, err);

	if (r < 0)
		return r;
	choose_layout(p, &pie);
	r = load_image(p, image, pie, err);
	if (r == 0)
		r = functions_load(p, &image->elf, image->file->fd, image->bias, err);
	if (r < 0)
		return r;
	p->mm.brk_start = p->mm.brk = image->end;
	p->mm.entry = image->elf.eh.e_entry + image->bias;
	p->mm.phdr = image->phdr;
	p->mm.phnum = image->elf.eh.e_phnum;
	t->regs = (struct cpu_regs){.rip = p->mm.entry, .rflags = CPU_RFLAGS_START};
	if (image->interp[0])
		r = load_interpreter(p, image, t, err);
	if (r == 0)
		r = map_stack(p, err);
	if (r < 0)
		return r;
	r = exec_build_stack(p, args->list, envp, image->file->path, &sp);
	if (r < 0)
		return fail_errno(err, MAYFLY_E_TOO_LARGE, -r,
				  "arguments and environment: at most 2 MiB");
	t->regs.rsp = sp;
	p->exe = strdup(image->file->path);
	return p->exe ? 0 : fail(err, MAYFLY_E_NOMEM, "no memory to load a program");
}

/* --- Where main() is ---------------------------------------------------------------------- */

/*
 * What C libraries' _start does to tell __libc_start_main() of main(), in its first bytes:
 * lea main(%rip),%rdi or mov $main,%rdi. 0: nothing of the kind.
 */
static uint64_t main_of_start(struct process *p)
{
	uint8_t code[80];
	int32_t value;

	if (mm_read(&p->mm, code, p->mm.entry, sizeof(code)) < 0)
		return 0;
	for (size_t i = 0; i + 7 <= sizeof(code); i++) {
		bool lea = !memcmp(code + i, "\x48\x8d\x3d", 3);
		bool mov = !memcmp(code + i, "\x48\xc7\xc7", 3);

		if (!lea && !mov)
			continue;
		memcpy(&value, code + i + 3, sizeof(value));
		return lea ? p->mm.entry + i + 7 + (uint64_t)(int64_t)value
			   : (uint64_t)(int64_t)value;
	}
	return 0;
}

/* Of the symbol table, whose sections are looked up one by one: files can be large. */
static uint64_t main_of_symbols(const struct elf_file *elf, int fd, uint64_t bias)
{
	Elf64_Shdr sh, strings;
	Elf64_Sym syms[64];

	for (uint32_t i = 0; i < elf->eh.e_shnum; i++) {
		off_t at = (off_t)(elf->eh.e_shoff + (uint64_t)i * sizeof(sh));

		if (pread(fd, &sh, sizeof(sh), at) != (ssize_t)sizeof(sh) ||
		    sh.sh_type != SHT_SYMTAB)
			continue;
		at = (off_t)(elf->eh.e_shoff + (uint64_t)sh.sh_link * sizeof(sh));
		if (pread(fd, &strings, sizeof(strings), at) != (ssize_t)sizeof(strings))
			return 0;
		for (uint64_t done = 0; done < sh.sh_size && done < MAX_SYMBOL_BYTES;
		     done += sizeof(syms)) {
			ssize_t n = pread(fd, syms, sizeof(syms), (off_t)(sh.sh_offset + done));

			for (ssize_t s = 0; s < n / (ssize_t)sizeof(syms[0]); s++) {
				char name[5];

				if (ELF64_ST_TYPE(syms[s].st_info) == STT_FUNC &&
				    syms[s].st_shndx != SHN_UNDEF &&
				    pread(fd, name, 5,
					  (off_t)(strings.sh_offset + syms[s].st_name)) == 5 &&
				    !memcmp(name, "main", 5))
					return syms[s].st_value + bias;
			}
			if (n < (ssize_t)sizeof(syms))
				break;
		}
		return 0; /* there is one such table */
	}
	return 0;
}

uint64_t exec_find_main(struct process *p)
{
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	uint64_t va = main_of_start(p);

	if (va || !image || !p->exe)
		return va;
	if (open_image(p, p->exe, image, NULL) == 0 && parse_image(image, NULL) == 0)
		va = main_of_symbols(&image->elf, image->file->fd,
				     p->mm.entry - image->elf.eh.e_entry);
	file_put(image->file);
	return va;
}

int exec_load(struct process *p, struct task *t, const char *path, const char *const *argv,
	      const char *const *envp, mayfly_error *err)
{
	static const char *const empty[] = {NULL};
	_cleanup_free_ struct image *image = calloc(1, sizeof(*image));
	struct arguments args = {.count = 0, .nowned = 0};
	const char *name;
	int r;

	if (!image)
		return fail(err, MAYFLY_E_NOMEM, "no memory to load a program");
	r = copy_arguments(&args, argv, path, err);
	if (r == 0)
		r = open_program(p, path, &args, image, err);
	if (r == 0)
		r = load(p, t, image, &args, envp ? envp : empty, err);
	if (r == 0) {
		name = strrchr(path, '/');
		snprintf(t->name, sizeof(t->name), "%.15s", name ? name + 1 : path);
	}
	file_put(image->file);
	free_arguments(&args);
	return r;
}
