/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: their tasks, running, stopping, ending. process_new.c makes them. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "core/clock.h"
#include "core/thread.h"
#include "linux/exec.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "linux/mm_areas.h"
#include "linux/task.h"
#include "linux/trace.h"

/* Of host threads that run tasks: system calls put paths and vectors there. */
#define HOST_STACK ((size_t)256 << 10)

/* --- Tasks -------------------------------------------------------------------------------- */

static int find_vcpu(struct process *p)
{
	for (int n = 0; n < PROG_MAX_VCPUS; n++)
		if (!bitmap_test(p->vcpus_used, (uint64_t)n))
			return n;
	return -1;
}

/* Under tasks_lock. The vCPU `n` in its first state, but for fs_base. */
static int get_vcpu(struct process *p, uint32_t n, uint64_t fs_base, struct hv_vcpu **out,
		    mayfly_error *err)
{
	struct cpu_setup setup = program_cpu_setup(p->guest, n, p->host);
	int r = 0;

	setup.fs_base = fs_base;
	program_build_thread(p->mm.base, n);
	if (p->vcpus[n])
		r = hv_vcpu_set_ring3(p->vcpus[n], &setup, err);
	else
		r = hv_vcpu_new(p->inst.vm, n, &setup, &p->vcpus[n], err);
	*out = p->vcpus[n];
	return r;
}

int task_new(struct process *p, uint64_t fs_base, struct task **out, mayfly_error *err)
{
	struct task *t = calloc(1, sizeof(*t));
	int n, r = -EAGAIN;

	if (!t)
		return -EAGAIN;
	t->process = p;
	t->syscall = TASK_NO_SYSCALL;
	t->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_lock(&p->tasks_lock);
	n = find_vcpu(p);
	if (t->kick_fd >= 0 && p->ntasks < p->max_tasks && n >= 0)
		r = get_vcpu(p, (uint32_t)n, fs_base, &t->vcpu, err);
	if (r == 0) {
		bitmap_set(p->vcpus_used, (uint64_t)n);
		t->vcpu_number = (uint32_t)n;
		t->tid = p->next_tid;
		t->next = p->tasks;
		p->tasks = t;
		__atomic_store_n(&p->ntasks, p->ntasks + 1, __ATOMIC_RELAXED);
		/* The numbers of Linux wrap, too; who has one keeps it. */
		do
			p->next_tid = p->next_tid < PROCESS_TID_MAX ? p->next_tid + 1
								    : PROCESS_PID + 1;
		while (process_task(p, p->next_tid));
	}
	pthread_mutex_unlock(&p->tasks_lock);
	if (r != 0) {
		if (t->kick_fd >= 0)
			close(t->kick_fd);
		free(t);
		return -EAGAIN;
	}
	*out = t;
	return 0;
}

void task_free(struct task *t)
{
	struct process *p = t->process;

	signals_task_fini(t);
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task **at = &p->tasks; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	__atomic_store_n(&p->ntasks, p->ntasks - 1, __ATOMIC_RELAXED);
	p->ended_syscalls += t->syscalls;
	task_cpu_end(t);
	/* Whoever gets it next is not to be kicked for this one. */
	hv_vcpu_unkick(t->vcpu);
	bitmap_clear(p->vcpus_used, t->vcpu_number);
	if (!p->ntasks && p->state == PROCESS_RUNNING) {
		p->state = PROCESS_EXITED;
		p->status = p->leader_status;
	}
	pthread_cond_broadcast(&p->tasks_changed);
	pthread_mutex_unlock(&p->tasks_lock);
	close(t->kick_fd);
	free(t);
}

/* After task_run(): over, or only parked because the process stopped? */
static void task_end(struct task *t)
{
	if (!t->exiting)
		return;
	if (t->main || t->tid == PROCESS_PID)
		t->process->leader_status = t->exit_status;
	functions_task_ends(t);
	task_farewell(t);
	task_free(t);
}

static void *host_thread(void *argument)
{
	struct task *t = argument;
	struct process *p = t->process;

	task_run(t);
	task_end(t);
	pthread_mutex_lock(&p->tasks_lock);
	p->nhosts--;
	pthread_cond_broadcast(&p->tasks_changed);
	pthread_mutex_unlock(&p->tasks_lock);
	return NULL;
}

int task_start(struct task *t)
{
	struct process *p = t->process;
	int r;

	pthread_mutex_lock(&p->tasks_lock);
	p->nhosts++;
	r = thread_start(NULL, HOST_STACK, host_thread, t);
	if (r)
		p->nhosts--;
	pthread_mutex_unlock(&p->tasks_lock);
	return r ? -EAGAIN : 0;
}

struct task *process_task(struct process *p, int tid)
{
	for (struct task *t = p->tasks; t; t = t->next)
		if (t->tid == tid)
			return t;
	return NULL;
}

uint64_t process_syscalls(struct process *p)
{
	uint64_t sum;

	pthread_mutex_lock(&p->tasks_lock);
	sum = p->ended_syscalls;
	for (struct task *t = p->tasks; t; t = t->next)
		sum += __atomic_load_n(&t->syscalls, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&p->tasks_lock);
	return sum;
}

/* --- Ending ------------------------------------------------------------------------------- */

void process_stop_all(struct process *p)
{
	atomic_store(&p->stopping, true);
	for (struct task *t = p->tasks; t; t = t->next)
		task_kick(t);
}

/* The first decision counts. Any thread; takes tasks_lock. */
static bool decide(struct process *p, enum process_state state, int status)
{
	bool first;

	pthread_mutex_lock(&p->tasks_lock);
	first = p->state == PROCESS_RUNNING;
	if (first) {
		p->state = state;
		p->status = status;
		process_stop_all(p);
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return first;
}

void process_exit(struct process *p, int status)
{
	decide(p, PROCESS_EXITED, status);
}

void process_kill(struct process *p, int signal, const char *format, ...)
{
	char message[sizeof(p->message)];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (decide(p, PROCESS_KILLED, signal))
		memcpy(p->message, message, sizeof(message));
}

void process_fail(struct process *p, const mayfly_error *err)
{
	if (decide(p, PROCESS_FAILED, 0))
		p->error = *err;
}

void process_notice(struct process *p, unsigned bit, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!p->notice || (atomic_fetch_or(&p->noticed, bit) & bit))
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	p->notice(p->notice_context, line);
}

/* --- Pausing ------------------------------------------------------------------------------ */

bool process_paused(struct process *p, uint32_t point)
{
	if (!decide(p, PROCESS_PAUSED, (int)point))
		return false;
	p->pause_point = point;
	return true;
}

bool process_pause(struct task *t, uint32_t bit)
{
	struct process *p = t->process;

	if (t->pause_passed || !(p->pause_at & bit)) {
		t->pause_passed = false;
		return false;
	}
	if (!process_paused(p, bit))
		return false;
	t->pause_passed = true;
	return true;
}

#define INT3 0xcc

static int arm_main(struct process *p, mayfly_error *err)
{
	if (p->main_armed)
		return 0;
	if (!p->main_va)
		p->main_va = exec_find_main(p);
	if (!p->main_va || mm_read(&p->mm, &p->main_byte, p->main_va, 1) < 0 ||
	    mm_poke(&p->mm, p->main_va, NULL, 0, INT3) < 0)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"%s: where its main() is cannot be told (it is stripped, and was not "
			"started by a known C library)",
			p->exe);
	p->main_armed = true;
	return 0;
}

bool process_at_main(struct task *t)
{
	struct process *p = t->process;
	if (!p->main_armed || t->regs.rip != p->main_va + 1)
		return false;
	p->main_armed = false;
	mm_poke(&p->mm, p->main_va, NULL, 0, p->main_byte);
	t->regs.rip = p->main_va;
	/* It may be left of an earlier run. */
	if (p->pause_at & MAYFLY_PAUSE_MAIN)
		process_paused(p, MAYFLY_PAUSE_MAIN);
	return true;
}

/* --- Running ------------------------------------------------------------------------------ */

static uint64_t min_deadline(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The watchdog's: look at both limits, say when to look again. */
static uint64_t expired(struct watchdog_entry *entry, uint64_t now)
{
	struct process *p = (struct process *)((char *)entry - offsetof(struct process, watch));
	uint64_t next = WATCHDOG_NEVER, used;
	mayfly_error err;

	if (p->timeout_ns) {
		if (now >= p->wall_deadline) {
			(void)fail(&err, MAYFLY_E_TIMEOUT, "the time limit of %g s was reached",
				   (double)p->timeout_ns / 1e9);
			process_fail(p, &err);
			return WATCHDOG_NEVER;
		}
		next = p->wall_deadline;
	}
	if (p->cpu_limit_ns) {
		used = process_cpu_ns(p, false);
		if (used >= p->cpu_limit_ns) {
			(void)fail(&err, MAYFLY_E_TIMEOUT,
				   "the CPU time limit of %g s was reached",
				   (double)p->cpu_limit_ns / 1e9);
			process_fail(p, &err);
			return WATCHDOG_NEVER;
		}
		/* All threads together cannot use it up sooner. */
		next = min_deadline(
			next,
			now + (p->cpu_limit_ns - used) / (p->max_tasks < 4 ? p->max_tasks : 4) +
				1000000);
	}
	return next;
}

static int begin(struct process *p, uint32_t pause_at, mayfly_error *err)
{
	int r = instance_check_process(&p->inst, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&p->tasks_lock);
	if (p->state != PROCESS_NEW && p->state != PROCESS_PAUSED) {
		r = fail(err, MAYFLY_E_PROTOCOL, "the process has ended");
	} else if (p->interrupted) {
		p->interrupted = false;
		r = fail(err, MAYFLY_E_INTERRUPTED, "interrupted before it ran");
	} else {
		p->state = PROCESS_RUNNING;
		p->pause_at = pause_at;
		atomic_store(&p->stopping, false);
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return r;
}

static void run_tasks(struct process *p)
{
	struct task *own = NULL, *next;

	/*
	 * No host thread runs now, so the list is ours; a task that was started may end, and be
	 * freed, at any time, but those behind it are not started yet, and new ones come first.
	 */
	for (struct task *t = p->tasks; t; t = next) {
		next = t->next;
		t->main = t->tid == PROCESS_PID;
		if (t->main)
			own = t;
		else if (task_start(t) < 0)
			process_kill(p, SIGKILL, "the host cannot make another thread");
	}
	if (own) {
		task_run(own);
		task_end(own);
	}
	pthread_mutex_lock(&p->tasks_lock);
	while (p->nhosts)
		pthread_cond_wait(&p->tasks_changed, &p->tasks_lock);
	pthread_mutex_unlock(&p->tasks_lock);
}

static void report_end(const struct process *p, mayfly_process_end *end)
{
	end->status = p->status;
	end->message[0] = '\0';
	switch (p->state) {
	case PROCESS_EXITED:
		end->end = MAYFLY_END_EXIT;
		break;
	case PROCESS_KILLED:
		end->end = MAYFLY_END_SIGNAL;
		memcpy(end->message, p->message, sizeof(end->message));
		break;
	default:
		end->end = MAYFLY_END_PAUSE;
	}
}

int process_go(struct process *p, uint32_t pause_at, mayfly_error *err)
{
	bool limited = p->timeout_ns || p->cpu_limit_ns;
	uint64_t began = clock_now();
	int r = 0;

	if (limited) {
		p->watch.expired = expired;
		r = watchdog_add(&p->watch, err);
	}
	if (r < 0)
		return r;
	r = begin(p, pause_at, err);
	if (r == 0) {
		if (limited) {
			p->wall_deadline =
				p->timeout_ns ? began + p->timeout_ns - p->wall_used : 0;
			watchdog_arm(&p->watch, began);
		}
		populate_start(&p->populate);
		run_tasks(p);
		populate_stop(&p->populate);
	}
	if (limited)
		watchdog_remove(&p->watch);
	if (r < 0)
		return r;
	p->wall_used += clock_now() - began;
	if (p->timeout_ns && p->wall_used >= p->timeout_ns)
		p->wall_used = p->timeout_ns - 1;
	if (p->state == PROCESS_FAILED) {
		if (err)
			*err = p->error;
		return p->error.code;
	}
	return 0;
}

int process_run(struct process *p, uint32_t pause_at, mayfly_process_end *end,
		mayfly_error *err)
{
	int r = 0;

	if (pause_at & MAYFLY_PAUSE_MAIN)
		r = arm_main(p, err);
	if (r == 0 && p->state == PROCESS_PAUSED)
		r = functions_settle(p, err);
	if (r == 0)
		r = process_go(p, pause_at, err);
	if (r == 0)
		report_end(p, end);
	return r;
}

void process_interrupt(struct process *p)
{
	mayfly_error err;

	(void)fail(&err, MAYFLY_E_INTERRUPTED, "interrupted");
	pthread_mutex_lock(&p->tasks_lock);
	if (p->state == PROCESS_RUNNING) {
		p->state = PROCESS_FAILED;
		p->error = err;
		process_stop_all(p);
	} else {
		p->interrupted = true;
	}
	pthread_mutex_unlock(&p->tasks_lock);
}
