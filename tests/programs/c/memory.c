/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings: anonymous, of files, moved, protected, given back, reserved; code that is written. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report.h"

#define PAGE 4096UL
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static char *map(size_t pages, int rights)
{
	char *p = mmap(NULL, pages * PAGE, rights, ANON, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

static void anonymous(void)
{
	char *p = map(1000, PROT_READ | PROT_WRITE), *q;
	unsigned char vector[8];

	for (size_t i = 0; i < 1000; i++)
		p[i * PAGE] = (char)i;
	REPORT(madvise(p, 500 * PAGE, MADV_DONTNEED));
	printf("after DONTNEED: %d %d\n", p[499 * PAGE], p[500 * PAGE]);
	REPORT(munmap(p + 200 * PAGE, 100 * PAGE));
	q = mmap(p + 200 * PAGE, 10 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0);
	CHECK(q == p + 200 * PAGE && q[0] == 0);
	q = mmap(p + 205 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	printf("NOREPLACE: %s\n", q == MAP_FAILED ? error_name(errno) : "mapped");
	q = mremap(p + 500 * PAGE, 500 * PAGE, 2000 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[7 * PAGE] == (char)507 && q[1999 * PAGE] == 0);
	CHECK(mremap(q, 2000 * PAGE, 10 * PAGE, 0) == q);
	REPORT(mincore(q, 2 * PAGE, vector));
	printf("resident: %d\n", vector[1] & 1);
	REPORT(mincore(q + 10 * PAGE, PAGE, vector));
	REPORT(mprotect(q, 20 * PAGE, PROT_READ));
	REPORT(mprotect(q + 1, PAGE, PROT_READ));
	REPORT(munmap(q + 1, PAGE));
	REPORT(munmap(q, 0));
	REPORT(msync(q, PAGE, MS_SYNC));
	REPORT(madvise(q, PAGE, 12345));
	REPORT_WORKS(mmap(NULL, 0, PROT_READ, ANON, -1, 0));
	REPORT_WORKS(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
	REPORT_WORKS(mmap(NULL, SIZE_MAX & ~(PAGE - 1), PROT_READ, ANON, -1, 0));
	REPORT_WORKS(mmap((void *)PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0x1234));
	REPORT_WORKS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0));
	REPORT_WORKS(mremap((void *)(uintptr_t)0x123456789000, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
}

/* Reserving costs nothing, what is touched in it does. */
static void reservations(void)
{
	size_t size = 1UL << 40;
	char *p = mmap(NULL, size, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED);
	REPORT(mprotect(p + (size >> 1), 1 << 20, PROT_READ | PROT_WRITE));
	memset(p + (size >> 1), 'x', 1 << 20);
	REPORT(munmap(p + PAGE, size - PAGE));
	p = mmap(NULL, 64UL << 30, PROT_READ | PROT_WRITE, ANON | MAP_NORESERVE, -1, 0);
	CHECK(p != MAP_FAILED);
	for (size_t i = 0; i < 64; i++)
		p[i << 30] = (char)i;
	printf("far apart: %d %d\n", p[63UL << 30], p[(63UL << 30) + PAGE]);
	REPORT(munmap(p, 64UL << 30));
}

static void of_files(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0644);
	int other = open("mapped", O_RDONLY);
	char *shared, *private;
	char buffer[8] = "";

	NEED(fd >= 0 && other >= 0 && !ftruncate(fd, 3 * PAGE));
	shared = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
	NEED(shared != MAP_FAILED && private != MAP_FAILED);
	strcpy(shared + PAGE, "by map");
	printf("private sees: %s\n", private);
	strcpy(private, "private");
	NEED(pread(fd, buffer, 7, PAGE) == 7);
	printf("file has: %s, shared %s\n", buffer, shared + PAGE);
	NEED(pwrite(fd, "written", 8, 2 * PAGE) == 8);
	printf("shared sees: %s\n", shared + 2 * PAGE);
	REPORT(msync(shared, 3 * PAGE, MS_SYNC));
	REPORT_WORKS(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, other, 0));
	REPORT_WORKS(mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, other, 0));
	REPORT_WORKS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, other, 123));
	close(fd);
	close(other);
	shared[0] = 'c';
	printf("after close: %c\n", shared[0]);
	munmap(shared, 3 * PAGE);

	fd = memfd_create("memory", MFD_CLOEXEC);
	NEED(fd >= 0 && !ftruncate(fd, PAGE));
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	NEED(shared != MAP_FAILED && private != MAP_FAILED);
	strcpy(shared, "two views");
	printf("memfd: %s\n", private);
}

/* mov $N, %eax; ret */
static void write_code(unsigned char *p, uint32_t value)
{
	p[0] = 0xb8;
	memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
}

static void code(void)
{
	char *p = map(1, PROT_READ | PROT_WRITE);
	int (*function)(void) = (int (*)(void))(uintptr_t)p;
	int sum = 0;

	write_code((unsigned char *)p, 42);
	REPORT(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	printf("code: %d\n", function());
	REPORT(mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	for (uint32_t i = 0; i < 1000; i++) {
		write_code((unsigned char *)p, i);
		sum += function();
	}
	printf("rewritten code: %d\n", sum);
}

static void heap(void)
{
	char *blocks[500];
	size_t sum = 0;

#ifdef __GLIBC__ /* musl's has no other use for sbrk(2) than to ask */
	char *start = sbrk(0);

	CHECK(sbrk(1 << 20) == start);
	start[(1 << 20) - 1] = 1;
	CHECK(sbrk(-(1 << 19)) == start + (1 << 20));
#endif
	for (size_t i = 0; i < 500; i++) {
		blocks[i] = malloc(i * i * 10 + 1);
		NEED(blocks[i]);
		memset(blocks[i], 1, i * i * 10 + 1);
	}
	for (size_t i = 0; i < 500; i += 2)
		free(blocks[i]);
	for (size_t i = 1; i < 500; i += 2) {
		blocks[i] = realloc(blocks[i], i * 4000);
		NEED(blocks[i]);
		sum += (size_t)blocks[i][0];
	}
	printf("blocks: %zu\n", sum);
}

int main(void)
{
	anonymous();
	reservations();
	of_files();
	code();
	heap();
	return 0;
}
