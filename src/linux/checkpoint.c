/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/checkpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/clock.h"
#include "core/codec.h"
#include "linux/functions.h"
#include "linux/mm_areas.h"
#include "linux/task.h"

#define STATE_VERSION 2
#define MAX_ARGV_BYTES ((size_t)2 << 20)

/* --- Tasks -------------------------------------------------------------------------------- */

static int save_task(struct task *t, struct writer *w, mayfly_error *err)
{
	_cleanup_free_ uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	struct cpu_control control;
	int r;

	if (!xsave)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	r = hv_vcpu_get_control(t->vcpu, &control, err);
	if (r == 0)
		r = hv_vcpu_get_xsave(t->vcpu, xsave, err);
	if (r < 0)
		return r;
	put_u64(w, (uint64_t)t->tid);
	put_bytes(w, &t->regs, sizeof(t->regs));
	put_u64(w, control.fs_base);
	put_u64(w, control.gs_base);
	put_bytes(w, xsave, CPU_XSAVE_BUFFER);
	signals_save_task(t, w);
	put_u64(w, t->clear_child_tid);
	put_u64(w, t->robust_list);
	put_u64(w, t->pause_passed);
	put_bytes(w, t->name, sizeof(t->name));
	return 0;
}

static int load_task_rest(struct task *t, struct reader *r)
{
	int e = signals_load_task(t, r);

	t->clear_child_tid = get_u64(r);
	t->robust_list = get_u64(r);
	t->pause_passed = get_count(r, 1);
	get_bytes(r, t->name, sizeof(t->name));
	t->name[sizeof(t->name) - 1] = '\0';
	return e;
}

static int load_task(struct process *p, struct reader *r, mayfly_error *err)
{
	_cleanup_free_ uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	int tid = (int)get_count(r, PROCESS_TID_MAX);
	struct cpu_setup setup;
	struct cpu_regs regs;
	uint64_t fs_base, gs_base;
	struct task *t;

	if (!xsave)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a thread");
	get_bytes(r, &regs, sizeof(regs));
	fs_base = get_count(r, PROG_VA_END);
	gs_base = get_count(r, PROG_VA_END);
	get_bytes(r, xsave, CPU_XSAVE_BUFFER);
	if (r->bad || tid < PROCESS_PID || process_has_task(p, tid) ||
	    regs.rip >= PROG_VA_END) {
		r->bad = true;
		return 0;
	}
	if (task_new(p, fs_base, &t, err) < 0)
		return fail(err, MAYFLY_E_NOMEM,
			    "no room for the program's threads: it may have %u, or the host no "
			    "more",
			    p->max_tasks);
	t->tid = tid;
	t->regs = regs;
	t->regs.rflags = (regs.rflags & CPU_RFLAGS_USER) | CPU_RFLAGS_START;
	if (load_task_rest(t, r) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a thread");
	setup = program_cpu_setup(p->guest, t->vcpu_number, p->host);
	setup.fs_base = fs_base;
	setup.gs_base = gs_base;
	if (hv_vcpu_set_ring3(t->vcpu, &setup, err) < 0 ||
	    hv_vcpu_set_xsave(t->vcpu, xsave, err) < 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "the snapshot's vector registers are damaged");
	return 0;
}

static int save_tasks(struct process *p, struct writer *w, mayfly_error *err)
{
	int r = 0;

	put_u64(w, (uint64_t)p->next_tid);
	put_u64(w, p->ntasks);
	for (struct task *t = p->tasks; t && r == 0; t = t->next)
		r = save_task(t, w, err);
	return r;
}

static int load_tasks(struct process *p, struct reader *r, mayfly_error *err)
{
	int next_tid = (int)get_count(r, PROCESS_TID_MAX), e = 0;
	uint64_t count = get_count(r, PROG_MAX_VCPUS);

	for (uint64_t i = 0; i < count && e == 0 && !r->bad; i++)
		e = load_task(p, r, err);
	p->next_tid = next_tid > PROCESS_PID ? next_tid : PROCESS_PID + 1;
	if (process_has_task(p, p->next_tid))
		r->bad = true;
	if (e == 0 && !r->bad && !p->ntasks)
		r->bad = true;
	return e;
}

/* --- The rest ------------------------------------------------------------------------------ */

static void save_identity(struct process *p, struct writer *w)
{
	struct timespec now = {0, 0};

	vdso_clock_gettime(&p->clock, CLOCK_MONOTONIC, &now);
	put_string(w, p->exe);
	put_u64(w, p->umask);
	put_u64(w, p->main_va);
	put_u64(w, p->pause_point);
	put_u64(w, clock_ns(&now));
	put_bytes(w, p->rlimits, sizeof(p->rlimits));
}

/*
 * The monotonic clock goes on from where the snapshot's was, if the host's is behind that, as
 * after a boot.
 */
static void set_clock(struct process *p, uint64_t saved)
{
	uint64_t host = clock_now();
	int64_t offset = 0;

	if (saved > host && saved < (uint64_t)INT64_MAX / 2)
		offset = (int64_t)(saved - host);
	vdso_clock_start(&p->clock, (struct vvar *)(void *)(p->mm.base + PROG_VVAR_GPA),
			 p->host->host_tsc, process_cpus(p), offset);
}

static int load_identity(struct process *p, struct reader *r, mayfly_error *err)
{
	struct rlimit saved[RLIM_NLIMITS];
	char exe[VFS_PATH_MAX];
	uint64_t clock;

	get_string(r, exe, sizeof(exe));
	p->umask = (mode_t)get_count(r, 0777);
	p->main_va = get_u64(r);
	p->pause_point = (uint32_t)get_count(r, UINT32_MAX);
	clock = get_u64(r);
	get_bytes(r, saved, sizeof(saved));
	if (r->bad)
		return 0;
	/* What the program had lowered; it is not given more than it would have now. */
	for (size_t i = 0; i < ARRAY_SIZE(saved); i++) {
		if (saved[i].rlim_cur < p->rlimits[i].rlim_cur)
			p->rlimits[i].rlim_cur = saved[i].rlim_cur;
		if (saved[i].rlim_max < p->rlimits[i].rlim_max)
			p->rlimits[i].rlim_max = saved[i].rlim_max;
	}
	free(p->exe);
	p->exe = strdup(exe);
	set_clock(p, clock);
	return p->exe ? 0 : fail(err, MAYFLY_E_NOMEM, "no memory for a process");
}

static int save_vfs(struct process *p, struct writer *w, mayfly_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r = vfs_save(p->vfs, &data, &len, err);

	if (r == 0)
		put_block(w, data, len);
	return r;
}

static int load_vfs(struct process *p, struct reader *r, mayfly_error *err)
{
	size_t len;
	const uint8_t *data = get_block(r, &len);

	return data ? vfs_load(p->vfs, data, len, err) : 0;
}

/* --- New arguments ------------------------------------------------------------------------- */

/* argv[0] is whatever the caller calls the snapshot: the program keeps its own. */
static int put_arguments(struct process *p, const char *const *argv, mayfly_error *err)
{
	size_t count = 0, bytes = 0, at;
	_cleanup_free_ uint8_t *image = NULL;
	int64_t va;

	for (; argv[count]; count++)
		bytes += count ? strlen(argv[count]) + 1 : 0;
	if (bytes > MAX_ARGV_BYTES)
		return fail(err, MAYFLY_E_TOO_LARGE, "arguments of %zu bytes; at most 2 MiB",
			    bytes);
	at = (count + 1) * sizeof(uint64_t);
	bytes += at;
	image = calloc(1, bytes);
	if (!image)
		return fail(err, MAYFLY_E_NOMEM, "no memory for arguments");
	va = mm_map(&p->mm, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    NULL);
	if (va < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, (int)-va, "room for arguments");
	for (size_t i = 0; i < count; i++) {
		uint64_t address = i ? (uint64_t)va + at : p->mm.arg_start;
		size_t len = i ? strlen(argv[i]) + 1 : 0;

		memcpy(image + i * sizeof(address), &address, sizeof(address));
		memcpy(image + at, argv[i], len);
		at += len;
	}
	if (mm_write(&p->mm, (uint64_t)va, image, bytes) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no memory for arguments");
	p->new_argc = count;
	p->new_argv = (uint64_t)va;
	return 0;
}

/* main(argc, argv, envp): the first two. To mayfly_ready() they are given by process_ready(). */
static int set_arguments(struct process *p, const char *const *argv, mayfly_error *err)
{
	struct task *t;
	int r;

	if (!argv || !argv[0])
		return 0;
	if (p->pause_point != MAYFLY_PAUSE_MAIN && p->pause_point != MAYFLY_PAUSE_READY) {
		if (!argv[1])
			return 0;
		return fail(
			err, MAYFLY_E_INVALID,
			"the snapshot was not taken at main() or mayfly_ready(): it takes no "
			"arguments");
	}
	r = put_arguments(p, argv, err);
	if (r < 0 || p->pause_point != MAYFLY_PAUSE_MAIN)
		return r;
	t = process_task(p, PROCESS_PID);
	if (t) {
		t->regs.rdi = p->new_argc;
		t->regs.rsi = p->new_argv;
	}
	return 0;
}

int64_t process_ready(struct task *t, uint64_t va)
{
	struct process *p = t->process;
	uint64_t answer[2] = {p->new_argc, p->new_argv};

	if (process_pause(t, MAYFLY_PAUSE_READY))
		return -ERESTARTNOINTR;
	if (!va)
		return 0;
	return mm_write(&p->mm, va, answer, sizeof(answer));
}

/* --- All together -------------------------------------------------------------------------- */

static int save(struct process *p, struct snapshot_builder *b, struct writer *w,
		mayfly_error *err)
{
	int r;

	put_u64(w, STATE_VERSION);
	r = checkpoint_save_mm(p, b, w, err);
	if (r < 0)
		return r;
	save_identity(p, w);
	signals_save(p, w);
	r = save_vfs(p, w, err);
	if (r == 0)
		r = checkpoint_save_files(p, w, err);
	if (r == 0)
		r = save_tasks(p, w, err);
	if (r == 0 && w->failed)
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	return r;
}

int checkpoint_save(struct process *p, struct mayfly_snapshot **out, mayfly_error *err)
{
	struct snapshot_builder b;
	struct writer w = {.data = NULL};
	int r = instance_check_process(&p->inst, err);

	if (r < 0)
		return r;
	if (p->state != PROCESS_PAUSED)
		return fail(
			err, MAYFLY_E_INVALID,
			"only a process that is paused can be saved (see mayfly_process_run)");
	r = functions_settle(p, err);
	if (r < 0)
		return r;
	r = snapshot_builder_init(&b, p->guest, err);
	if (r == 0)
		r = save(p, &b, &w, err);
	if (r == 0) {
		b.extra = take_ptr(w.data);
		b.extra_len = w.len;
		r = snapshot_builder_finish(&b, out, err);
	}
	free(w.data);
	snapshot_builder_fini(&b);
	return r;
}

static int load(struct process *p, const struct mayfly_snapshot *snap, bool again,
		const char *const *argv, mayfly_error *err)
{
	struct reader r = {.data = snap->extra, .left = snap->extra_len};
	int e;

	if (get_u64(&r) != STATE_VERSION)
		return fail(err, MAYFLY_E_FORMAT,
			    "the snapshot holds no program's state, or that of another version "
			    "of Mayfly: take it anew");
	e = checkpoint_load_mm(p, &r, again, err);
	if (e == 0)
		e = load_identity(p, &r, err);
	if (e == 0 && signals_load(p, &r) < 0)
		e = fail(err, MAYFLY_E_NOMEM, "no memory for signals and timers");
	if (e == 0)
		e = load_vfs(p, &r, err);
	if (e == 0)
		e = checkpoint_load_files(p, &r, err);
	if (e == 0)
		e = load_tasks(p, &r, err);
	if (e == 0 && r.bad)
		e = fail(err, MAYFLY_E_FORMAT,
			 "the snapshot's state of the program is damaged");
	if (e == 0)
		e = set_arguments(p, argv, err);
	if (e == 0 && signals_loaded(p) < 0)
		e = fail(err, MAYFLY_E_NOMEM, "no thread for timers");
	if (e == 0)
		p->state = PROCESS_PAUSED;
	return e;
}

int checkpoint_load(struct process *p, struct mayfly_snapshot *snap, const char *const *argv,
		    mayfly_error *err)
{
	return load(p, snap, false, argv, err);
}

int checkpoint_restore(struct process *p, const int fds[3], mayfly_error *err)
{
	int r = instance_check_process(&p->inst, err);

	if (r < 0)
		return r;
	if (!p->restorable || !p->from_snapshot)
		return fail(err, MAYFLY_E_INVALID,
			    "only a process that was made from a snapshot, with "
			    "MAYFLY_PROCESS_RESTORABLE, can be restored");
	if (p->state == PROCESS_RUNNING)
		return fail(err, MAYFLY_E_BUSY, "the process is running");
	functions_forget(p);
	while (p->tasks)
		task_free(p->tasks);
	r = process_renew(p, fds, err);
	if (r == 0)
		r = checkpoint_reset_mm(p, p->inst.snap, err);
	if (r == 0)
		r = load(p, p->inst.snap, true, (const char *const *)p->kept.argv, err);
	if (r < 0)
		p->state = PROCESS_FAILED;
	return r;
}
