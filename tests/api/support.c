/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/sanitized.h"

/* --- guests ---------------------------------------------------------------------------------- */

void need_kvm(void)
{
	if (access("/dev/kvm", F_OK) == 0)
		return;
	print_message("no KVM: /dev/kvm is missing\n");
	skip();
}

bool on_hardware(void)
{
	mayfly_host_info info = {.size = sizeof(info)};
	mayfly_error err;

	assert_ok(mayfly_host_get_info(&info, &err), &err);
	return info.ring0_native;
}

bool in_lab(void)
{
	return getenv("MAYFLY_LAB") != NULL;
}

const char *guest_path(const char *name)
{
	static char paths[2][512];
	static unsigned turn;
	const char *directory = getenv("MAYFLY_GUESTS");
	char *path = paths[turn++ % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory ? directory : "build/guests", name);
	return path;
}

mayfly_snapshot *load(const char *guest, uint64_t memory, uint64_t stack, uint64_t call_area)
{
	mayfly_load_options options = MAYFLY_LOAD_OPTIONS_INIT;
	mayfly_snapshot *snap = NULL;
	mayfly_error err;

	need_kvm();
	options.memory = memory;
	options.stack = stack;
	options.call_area = call_area;
	assert_ok(mayfly_load_file(guest_path(guest), &options, &snap, &err), &err);
	return snap;
}

/* --- boxes ----------------------------------------------------------------------------------- */

mayfly_dispatch dispatch_under_test(void)
{
	const char *name = getenv("MAYFLY_DISPATCH");

	return name && strcmp(name, "hot") == 0 ? MAYFLY_DISPATCH_HOT : MAYFLY_DISPATCH_NORMAL;
}

int new_sandbox(mayfly_snapshot *snap, const mayfly_sandbox_options *options,
		mayfly_sandbox **out, mayfly_error *err)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	if (options)
		o = *options;
	o.dispatch = dispatch_under_test();
	return mayfly_sandbox_new(snap, &o, out, err);
}

struct box box_of(mayfly_snapshot *snap, const mayfly_sandbox_options *options)
{
	struct box b = {.snap = snap};

	assert_ok(new_sandbox(snap, options, &b.sb, &b.err), &b.err);
	return b;
}

struct box box_open(const char *guest, const mayfly_sandbox_options *options)
{
	return box_of(load(guest, 0, 0, 0), options);
}

void box_close(struct box *b)
{
	mayfly_sandbox_free(b->sb);
	mayfly_snapshot_unref(b->snap);
	b->sb = NULL;
	b->snap = NULL;
}

int box_call(struct box *b, const char *function, const mayfly_value *args, size_t nargs)
{
	const mayfly_function *fn;
	int r = mayfly_snapshot_function(b->snap, function, &fn, &b->err);

	if (r == 0)
		r = mayfly_sandbox_call(b->sb, fn, args, nargs, &b->result, &b->err);
	b->code = r;
	return r;
}

mayfly_value box_must(struct box *b, const char *function, const mayfly_value *args,
		      size_t nargs, const char *file, int line)
{
	check_code(box_call(b, function, args, nargs), MAYFLY_OK, &b->err, file, line);
	return b->result;
}

void box_restore(struct box *b)
{
	assert_ok(mayfly_sandbox_restore(b->sb, NULL, &b->err), &b->err);
}

/* --- checks ---------------------------------------------------------------------------------- */

void check_code(int code, int expected, const mayfly_error *err, const char *file, int line)
{
	if (code == expected)
		return;
	print_error("%d (%s) instead of %d (%s)%s%s\n", code, mayfly_code_name(code), expected,
		    mayfly_code_name(expected), code && err ? ": " : "",
		    code && err ? err->message : "");
	_fail(file, line);
}

void check_contains(const char *text, const char *part, const char *file, int line)
{
	if (strstr(text, part))
		return;
	print_error("\"%s\" lacks \"%s\"\n", text, part);
	_fail(file, line);
}

/* Calls with a 1 of each number's type, an "x" for each string. */
static int call_probe(struct box *b, const char *probe)
{
	mayfly_value args[MAYFLY_MAX_ARGS];
	const mayfly_function *fn;
	size_t n = 0;

	assert_ok(mayfly_snapshot_function(b->snap, probe, &fn, &b->err), &b->err);
	for (; n < mayfly_function_arg_count(fn); n++) {
		mayfly_type type = mayfly_function_arg(fn, n);

		args[n] = type == MAYFLY_STRING	 ? mayfly_string("x")
			  : type == MAYFLY_BYTES ? mayfly_bytes_of("x", 1)
			  : type == MAYFLY_F32	 ? mayfly_f32(1)
			  : type == MAYFLY_F64	 ? mayfly_f64(1)
						 : mayfly_u64(1);
		args[n].type = type;
	}
	return box_call(b, probe, args, n);
}

void check_usable(struct box *b, const char *probe, const char *file, int line)
{
	check_code(call_probe(b, probe), MAYFLY_OK, &b->err, file, line);
	if (mayfly_sandbox_is_poisoned(b->sb))
		_fail(file, line);
}

static void check_number(const char *what, long long found, long long expected,
			 const char *text, const char *file, int line)
{
	if (found == expected)
		return;
	print_error("%s %lld instead of %lld: %s\n", what, found, expected, text);
	_fail(file, line);
}

mayfly_fault check_poisoned(struct box *b, int code, mayfly_fault_kind kind, uint32_t vector,
			    const char *probe, const char *file, int line)
{
	mayfly_fault fault = {.size = sizeof(fault)};
	mayfly_snapshot *snap;

	check_code(b->code, code, &b->err, file, line);
	if (!mayfly_sandbox_is_poisoned(b->sb))
		_fail(file, line);
	check_code(mayfly_sandbox_fault(b->sb, &fault, &b->err), MAYFLY_OK, &b->err, file,
		   line);
	check_number("fault kind", fault.kind, kind, fault.message, file, line);
	check_number("vector", fault.vector, vector, fault.message, file, line);
	if (!memchr(fault.message, 0, sizeof(fault.message)))
		_fail(file, line);
	check_code(call_probe(b, probe), MAYFLY_E_POISONED, &b->err, file, line);
	check_code(mayfly_sandbox_snapshot(b->sb, &snap, &b->err), MAYFLY_E_POISONED, &b->err,
		   file, line);
	check_code(mayfly_sandbox_restore(b->sb, NULL, &b->err), MAYFLY_OK, &b->err, file,
		   line);
	check_usable(b, probe, file, line);
	return fault;
}

/* --- the process ----------------------------------------------------------------------------- */

size_t heap_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static int entries_of(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int descriptors_open(void)
{
	return entries_of("/proc/self/fd");
}

int mappings(void)
{
	FILE *f;
	int lines = 0, c;

	if (SANITIZED)
		return 0;
	f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

static char directory[64];

const char *temporary_directory(void)
{
	if (directory[0])
		return directory;
	strcpy(directory, "/tmp/mayfly-test-XXXXXX");
	assert_non_null(mkdtemp(directory));
	return directory;
}

const char *temporary_path(const char *name)
{
	static char paths[2][128];
	static unsigned turn;
	char *path = paths[turn++ % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s", temporary_directory(), name);
	return path;
}

void temporary_remove(void)
{
	struct dirent *e;
	DIR *d;

	if (!directory[0])
		return;
	d = opendir(directory);
	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(directory);
	directory[0] = '\0';
}

void *read_whole_file(const char *path, size_t *len)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	void *data;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*len = (size_t)st.st_size;
	data = malloc(*len + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *len, f), *len);
	fclose(f);
	return data;
}

void write_whole_file(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

void set_limit(struct box *b, uint64_t ns)
{
	assert_ok(mayfly_sandbox_set_limits(b->sb, ns, 0, &b->err), &b->err);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u),
			     .tv_nsec = (long)(ns % 1000000000u)};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

uint64_t random_next(uint64_t *state)
{
	/* splitmix64 */
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
