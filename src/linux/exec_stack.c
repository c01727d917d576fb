/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack at a program's entry: strings at the top, below them the auxiliary vector, envp,
 * argv, argc (System V ABI, AMD64 supplement, 3.4.1; fs/binfmt_elf.c, create_elf_tables()).
 */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "linux/exec.h"
#include "linux/process.h"

/* Strings and pointers together: a quarter of the stack, as Linux has it. */
#define MAX_ARGS ((size_t)2 << 20)
#define AUX_ENTRIES 24
#define HWCAP2_FSGSBASE 2 /* arch/x86/include/uapi/asm/hwcap2.h */
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

struct builder {
	uint8_t *image; /* what will be at [top - size, top) */
	size_t size;
	size_t used; /* from the top down */
	uint64_t top;
};

static uint64_t push(struct builder *b, const void *data, size_t len)
{
	b->used += len;
	memcpy(b->image + b->size - b->used, data, len);
	return b->top - b->used;
}

static size_t count_strings(const char *const *list, size_t *bytes)
{
	size_t n = 0;

	for (; list[n]; n++)
		*bytes += strlen(list[n]) + 1 + sizeof(uint64_t);
	return n;
}

static uint64_t push_strings(struct builder *b, const char *const *list, size_t n,
			     uint64_t *addresses)
{
	uint64_t end = b->top - b->used;

	for (size_t i = n; i-- > 0;)
		addresses[i] = push(b, list[i], strlen(list[i]) + 1);
	return end;
}

static size_t fill_aux(struct process *p, uint64_t aux[AUX_ENTRIES][2], uint64_t random,
		       uint64_t execfn, uint64_t platform)
{
	unsigned eax = 0, ebx, ecx, edx = 0;
	const struct mm *mm = &p->mm;
	size_t n = 0;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
#define AUX(type, value) (aux[n][0] = (type), aux[n++][1] = (value))
	AUX(AT_SYSINFO_EHDR, PROG_VDSO_VA);
	AUX(AT_HWCAP, edx);
	AUX(AT_PAGESZ, PAGE_SIZE);
	AUX(AT_CLKTCK, 100);
	AUX(AT_PHDR, mm->phdr);
	AUX(AT_PHENT, sizeof(Elf64_Phdr));
	AUX(AT_PHNUM, mm->phnum);
	AUX(AT_BASE, mm->interp_base);
	AUX(AT_FLAGS, 0);
	AUX(AT_ENTRY, mm->entry);
	AUX(AT_UID, p->uid);
	AUX(AT_EUID, p->uid);
	AUX(AT_GID, p->gid);
	AUX(AT_EGID, p->gid);
	AUX(AT_SECURE, 0);
	AUX(AT_RANDOM, random);
	AUX(AT_HWCAP2, p->host->fsgsbase ? HWCAP2_FSGSBASE : 0);
	AUX(AT_EXECFN, execfn);
	AUX(AT_PLATFORM, platform);
	AUX(AT_MINSIGSTKSZ, CPU_XSAVE_BUFFER + 1024);
	AUX(AT_NULL, 0);
#undef AUX
	return n;
}

/* The strings that a program is given. */
struct given {
	const char *const *argv;
	const char *const *envp;
	const char *exe;
	size_t argc, envc;
};

/* `pointers`: room for argc, argv, envp and both NULLs. */
static void lay_out(struct process *p, struct builder *b, const struct given *g,
		    uint64_t *pointers)
{
	uint64_t aux[AUX_ENTRIES][2], execfn, platform, random;
	size_t n, argc = g->argc, envc = g->envc;
	uint8_t seed[16];

	execfn = push(b, g->exe, strlen(g->exe) + 1);
	p->mm.env_end = push_strings(b, g->envp, envc, pointers + argc + 2);
	p->mm.env_start = b->top - b->used;
	p->mm.arg_end = push_strings(b, g->argv, argc, pointers + 1);
	p->mm.arg_start = b->top - b->used;
	platform = push(b, "x86_64", 7);
	random_bytes(seed, sizeof(seed));
	random = push(b, seed, sizeof(seed));
	n = fill_aux(p, aux, random, execfn, platform);
	pointers[0] = argc;
	pointers[argc + 1] = 0;
	pointers[argc + envc + 2] = 0;
	/* The whole ends 16-byte aligned. */
	b->used = (b->used + 15) & ~(size_t)15;
	if ((argc + envc + 3 + 2 * n) % 2)
		b->used += 8;
	push(b, aux, n * sizeof(aux[0]));
	push(b, pointers, (argc + envc + 3) * sizeof(uint64_t));
}

int exec_build_stack(struct process *p, const char *const *argv, const char *const *envp,
		     const char *exe, uint64_t *sp)
{
	size_t bytes = strlen(exe) + 1 + sizeof(uint64_t) * 8;
	struct given g = {argv, envp, exe, count_strings(argv, &bytes),
			  count_strings(envp, &bytes)};
	struct builder b = {.top = p->mm.stack_top};
	_cleanup_free_ uint8_t *image = NULL;
	_cleanup_free_ uint64_t *pointers = NULL;

	if (bytes > MAX_ARGS)
		return -E2BIG;
	b.size = page_up(bytes + 4096);
	image = b.image = calloc(1, b.size);
	pointers = calloc(g.argc + g.envc + 3, sizeof(uint64_t));
	if (!image || !pointers)
		return -ENOMEM;
	lay_out(p, &b, &g, pointers);
	*sp = b.top - b.used;
	if (mm_write(&p->mm, *sp, b.image + b.size - b.used, b.used) < 0)
		return -ENOMEM;
	return 0;
}
