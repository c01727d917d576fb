/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of random changes to an address space, with a model of what each page must be after
 * each of them. Whether a page may be read or written is asked of the kernel (by a pipe), and by
 * access.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report.h"

#define PAGE 4096UL
#define PAGES 1536UL /* three pieces of 2 MiB */
#define STEPS 3000
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

struct page {
	char mapped, rights; /* PROT_ */
	unsigned char content;
};

static struct page model[PAGES];
static char *base;
static uint64_t seed = 12345;
static sigjmp_buf back;
static int pipes[2];

static unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static void fault(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

/* A range, mostly small, now and then many pages. */
static void pick(size_t *at, size_t *n)
{
	*n = 1 + random_below(random_below(8) ? 16 : 700);
	*at = random_below((unsigned)(PAGES - *n));
}

static int covered(size_t at, size_t n)
{
	for (size_t i = at; i < at + n; i++) {
		if (!model[i].mapped)
			return 0;
	}
	return 1;
}

static void set(size_t at, size_t n, char mapped, char rights)
{
	for (size_t i = at; i < at + n; i++)
		model[i] = (struct page){mapped, rights, 0};
}

static const int all_rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
				 PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC};

static void step_map(size_t at, size_t n)
{
	int rights = all_rights[random_below(5)];
	char *p = mmap(base + at * PAGE, n * PAGE, rights, ANON | MAP_FIXED, -1, 0);

	NEED(p == base + at * PAGE);
	set(at, n, 1, (char)rights);
}

static void step_protect(size_t at, size_t n)
{
	int rights = all_rights[random_below(5)];
	int whole = covered(at, n);
	int r = mprotect(base + at * PAGE, n * PAGE, rights);

	NEED(whole == !r && (whole || errno == ENOMEM));
	/* As far as the first hole. */
	for (size_t i = at; i < at + n && model[i].mapped; i++)
		model[i].rights = (char)rights;
}

static void step_advise(size_t at, size_t n)
{
	int whole = covered(at, n);
	int r = madvise(base + at * PAGE, n * PAGE, MADV_DONTNEED);

	NEED(whole == !r && (whole || errno == ENOMEM));
	for (size_t i = at; i < at + n; i++)
		model[i].content = 0;
}

/* Only what lies within one mapping can be moved, so it is made one first. */
static void step_move(size_t at, size_t n)
{
	size_t to = random_below((unsigned)(PAGES - n));
	struct page saved[PAGES];
	unsigned char content = (unsigned char)random_below(255);
	char *p;

	if (to < at + n && at < to + n)
		return;
	p = mmap(base + at * PAGE, n * PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED, -1, 0);
	NEED(p == base + at * PAGE);
	set(at, n, 1, PROT_READ | PROT_WRITE);
	p[0] = (char)content;
	p[(n - 1) * PAGE] = (char)content;
	model[at].content = model[at + n - 1].content = content;
	memcpy(saved, model + at, n * sizeof(saved[0]));
	p = mremap(p, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, base + to * PAGE);
	NEED(p == base + to * PAGE);
	set(at, n, 0, 0);
	memcpy(model + to, saved, n * sizeof(saved[0]));
}

static void step_write(size_t at, size_t n)
{
	for (size_t i = at; i < at + n; i++) {
		if (!(model[i].rights & PROT_WRITE) || !model[i].mapped)
			continue;
		model[i].content = (unsigned char)random_below(256);
		base[i * PAGE] = (char)model[i].content;
	}
}

static void check_page(size_t i)
{
	const struct page *page = &model[i];
	volatile char *p = base + i * PAGE;
	int readable = page->mapped && page->rights & PROT_READ;
	int writable = page->mapped && page->rights & PROT_WRITE;
	volatile int done = 0;
	char byte = (char)page->content;

	/* By the kernel. */
	NEED((write(pipes[1], (char *)base + i * PAGE, 1) == 1) == readable);
	if (readable)
		NEED(read(pipes[0], &byte, 1) == 1 && byte == (char)page->content);
	NEED(write(pipes[1], &byte, 1) == 1);
	NEED((read(pipes[0], (char *)base + i * PAGE, 1) == 1) == writable);
	if (!writable)
		NEED(read(pipes[0], &byte, 1) == 1);
	/* By the CPU. */
	if (!sigsetjmp(back, 1)) {
		byte = p[0];
		done = 1;
	}
	NEED(done == readable);
	NEED(!readable || byte == (char)page->content);
	done = 0;
	if (!sigsetjmp(back, 1)) {
		p[0] = (char)page->content;
		done = 1;
	}
	NEED(done == writable);
}

int main(void)
{
	struct sigaction action = {.sa_handler = fault};
	size_t mapped = 0;
	uint64_t sum = 0;

	NEED(!sigaction(SIGSEGV, &action, NULL) && !pipe(pipes));
	/* Room between other mappings, which must not be touched. */
	base = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, ANON, -1, 0);
	NEED(base != MAP_FAILED);
	base += PAGE;
	set(0, PAGES, 1, PROT_NONE);
	for (int i = 0; i < STEPS; i++) {
		size_t at, n;

		pick(&at, &n);
		switch (random_below(8)) {
		case 0:
		case 1:
			step_map(at, n);
			break;
		case 2:
			NEED(!munmap(base + at * PAGE, n * PAGE));
			set(at, n, 0, 0);
			break;
		case 3:
		case 4:
			step_protect(at, n);
			break;
		case 5:
			step_advise(at, n);
			break;
		case 6:
			step_move(at, n);
			break;
		default:
			step_write(at, n);
			break;
		}
		/* The edges are where mistakes are. */
		check_page(at);
		check_page(at + n - 1);
		if (at)
			check_page(at - 1);
		if (at + n < PAGES)
			check_page(at + n);
		check_page(random_below(PAGES));
	}
	for (size_t i = 0; i < PAGES; i++) {
		check_page(i);
		mapped += (size_t)model[i].mapped;
		sum = sum * 31 + model[i].content + (unsigned)model[i].rights * 256u;
	}
	printf("%zu pages mapped, %016lx\n", mapped, (unsigned long)sum);
	return 0;
}
