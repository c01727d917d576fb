/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many live sandboxes. At each step one more is made and freed several times beside those that are
 * there, so that the first and the thousandth are measured alike; then memory is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"
#include "cli.h"
#include "message.h"

#define REPEATS 31
#define FDS_EACH ((uint64_t)2)
#define FDS_BESIDES 64

static const uint64_t steps[] = {1, 100, 1000, 4000};

_Static_assert(COUNT_OF(steps) <= BENCH_MAX_SCALE, "room for all steps");

/* In bytes. */
struct memory {
	uint64_t process; /* proportional share of all mappings that are not KVM's */
	uint64_t vcpus;	  /* of those that are */
	uint64_t kernel;
};

struct field {
	struct bench_guest guest;
	mayfly_sandbox **live;
	uint64_t count;
	struct memory base; /* with none alive */
};

/* --- Memory ---------------------------------------------------------------------------------- */

/* The number in a line such as "Pss:    12 kB", in bytes. */
static uint64_t bytes_in(const char *line)
{
	return strtoull(line + strcspn(line, "0123456789"), NULL, 10) * 1024;
}

/* Of Linux' kinds of its own memory those that VMs grow. Fields that a kernel lacks count 0. */
static uint64_t kernel_memory(void)
{
	static const char *const fields[] = {"Slab:",	       "KernelStack:", "PageTables:",
					     "SecPageTables:", "VmallocUsed:", "Percpu:"};
	char line[256];
	uint64_t sum = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < COUNT_OF(fields); i++)
			if (strncmp(line, fields[i], strlen(fields[i])) == 0)
				sum += bytes_in(line);
	if (f)
		fclose(f);
	return sum;
}

static void read_memory(struct memory *m)
{
	char line[1024];
	bool vcpu = false;
	FILE *f = fopen("/proc/self/smaps", "re");

	*m = (struct memory){.kernel = kernel_memory()};
	while (f && fgets(line, sizeof(line), f)) {
		/* A mapping's first line, "start-end ..."; fields begin with a capital letter. */
		if (line[0] < 'A' || line[0] > 'Z')
			vcpu = strstr(line, "kvm-vcpu") != NULL;
		else if (strncmp(line, "Pss:", 4) == 0)
			*(vcpu ? &m->vcpus : &m->process) += bytes_in(line);
	}
	if (f)
		fclose(f);
}

static uint64_t grown(uint64_t now, uint64_t base, uint64_t count)
{
	return now > base ? (now - base) / count : 0;
}

/* --- Sandboxes ------------------------------------------------------------------------------- */

static int start_one(const struct field *f, mayfly_sandbox **ret, uint64_t *create_ns,
		     uint64_t *start_ns, mayfly_error *err)
{
	uint64_t start = now_ns();
	int r = mayfly_sandbox_new(f->guest.snap, NULL, ret, err);

	*create_ns = now_ns() - start;
	if (r != MAYFLY_OK)
		return r;
	r = bench_guest_add(&f->guest, *ret, err);
	*start_ns = now_ns() - start;
	if (r != MAYFLY_OK)
		mayfly_sandbox_free(*ret);
	return r;
}

static int grow(struct field *f, uint64_t count, mayfly_error *err)
{
	uint64_t create, start;

	while (f->count < count) {
		int r = start_one(f, &f->live[f->count], &create, &start, err);

		if (r != MAYFLY_OK)
			return r;
		f->count++;
	}
	return MAYFLY_OK;
}

/* Pages that a sandbox's first call leaves written, by a restore that puts them back. */
static int count_written(mayfly_sandbox *sb, uint64_t *ret_bytes, mayfly_error *err)
{
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};
	int r = mayfly_sandbox_restore(sb, NULL, err);

	if (r == MAYFLY_OK)
		r = mayfly_sandbox_get_stats(sb, &stats, err);
	*ret_bytes = stats.last_restored * 4096;
	return r;
}

/* One more beside those that are alive, and a bare one in turn. */
static int measure(struct field *f, struct bench_scale *s, mayfly_error *err)
{
	struct samples create = {0}, start = {0}, bare = {0};
	int r = MAYFLY_OK;

	for (int i = 0; i < REPEATS && r == MAYFLY_OK; i++) {
		uint64_t create_ns, start_ns, bare_ns;
		mayfly_sandbox *sb;

		r = start_one(f, &sb, &create_ns, &start_ns, err);
		if (r != MAYFLY_OK)
			break;
		samples_add(&create, create_ns);
		samples_add(&start, start_ns);
		r = count_written(sb, &s->written_bytes, err);
		mayfly_sandbox_free(sb);
		if (r == MAYFLY_OK)
			r = bench_bare_cold_start(&bare_ns, err);
		if (r == MAYFLY_OK)
			samples_add(&bare, bare_ns);
	}
	s->create_ns = samples_distribution(&create).p50;
	s->start_ns = samples_distribution(&start).p50;
	s->bare_ns = samples_distribution(&bare).p50;
	samples_fini(&create);
	samples_fini(&start);
	samples_fini(&bare);
	return r;
}

static int step(struct field *f, uint64_t count, struct bench_scale *s, mayfly_error *err)
{
	struct memory now;
	int r = grow(f, count - 1, err);

	if (r == MAYFLY_OK)
		r = measure(f, s, err);
	if (r == MAYFLY_OK)
		r = grow(f, count, err);
	if (r != MAYFLY_OK)
		return r;
	s->live = count;
	read_memory(&now);
	s->process_bytes = grown(now.process, f->base.process, count);
	s->library_bytes =
		s->process_bytes > s->written_bytes ? s->process_bytes - s->written_bytes : 0;
	s->kernel_bytes = grown(now.kernel + now.vcpus, f->base.kernel + f->base.vcpus, count);
	return MAYFLY_OK;
}

/* --- Limits ---------------------------------------------------------------------------------- */

static bool allow_descriptors(uint64_t sandboxes)
{
	uint64_t need = sandboxes * FDS_EACH + FDS_BESIDES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return true;
	limit.rlim_cur = need;
	/* Beyond the hard limit only with the privilege for it. */
	if (limit.rlim_max < need)
		limit.rlim_max = need;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return true;
	getrlimit(RLIMIT_NOFILE, &limit);
	complain("%llu sandboxes need %llu file descriptors, but the hard limit is %llu: raise "
		 "it "
		 "(ulimit -Hn as root, or nofile in /etc/security/limits.conf)",
		 (unsigned long long)sandboxes, (unsigned long long)need,
		 (unsigned long long)limit.rlim_max);
	return false;
}

size_t bench_scale_run(uint64_t most, struct bench_scale *scale)
{
	struct field f = {.count = 0};
	mayfly_error err;
	size_t n = 0;
	int r;

	if (!allow_descriptors(most))
		return 0;
	memset(scale, 0, BENCH_MAX_SCALE * sizeof(scale[0]));
	f.live = xrealloc(NULL, most, sizeof(void *));
	memset(f.live, 0, most * sizeof(void *));
	r = bench_guest_load(&f.guest, BENCH_MEMORY, &err);
	/* What is made once, and what the first sandboxes teach, is not of the first step's. */
	if (r == MAYFLY_OK)
		r = measure(&f, &scale[0], &err);
	read_memory(&f.base);
	for (size_t i = 0; r == MAYFLY_OK && i < COUNT_OF(steps) && steps[i] <= most; i++) {
		r = step(&f, steps[i], &scale[n], &err);
		n += r == MAYFLY_OK;
	}
	if (r != MAYFLY_OK) {
		complain("with %llu sandboxes alive: %s", (unsigned long long)f.count,
			 err.message);
		n = 0;
	}
	while (f.count)
		mayfly_sandbox_free(f.live[--f.count]);
	bench_guest_fini(&f.guest);
	free(f.live);
	return n;
}
