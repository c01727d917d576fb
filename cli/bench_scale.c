/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many live sandboxes. At each step one more is made and freed several times beside those that are
 * there, so that the first and the thousandth are measured alike: once while they become more, when
 * memory is read too, and once while they become fewer, so that a busy moment of the host does not make
 * all of one step's samples.
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

struct step {
	struct samples create;
	struct samples start;
	struct samples bare;
};

struct field {
	struct bench_guest guest;
	struct step steps[COUNT_OF(steps)];
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

static void shrink(struct field *f, uint64_t count)
{
	while (f->count > count)
		mayfly_sandbox_free(f->live[--f->count]);
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
static int measure(const struct field *f, struct step *step, uint64_t *written,
		   mayfly_error *err)
{
	int r = MAYFLY_OK;

	for (int i = 0; i < REPEATS && r == MAYFLY_OK; i++) {
		uint64_t create, start, bare;
		mayfly_sandbox *sb;

		r = start_one(f, &sb, &create, &start, err);
		if (r != MAYFLY_OK)
			break;
		r = count_written(sb, written, err);
		mayfly_sandbox_free(sb);
		if (r == MAYFLY_OK)
			r = bench_bare_cold_start(&bare, err);
		if (r != MAYFLY_OK)
			break;
		samples_add(&step->create, create);
		samples_add(&step->start, start);
		samples_add(&step->bare, bare);
	}
	return r;
}

static void measure_memory(const struct field *f, struct bench_scale *s)
{
	struct memory now;

	read_memory(&now);
	s->process_bytes = grown(now.process, f->base.process, f->count);
	s->library_bytes =
		s->process_bytes > s->written_bytes ? s->process_bytes - s->written_bytes : 0;
	s->kernel_bytes =
		grown(now.kernel + now.vcpus, f->base.kernel + f->base.vcpus, f->count);
}

/* Up by n steps and down again. */
static int measure_steps(struct field *f, size_t n, struct bench_scale *scale,
			 mayfly_error *err)
{
	uint64_t ignored;
	int r = MAYFLY_OK;

	for (size_t i = 0; i < n && r == MAYFLY_OK; i++) {
		scale[i].live = steps[i];
		r = grow(f, steps[i] - 1, err);
		if (r == MAYFLY_OK)
			r = measure(f, &f->steps[i], &scale[i].written_bytes, err);
		if (r == MAYFLY_OK)
			r = grow(f, steps[i], err);
		if (r == MAYFLY_OK)
			measure_memory(f, &scale[i]);
	}
	for (size_t i = n; i-- > 0 && r == MAYFLY_OK;) {
		shrink(f, steps[i] - 1);
		r = measure(f, &f->steps[i], &ignored, err);
	}
	for (size_t i = 0; i < n; i++) {
		scale[i].create_ns = samples_distribution(&f->steps[i].create).p50;
		scale[i].start_ns = samples_distribution(&f->steps[i].start).p50;
		scale[i].bare_ns = samples_distribution(&f->steps[i].bare).p50;
	}
	return r;
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
	complain("%llu sandboxes need %llu file descriptors, but the hard limit is %llu: "
		 "raise it (ulimit -Hn as root, or nofile in /etc/security/limits.conf)",
		 (unsigned long long)sandboxes, (unsigned long long)need,
		 (unsigned long long)limit.rlim_max);
	return false;
}

static void step_fini(struct step *step)
{
	samples_fini(&step->create);
	samples_fini(&step->start);
	samples_fini(&step->bare);
}

size_t bench_scale_run(uint64_t most, struct bench_scale *scale)
{
	struct field f = {.count = 0};
	struct step unused = {.create = {0}};
	mayfly_error err;
	size_t n = 0;
	int r;

	if (!allow_descriptors(most))
		return 0;
	memset(scale, 0, BENCH_MAX_SCALE * sizeof(scale[0]));
	while (n < COUNT_OF(steps) && steps[n] <= most)
		n++;
	f.live = xrealloc(NULL, most, sizeof(void *));
	r = bench_guest_load(&f.guest, BENCH_MEMORY, &err);
	/* What is made once, and what the first sandboxes teach, is not of the first step's. */
	if (r == MAYFLY_OK)
		r = measure(&f, &unused, &scale[0].written_bytes, &err);
	read_memory(&f.base);
	if (r == MAYFLY_OK)
		r = measure_steps(&f, n, scale, &err);
	if (r != MAYFLY_OK)
		complain("with %llu sandboxes alive: %s", (unsigned long long)f.count,
			 err.message);
	shrink(&f, 0);
	for (size_t i = 0; i < COUNT_OF(steps); i++)
		step_fini(&f.steps[i]);
	step_fini(&unused);
	bench_guest_fini(&f.guest);
	free(f.live);
	return r == MAYFLY_OK ? n : 0;
}
