/* SPDX-License-Identifier: Apache-2.0 */
/* The vDSO's image, run natively at its own addresses, and the page that the host keeps for it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "abi/program.h"
#include "linux/vdso.h"

#define NSEC ((int64_t)1000000000)
#define MSEC ((int64_t)1000000)
#define IMAGE_MAX ((size_t)PROG_VDSO_PAGES * 4096)

static int64_t ns_of(const struct timespec *time)
{
	return (int64_t)time->tv_sec * NSEC + time->tv_nsec;
}

static int64_t host_ns(clockid_t id)
{
	struct timespec time;

	assert_int_equal(clock_gettime(id, &time), 0);
	return ns_of(&time);
}

/* --- The image ---------------------------------------------------------------------------- */

struct image {
	const Elf64_Ehdr *header;
	const Elf64_Phdr *segments;
	const Elf64_Dyn *dynamic;
	const Elf64_Sym *symbols;
	const char *strings;
	const uint32_t *hash;
};

/* As a loader does it: by the program headers and the dynamic section. */
static struct image parse(const uint8_t *start)
{
	struct image image = {.header = (const void *)start};

	assert_memory_equal(image.header->e_ident, ELFMAG, SELFMAG);
	assert_int_equal(image.header->e_type, ET_DYN);
	image.segments = (const void *)(start + image.header->e_phoff);
	for (int i = 0; i < image.header->e_phnum; i++)
		if (image.segments[i].p_type == PT_DYNAMIC)
			image.dynamic = (const void *)(start + image.segments[i].p_vaddr);
	if (!image.dynamic)
		abort();
	for (const Elf64_Dyn *d = image.dynamic; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			image.symbols = (const void *)(start + d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			image.strings = (const char *)(start + d->d_un.d_ptr);
		else if (d->d_tag == DT_HASH)
			image.hash = (const void *)(start + d->d_un.d_ptr);
	}
	if (!image.symbols || !image.strings || !image.hash)
		abort();
	return image;
}

static const Elf64_Sym *find(const struct image *image, const char *name)
{
	uint32_t count = image->hash[1]; /* nchain: as many as there are symbols */

	for (uint32_t i = 1; i < count; i++)
		if (!strcmp(image->strings + image->symbols[i].st_name, name))
			return &image->symbols[i];
	return NULL;
}

static void image_has_one_segment_without_write_or_relocations(void **state)
{
	struct image image = parse(vdso_start);
	int loads = 0;

	(void)state;
	assert_true((size_t)(vdso_end - vdso_start) <= IMAGE_MAX);
	for (int i = 0; i < image.header->e_phnum; i++) {
		if (image.segments[i].p_type != PT_LOAD)
			continue;
		loads++;
		assert_int_equal(image.segments[i].p_flags, PF_R | PF_X);
		assert_int_equal(image.segments[i].p_vaddr, 0);
		assert_int_equal(image.segments[i].p_offset, 0);
		assert_true(image.segments[i].p_memsz <= IMAGE_MAX);
	}
	assert_int_equal(loads, 1);
	for (const Elf64_Dyn *d = image.dynamic; d->d_tag != DT_NULL; d++) {
		assert_int_not_equal(d->d_tag, DT_RELA);
		assert_int_not_equal(d->d_tag, DT_NEEDED);
		if (d->d_tag == DT_SONAME)
			assert_string_equal(image.strings + d->d_un.d_val, "linux-vdso.so.1");
	}
}

static void image_has_the_names_of_linux(void **state)
{
	static const char *const names[] = {
		"__vdso_clock_gettime",
		"__vdso_gettimeofday",
		"__vdso_time",
		"__vdso_clock_getres",
		"__vdso_getcpu",
		"clock_gettime",
		"gettimeofday",
		"time",
		"getcpu",
	};
	struct image image = parse(vdso_start);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const Elf64_Sym *symbol = find(&image, names[i]);
		int weak = strncmp(names[i], "__", 2) != 0;

		assert_non_null(symbol);
		assert_int_equal(ELF64_ST_TYPE(symbol->st_info), STT_FUNC);
		assert_int_equal(ELF64_ST_BIND(symbol->st_info), weak ? STB_WEAK : STB_GLOBAL);
	}
	assert_non_null(find(&image, "LINUX_2.6"));
}

/* --- At its place ------------------------------------------------------------------------- */

struct placed {
	struct vdso_clock clock;
	struct vvar *page;
	uint8_t *code;
	int (*clock_gettime)(clockid_t id, struct timespec *time);
	int (*clock_getres)(clockid_t id, struct timespec *time);
	int (*gettimeofday)(struct timeval *time, void *zone);
	time_t (*time)(time_t *out);
	long (*getcpu)(unsigned *cpu, unsigned *node, void *unused);
};

static void *map_at(uint64_t va, size_t len)
{
	void *p = mmap((void *)(uintptr_t)va, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert_ptr_equal(p, (void *)(uintptr_t)va);
	return p;
}

static void *function(const struct placed *placed, const char *name)
{
	struct image image = parse(placed->code);
	const Elf64_Sym *symbol = find(&image, name);

	assert_non_null(symbol);
	return placed->code + symbol->st_value;
}

static int place(void **state)
{
	static struct placed placed;

	vdso_clock_init(&placed.clock);
	placed.page = map_at(PROG_VVAR_VA, 4096);
	placed.code = map_at(PROG_VDSO_VA, IMAGE_MAX);
	memcpy(placed.code, vdso_start, (size_t)(vdso_end - vdso_start));
	assert_int_equal(mprotect(placed.code, IMAGE_MAX, PROT_READ | PROT_EXEC), 0);
	placed.clock_gettime = function(&placed, "__vdso_clock_gettime");
	placed.clock_getres = function(&placed, "__vdso_clock_getres");
	placed.gettimeofday = function(&placed, "__vdso_gettimeofday");
	placed.time = function(&placed, "__vdso_time");
	placed.getcpu = function(&placed, "__vdso_getcpu");
	usleep(5000);
	vdso_clock_start(&placed.clock, placed.page, true, 1, 0);
	*state = &placed;
	return 0;
}

static int unplace(void **state)
{
	struct placed *placed = *state;

	munmap(placed->page, 4096);
	munmap(placed->code, IMAGE_MAX);
	vdso_clock_fini(&placed->clock);
	return 0;
}

static bool has_tsc(const struct placed *placed)
{
	if (!placed->clock.tsc)
		print_message("no time-stamp counter to be relied on: skipped\n");
	return placed->clock.tsc;
}

/* How far a reading is outside of what the host's clock said before and after it. */
static int64_t outside(int64_t ns, int64_t before, int64_t after)
{
	return ns < before ? before - ns : ns > after ? ns - after : 0;
}

/* Reads until one was not disturbed in between; gives how far `read` is outside of the host's. */
static int64_t distance(struct placed *placed, clockid_t id)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 20; i++) {
		struct timespec time;
		int64_t before = host_ns(id), after, d;

		assert_int_equal(placed->clock_gettime(id, &time), 0);
		after = host_ns(id);
		d = outside(ns_of(&time), before, after);
		if (d < best)
			best = d;
	}
	return best;
}

static void clocks_are_the_hosts(void **state)
{
	static const clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
					CLOCK_MONOTONIC_RAW};
	struct placed *placed = *state;

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
			assert_true(distance(placed, ids[i]) < 20000);
		usleep(7000);
		if (placed->clock.tsc)
			vdso_clock_renew(&placed->clock);
	}
}

static void coarse_clocks_lag_by_less_than_their_grain(void **state)
{
	struct placed *placed = *state;
	struct timespec coarse, fine, grain;
	int64_t before = host_ns(CLOCK_MONOTONIC);

	assert_int_equal(placed->clock_getres(CLOCK_MONOTONIC_COARSE, &grain), 0);
	assert_int_equal(placed->clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse), 0);
	assert_int_equal(placed->clock_gettime(CLOCK_MONOTONIC, &fine), 0);
	assert_true(ns_of(&coarse) <= ns_of(&fine));
	assert_true(before - ns_of(&coarse) < ns_of(&grain) + 100 * MSEC);
	if (has_tsc(placed))
		assert_int_equal(ns_of(&coarse) % ns_of(&grain), 0);
}

static void resolutions_are_the_hosts(void **state)
{
	static const clockid_t ids[] = {CLOCK_REALTIME,	       CLOCK_MONOTONIC,
					CLOCK_BOOTTIME,	       CLOCK_MONOTONIC_COARSE,
					CLOCK_REALTIME_COARSE, CLOCK_PROCESS_CPUTIME_ID};
	struct placed *placed = *state;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct timespec ours, theirs;

		assert_int_equal(placed->clock_getres(ids[i], &ours), 0);
		assert_int_equal(clock_getres(ids[i], &theirs), 0);
		assert_int_equal(ns_of(&ours), ns_of(&theirs));
	}
}

static void other_calls_agree(void **state)
{
	struct placed *placed = *state;
	struct timezone zone = {1, 1};
	struct timeval tv;
	int64_t now = host_ns(CLOCK_REALTIME), end;
	time_t seconds = 0, again;
	unsigned cpu = 7, node = 7;

	assert_int_equal(placed->gettimeofday(&tv, &zone), 0);
	assert_int_equal(zone.tz_minuteswest, 0);
	again = placed->time(&seconds);
	assert_int_equal(again, seconds);
	end = host_ns(CLOCK_REALTIME);
	assert_true(outside(tv.tv_sec * (int64_t)NSEC + tv.tv_usec * 1000, now, end) < MSEC);
	assert_in_range(seconds, now / NSEC - 1, end / NSEC);
	assert_int_equal(placed->getcpu(&cpu, &node, NULL), 0);
	assert_int_equal(cpu, 0);
	assert_int_equal(node, 0);
}

static void unknown_clocks_are_the_kernels_to_refuse(void **state)
{
	struct placed *placed = *state;
	struct timespec time;

	assert_int_equal(placed->clock_gettime(1234, &time), -EINVAL);
	assert_int_equal(placed->clock_getres(1234, &time), -EINVAL);
	assert_int_equal(placed->clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time), 0);
}

static void without_counter_the_host_is_asked(void **state)
{
	struct placed *placed = *state;
	uint64_t ns;

	vdso_clock_start(&placed->clock, placed->page, false, 1, 0);
	assert_false(vvar_read(placed->page, VVAR_MONOTONIC, &ns));
	assert_true(distance(placed, CLOCK_MONOTONIC) < MSEC);
}

/* --- Renewal ------------------------------------------------------------------------------ */

#define READERS 2
#define READS 600000

struct shared {
	struct vdso_clock clock;
	struct vvar page;
	atomic_ullong latest;
	atomic_int running, went_back;
	atomic_uint renewals;
	unsigned which;
	clockid_t id;
};

static uint64_t read_shared(struct shared *s)
{
	struct timespec time;
	uint64_t ns;

	if (vvar_read(&s->page, s->which, &ns))
		return ns;
	vdso_clock_gettime(&s->clock, s->id, &time);
	return (uint64_t)ns_of(&time);
}

/* How far it is from the host's, whatever comes between. */
static int64_t shared_distance(struct shared *s)
{
	int64_t before = host_ns(s->id), ns = (int64_t)read_shared(s);

	return outside(ns, before, host_ns(s->id));
}

/* The same of another clock, which is `offset` ahead of the host's. */
static int64_t clock_distance(struct shared *s, clockid_t id, int64_t offset)
{
	int64_t before = host_ns(id);
	struct timespec time;

	assert_true(vdso_clock_gettime(&s->clock, id, &time));
	return outside(ns_of(&time) - offset, before, host_ns(id));
}

/* What any thread has seen, none may see less than later. */
static void *reader(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < READS || atomic_load(&s->renewals) <= 10; i++) {
		unsigned long long seen = atomic_load(&s->latest);
		uint64_t ns = read_shared(s);

		if (ns < seen)
			atomic_fetch_add(&s->went_back, 1);
		while (ns > seen && !atomic_compare_exchange_weak(&s->latest, &seen, ns))
			continue;
	}
	atomic_fetch_sub(&s->running, 1);
	return NULL;
}

static void check_monotonic(unsigned which, clockid_t id)
{
	static struct shared s;
	pthread_t threads[READERS];

	memset(&s, 0, sizeof(s));
	s.which = which;
	s.id = id;
	vdso_clock_init(&s.clock);
	usleep(1000);
	vdso_clock_start(&s.clock, &s.page, true, 1, 0);
	atomic_store(&s.running, READERS);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
	while (atomic_load(&s.running)) {
		vdso_clock_renew(&s.clock);
		usleep(++s.renewals % 3 ? 20 : 300);
	}
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	vdso_clock_fini(&s.clock);
	assert_int_equal(atomic_load(&s.went_back), 0);
}

static void monotonic_never_goes_back_for_any_reader(void **state)
{
	(void)state;
	check_monotonic(VVAR_MONOTONIC, CLOCK_MONOTONIC);
}

static void raw_never_goes_back_for_any_reader(void **state)
{
	(void)state;
	check_monotonic(VVAR_RAW, CLOCK_MONOTONIC_RAW);
}

/* A clock of its own that has a window. */
static bool start_alone(struct shared *s, int64_t offset)
{
	memset(s, 0, sizeof(*s));
	s->which = VVAR_MONOTONIC;
	s->id = CLOCK_MONOTONIC;
	vdso_clock_init(&s->clock);
	usleep(20000);
	vdso_clock_start(&s->clock, &s->page, true, 2, offset);
	if (!s->clock.tsc)
		print_message("no time-stamp counter to be relied on: skipped\n");
	return s->clock.tsc;
}

static void a_line_that_ran_ahead_becomes_less_steep(void **state)
{
	struct shared s;
	uint64_t ahead, now, mult;

	(void)state;
	if (!start_alone(&s, 0))
		return;
	s.clock.now.clock[VVAR_MONOTONIC].base += MSEC;
	s.page.clock[VVAR_MONOTONIC].base += MSEC;
	ahead = read_shared(&s);
	mult = s.page.clock[VVAR_RAW].mult;
	vdso_clock_renew(&s.clock);
	now = read_shared(&s);
	assert_true(now >= ahead);
	assert_true(s.page.clock[VVAR_MONOTONIC].mult < mult - mult / 1000);
	/* When that has been at work for its window, it is where the host is. */
	for (int i = 0; i < 60; i++) {
		usleep(5000);
		read_shared(&s);
	}
	vdso_clock_renew(&s.clock);
	assert_true(shared_distance(&s) < MSEC / 10);
	vdso_clock_fini(&s.clock);
}

static void realtime_follows_when_it_is_set_back(void **state)
{
	struct shared s;

	(void)state;
	if (!start_alone(&s, 0))
		return;
	/* As if the host's clock had been an hour later before. */
	s.clock.now.clock[VVAR_REALTIME].base += (uint64_t)3600 * NSEC;
	vdso_clock_renew(&s.clock);
	assert_true(clock_distance(&s, CLOCK_REALTIME, 0) < 10 * MSEC);
	vdso_clock_fini(&s.clock);
}

static void a_page_that_is_too_old_is_not_used(void **state)
{
	struct shared s;
	bool used;
	uint64_t ns;

	(void)state;
	if (!start_alone(&s, 0))
		return;
	/* More than once only if it grows too old in between, on a machine that is that busy. */
	used = false;
	for (int i = 0; i < 100 && !used; i++) {
		vdso_clock_renew(&s.clock);
		used = vvar_read(&s.page, VVAR_MONOTONIC, &ns);
	}
	assert_true(used);
	usleep(150000);
	assert_false(vvar_read(&s.page, VVAR_MONOTONIC, &ns));
	assert_true(shared_distance(&s) < MSEC);
	used = false;
	for (int i = 0; i < 100 && !used; i++) {
		read_shared(&s);
		used = vvar_read(&s.page, VVAR_MONOTONIC, &ns);
	}
	assert_true(used);
	vdso_clock_fini(&s.clock);
}

static void a_restored_page_differs_from_what_was_being_read(void **state)
{
	struct shared s;
	uint32_t old;

	(void)state;
	start_alone(&s, 0);
	for (uint32_t i = 0; i < 4; i++) {
		old = s.page.sequence + i;
		s.page.sequence = old;
		vdso_clock_start(&s.clock, &s.page, true, 1, 0);
		assert_int_not_equal(s.page.sequence, old);
		assert_int_equal(s.page.sequence & 1, 0);
	}
	vdso_clock_fini(&s.clock);
}

static void an_offset_is_of_clocks_since_boot_only(void **state)
{
	const int64_t hour = (int64_t)3600 * NSEC;
	struct timespec time, back;
	struct shared s;

	(void)state;
	start_alone(&s, hour);
	assert_true(clock_distance(&s, CLOCK_MONOTONIC, hour) < 10 * MSEC);
	assert_true(vdso_clock_gettime(&s.clock, CLOCK_MONOTONIC, &time));
	back = vdso_clock_to_host(&s.clock, CLOCK_MONOTONIC, &time);
	assert_int_equal(ns_of(&time) - ns_of(&back), hour);
	assert_true(clock_distance(&s, CLOCK_REALTIME, 0) < 10 * MSEC);
	assert_true(vdso_clock_gettime(&s.clock, CLOCK_REALTIME, &time));
	back = vdso_clock_to_host(&s.clock, CLOCK_REALTIME, &time);
	assert_int_equal(ns_of(&time), ns_of(&back));
	vdso_clock_fini(&s.clock);
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place, unplace)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image_has_one_segment_without_write_or_relocations),
		cmocka_unit_test(image_has_the_names_of_linux),
		PLACED(clocks_are_the_hosts),
		PLACED(coarse_clocks_lag_by_less_than_their_grain),
		PLACED(resolutions_are_the_hosts),
		PLACED(other_calls_agree),
		PLACED(unknown_clocks_are_the_kernels_to_refuse),
		PLACED(without_counter_the_host_is_asked),
		cmocka_unit_test(monotonic_never_goes_back_for_any_reader),
		cmocka_unit_test(raw_never_goes_back_for_any_reader),
		cmocka_unit_test(a_line_that_ran_ahead_becomes_less_steep),
		cmocka_unit_test(realtime_follows_when_it_is_set_back),
		cmocka_unit_test(a_page_that_is_too_old_is_not_used),
		cmocka_unit_test(a_restored_page_differs_from_what_was_being_read),
		cmocka_unit_test(an_offset_is_of_clocks_since_boot_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
