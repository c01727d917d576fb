/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions: they check arguments and delegate. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/options.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "core/io.h"
#include "function/pool.h"
#include "function/sandbox.h"
#include "machine/machine.h"

#define DEFAULT_MEMORY ((uint64_t)16 << 20)
#define DEFAULT_STACK ((uint64_t)256 << 10)
#define DEFAULT_CALL_AREA ((uint64_t)64 << 10)
/* No guest file is larger: more is a mistake. */
#define MAX_FILE ((uint64_t)4 << 30)

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

const char *mayfly_version(void)
{
	return STRINGIFY(MAYFLY_VERSION_MAJOR) "." STRINGIFY(
		MAYFLY_VERSION_MINOR) "." STRINGIFY(MAYFLY_VERSION_PATCH);
}

mayfly_value mayfly_string(const char *s)
{
	mayfly_value v = {.type = MAYFLY_STRING};

	v.as.string.data = s;
	v.as.string.len = s ? strlen(s) : 0;
	return v;
}

static int null_argument(const char *what, mayfly_error *err)
{
	return fail(err, MAYFLY_E_INVALID, "%s is a null pointer", what);
}

/* --- Loading ------------------------------------------------------------------------------ */

static uint64_t size_or(uint64_t given, uint64_t otherwise)
{
	/* What is so large that rounding would overflow is refused by the layout. */
	return given ? (given > UINT64_MAX / 2 ? given & ~PAGE_MASK : page_up(given))
		     : otherwise;
}

int mayfly_load_memory(const void *elf, size_t len, const char *name,
		       const mayfly_load_options *options, mayfly_snapshot **out,
		       mayfly_error *err)
{
	struct function_source source = {elf, len, name ? name : "guest"};
	struct function_sizes sizes;
	const struct hv_host *host;
	mayfly_load_options o;
	int r = options_copy(&o, sizeof(o), options, "mayfly_load_options", err);

	if (r < 0)
		return r;
	if (!elf || !out)
		return null_argument(elf ? "out" : "elf", err);
	sizes.memory = size_or(o.memory, DEFAULT_MEMORY);
	sizes.stack = size_or(o.stack, DEFAULT_STACK);
	sizes.call_area = size_or(o.call_area, DEFAULT_CALL_AREA);
	r = hv_host(&hv_kvm, &host, err);
	if (r < 0)
		return r;
	if (len >= strlen(SNAPSHOT_MAGIC) &&
	    memcmp(elf, SNAPSHOT_MAGIC, strlen(SNAPSHOT_MAGIC)) == 0)
		r = fail(err, MAYFLY_E_FORMAT,
			 "a snapshot, not an ELF file: mayfly_snapshot_open() opens it");
	else
		r = function_load(&source, &sizes, host, out, err);
	if (r < 0)
		error_prefix(err, "%s", source.name);
	return r;
}

static int read_file(const char *path, uint8_t **data, size_t *len, mayfly_error *err)
{
	/* Non-blocking: a FIFO in the file's place must not hang us. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ uint8_t *buffer = NULL;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return fail(err, MAYFLY_E_FORMAT, "%s: not a regular file", path);
	if ((uint64_t)st.st_size > MAX_FILE)
		return fail(err, MAYFLY_E_TOO_LARGE, "%s: larger than 4 GiB", path);
	buffer = malloc((size_t)st.st_size + 1);
	if (!buffer)
		return fail(err, MAYFLY_E_NOMEM, "%s: no memory to read it", path);
	r = read_all(fd, buffer, (uint64_t)st.st_size, 0, err);
	if (r < 0) {
		error_prefix(err, "%s", path);
		return r;
	}
	*data = take_ptr(buffer);
	*len = (size_t)st.st_size;
	return 0;
}

int mayfly_load_file(const char *path, const mayfly_load_options *options,
		     mayfly_snapshot **out, mayfly_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r;

	if (!path)
		return null_argument("path", err);
	if (!path[0])
		return fail(err, MAYFLY_E_IO, "the name of the guest's file is empty");
	r = read_file(path, &data, &len, err);
	return r < 0 ? r : mayfly_load_memory(data, len, path, options, out, err);
}

/* --- Snapshots ---------------------------------------------------------------------------- */

static const struct guest_kind *const kinds[] = {&function_guest_kind, &program_guest_kind,
						 &machine_guest_kind, NULL};

static bool is_functions(const mayfly_snapshot *snap)
{
	return snap->guest->kind == &function_guest_kind;
}

static bool is_program(const mayfly_snapshot *snap)
{
	return snap->guest->kind == &program_guest_kind;
}

/* What the guest exports; NULL for machines, which have no functions. */
static const struct manifest *exports_of(const mayfly_snapshot *snap)
{
	if (is_functions(snap))
		return &function_guest_of(snap->guest)->manifest;
	return is_program(snap) ? &program_guest_of(snap->guest)->functions : NULL;
}

static int fail_kind(const mayfly_snapshot *snap, mayfly_error *err)
{
	return fail(err, MAYFLY_E_INVALID,
		    is_program(snap)
			    ? "the snapshot is one of a program: use mayfly_process_new()"
			    : "the snapshot is one of a machine: use mayfly_machine_new()");
}

int mayfly_snapshot_save(const mayfly_snapshot *snap, const char *path, mayfly_error *err)
{
	if (!snap || !path)
		return null_argument(snap ? "path" : "snap", err);
	return snapshot_save(snap, path, err);
}

int mayfly_snapshot_open(const char *path, mayfly_snapshot **out, mayfly_error *err)
{
	const struct hv_host *host;
	int r;

	if (!path || !out)
		return null_argument(path ? "out" : "path", err);
	r = hv_host(&hv_kvm, &host, err);
	return r < 0 ? r : snapshot_open(path, kinds, host, out, err);
}

int mayfly_snapshot_get_info(const mayfly_snapshot *snap, mayfly_snapshot_info *info,
			     mayfly_error *err)
{
	const struct function_guest *g;
	mayfly_snapshot_info full = {.size = sizeof(full)};

	if (!snap || !info)
		return null_argument(snap ? "info" : "snap", err);
	full.resident = snap->npresent * PAGE_SIZE + snap->guest->map.shared_len;
	if (snap->guest->kind == &machine_guest_kind) {
		full.memory = snap->guest->map.private_len;
		full.machine = true;
		return options_give(info, &full, sizeof(full), "mayfly_snapshot_info", err);
	}
	if (!is_functions(snap)) {
		full.memory = program_guest_of(snap->guest)->memory;
		full.functions = program_guest_of(snap->guest)->functions.nexports;
		full.program = true;
		return options_give(info, &full, sizeof(full), "mayfly_snapshot_info", err);
	}
	g = function_guest_of(snap->guest);
	full.memory = g->plan.memory;
	full.stack = g->plan.stack;
	full.call_area = g->plan.call_area;
	full.heap = g->layout.heap_len;
	full.functions = g->manifest.nexports;
	full.imports = g->manifest.nimports;
	return options_give(info, &full, sizeof(full), "mayfly_snapshot_info", err);
}

/* --- Functions ---------------------------------------------------------------------------- */

int mayfly_snapshot_function(const mayfly_snapshot *snap, const char *name,
			     const mayfly_function **out, mayfly_error *err)
{
	if (!snap || !name || !out)
		return null_argument(!snap ? "snap" : name ? "out" : "name", err);
	if (is_program(snap))
		return functions_find(program_guest_of(snap->guest), name, out, err);
	if (!is_functions(snap))
		return fail(err, MAYFLY_E_NO_FUNCTION,
			    "the snapshot is one of a machine, which has no functions");
	return manifest_find(&function_guest_of(snap->guest)->manifest, name, out, err);
}

const mayfly_function *mayfly_snapshot_function_at(const mayfly_snapshot *snap, uint32_t index)
{
	const struct manifest *m = exports_of(snap);

	return m && index < m->nexports ? &m->exports[index] : NULL;
}

bool mayfly_snapshot_import_at(const mayfly_snapshot *snap, uint32_t index, const char **name,
			       const char **signature)
{
	const struct manifest *m = exports_of(snap);

	if (!is_functions(snap) || index >= m->nimports)
		return false;
	*name = m->imports[index].name;
	*signature = m->imports[index].text;
	return true;
}

const char *mayfly_function_name(const mayfly_function *fn)
{
	return fn->name;
}

const char *mayfly_function_signature(const mayfly_function *fn)
{
	return fn->text;
}

mayfly_type mayfly_function_result(const mayfly_function *fn)
{
	return (mayfly_type)fn->sig.result;
}

size_t mayfly_function_arg_count(const mayfly_function *fn)
{
	return fn->sig.nargs;
}

mayfly_type mayfly_function_arg(const mayfly_function *fn, size_t index)
{
	return index < fn->sig.nargs ? (mayfly_type)fn->sig.args[index] : MAYFLY_VOID;
}

/* --- Sandboxes ---------------------------------------------------------------------------- */

static bool is_dispatch(mayfly_dispatch dispatch)
{
	return dispatch == MAYFLY_DISPATCH_NORMAL || dispatch == MAYFLY_DISPATCH_HOT;
}

static int fail_dispatch(mayfly_dispatch dispatch, mayfly_error *err)
{
	return fail(err, MAYFLY_E_INVALID, "dispatch %d is neither normal nor hot",
		    (int)dispatch);
}

static int sandbox_options(const mayfly_sandbox_options *given, mayfly_sandbox_options *o,
			   mayfly_error *err)
{
	int r = options_copy(o, sizeof(*o), given, "mayfly_sandbox_options", err);

	if (r < 0)
		return r;
	if (o->flags & ~MAYFLY_SANDBOX_ALLOW_TSC)
		return fail(err, MAYFLY_E_INVALID,
			    "mayfly_sandbox_options.flags has unknown bits: 0x%x", o->flags);
	if (o->max_depth > SANDBOX_MAX_DEPTH)
		return fail(err, MAYFLY_E_INVALID, "max_depth of %u is more than %d",
			    o->max_depth, SANDBOX_MAX_DEPTH);
	if (!is_dispatch(o->dispatch))
		return fail_dispatch(o->dispatch, err);
	if (o->hot_wait_ns > HOT_MAX_WAIT_NS)
		return fail(err, MAYFLY_E_INVALID, "hot_wait_ns of %llu is more than a second",
			    (unsigned long long)o->hot_wait_ns);
	if (o->host_function_count && !o->host_functions)
		return null_argument("mayfly_sandbox_options.host_functions", err);
	return 0;
}

int mayfly_sandbox_new(mayfly_snapshot *snap, const mayfly_sandbox_options *options,
		       mayfly_sandbox **out, mayfly_error *err)
{
	mayfly_sandbox_options o;
	int r = sandbox_options(options, &o, err);

	if (r < 0)
		return r;
	if (!snap || !out)
		return null_argument(snap ? "out" : "snap", err);
	if (!is_functions(snap))
		return fail_kind(snap, err);
	return sandbox_new(&hv_kvm, snap, &o, out, err);
}

void mayfly_sandbox_free(mayfly_sandbox *sb)
{
	sandbox_free(sb);
}

int mayfly_sandbox_register(mayfly_sandbox *sb, const mayfly_host_function *function,
			    mayfly_error *err)
{
	if (!sb || !function)
		return null_argument(sb ? "function" : "sb", err);
	return sandbox_register(sb, function, err);
}

int mayfly_sandbox_call(mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_value *args,
			size_t nargs, mayfly_value *result, mayfly_error *err)
{
	if (!sb || !fn || (!args && nargs))
		return null_argument(!sb ? "sb" : fn ? "args" : "fn", err);
	return sandbox_call(sb, fn, args, nargs, result, err);
}

int mayfly_sandbox_call_many(mayfly_sandbox *sb, const mayfly_function *fn, mayfly_batch *batch,
			     mayfly_error *err)
{
	mayfly_batch b;
	size_t values;
	int r;

	if (!sb || !fn || !batch)
		return null_argument(!sb ? "sb" : fn ? "batch" : "fn", err);
	r = options_copy(&b, sizeof(b), batch, "mayfly_batch", err);
	if (r < 0)
		return r;
	b.done = 0;
	if (!b.args && b.nargs && b.count)
		r = null_argument("mayfly_batch.args", err);
	else if (__builtin_mul_overflow(b.nargs, b.count, &values))
		r = fail(err, MAYFLY_E_INVALID, "%zu calls with %zu arguments each", b.count,
			 b.nargs);
	else
		r = sandbox_call_many(sb, fn, &b, err);
	options_give(batch, &b, sizeof(b), "mayfly_batch", NULL);
	return r;
}

int mayfly_sandbox_set_dispatch(mayfly_sandbox *sb, mayfly_dispatch dispatch, mayfly_error *err)
{
	if (!sb)
		return null_argument("sb", err);
	if (!is_dispatch(dispatch))
		return fail_dispatch(dispatch, err);
	if (sb->depth)
		return fail(err, MAYFLY_E_BUSY, "dispatch cannot change within a call");
	return sandbox_set_dispatch(sb, dispatch, err);
}

bool mayfly_sandbox_interrupt(mayfly_sandbox *sb)
{
	return sb && sandbox_interrupt(sb);
}

int mayfly_sandbox_restore(mayfly_sandbox *sb, mayfly_snapshot *snap, mayfly_error *err)
{
	return sb ? sandbox_restore(sb, snap, err) : null_argument("sb", err);
}

int mayfly_sandbox_snapshot(mayfly_sandbox *sb, mayfly_snapshot **out, mayfly_error *err)
{
	if (!sb || !out)
		return null_argument(sb ? "out" : "sb", err);
	return sandbox_capture(sb, out, err);
}

int mayfly_sandbox_set_limits(mayfly_sandbox *sb, uint64_t timeout_ns, uint64_t cpu_time_ns,
			      mayfly_error *err)
{
	if (!sb)
		return null_argument("sb", err);
	if (sb->depth)
		return fail(err, MAYFLY_E_BUSY, "limits cannot change within a call");
	return sandbox_set_limits(sb, timeout_ns, cpu_time_ns, err);
}

bool mayfly_sandbox_is_poisoned(const mayfly_sandbox *sb)
{
	return sb && sb->poisoned;
}

int mayfly_sandbox_get_stats(const mayfly_sandbox *sb, mayfly_sandbox_stats *stats,
			     mayfly_error *err)
{
	mayfly_sandbox_stats full = {.size = sizeof(full)};

	if (!sb || !stats)
		return null_argument(sb ? "stats" : "sb", err);
	full.calls = sb->calls;
	full.host_calls = sb->host_calls;
	full.restores = sb->inst.restores;
	full.pages_restored = sb->inst.pages_restored;
	full.last_restored = sb->inst.last_restored;
	full.generation = sb->generation;
	full.cpu_time_ns = sb->cpu_used_ns;
	full.private_bytes = sizeof(*sb) + instance_private_bytes(&sb->inst);
	return options_give(stats, &full, sizeof(full), "mayfly_sandbox_stats", err);
}

int mayfly_sandbox_fault(const mayfly_sandbox *sb, mayfly_fault *fault, mayfly_error *err)
{
	if (!sb || !fault)
		return null_argument(sb ? "fault" : "sb", err);
	if (!sb->poisoned)
		return fail(err, MAYFLY_E_INVALID, "the sandbox is not poisoned");
	return options_give(fault, &sb->fault, sizeof(sb->fault), "mayfly_fault", err);
}

int mayfly_sandbox_write_core(mayfly_sandbox *sb, const char *path, mayfly_error *err)
{
	if (!sb || !path)
		return null_argument(sb ? "path" : "sb", err);
	return sandbox_write_core(sb, path, err);
}

/* --- Pools -------------------------------------------------------------------------------- */

int mayfly_pool_new(mayfly_snapshot *snap, const mayfly_pool_options *options,
		    mayfly_pool **out, mayfly_error *err)
{
	mayfly_sandbox_options sandbox;
	mayfly_pool_options o;
	int r = options_copy(&o, sizeof(o), options, "mayfly_pool_options", err);

	if (r == 0)
		r = sandbox_options(o.sandbox, &sandbox, err);
	if (r < 0)
		return r;
	if (!snap || !out)
		return null_argument(snap ? "out" : "snap", err);
	if (!is_functions(snap))
		return fail_kind(snap, err);
	if (o.limit && o.ready > o.limit)
		return fail(err, MAYFLY_E_INVALID, "a pool of at most %u cannot keep %u ready",
			    o.limit, o.ready);
	o.sandbox = &sandbox;
	return pool_new(&hv_kvm, snap, &o, out, err);
}

void mayfly_pool_free(mayfly_pool *pool)
{
	pool_free(pool);
}

int mayfly_pool_fill(mayfly_pool *pool, uint32_t count, mayfly_error *err)
{
	return pool ? pool_fill(pool, count, err) : null_argument("pool", err);
}

int mayfly_pool_acquire(mayfly_pool *pool, uint64_t wait_ns, mayfly_sandbox **out,
			mayfly_error *err)
{
	if (!pool || !out)
		return null_argument(pool ? "out" : "pool", err);
	return pool_acquire(pool, wait_ns, out, err);
}

void mayfly_pool_release(mayfly_pool *pool, mayfly_sandbox *sb)
{
	if (pool && sb)
		pool_release(pool, sb);
}

int mayfly_pool_get_stats(mayfly_pool *pool, mayfly_pool_stats *stats, mayfly_error *err)
{
	mayfly_pool_stats full = {.size = sizeof(full)};

	if (!pool || !stats)
		return null_argument(pool ? "stats" : "pool", err);
	pool_stats(pool, &full);
	return options_give(stats, &full, sizeof(full), "mayfly_pool_stats", err);
}

/* --- The host ----------------------------------------------------------------------------- */

int mayfly_host_get_info(mayfly_host_info *info, mayfly_error *err)
{
	mayfly_host_info full = {.size = sizeof(full)};
	const struct hv_host *host;
	int r;

	if (!info)
		return null_argument("info", err);
	r = hv_host(&hv_kvm, &host, err);
	if (r < 0)
		return r;
	memcpy(full.hypervisor, host->kind, sizeof(full.hypervisor));
	cpu_brand(full.cpu, sizeof(full.cpu));
	full.api_version = host->api_version;
	full.xcr0 = host->xcr0;
	full.max_vcpus = host->max_vcpus;
	full.max_memslots = host->max_slots;
	full.sync_regs = full.manual_dirty_log = full.readonly_memory =
		true; /* or hv_host fails */
	full.fsgsbase = host->fsgsbase;
	full.ring0_native = host->ring0_native;
	return options_give(info, &full, sizeof(full), "mayfly_host_info", err);
}
