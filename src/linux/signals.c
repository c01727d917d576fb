/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals of program guests: queues, who takes what, default actions, restarting of calls. As
 * Linux does it (signal(7), its kernel/signal.c), but for stopping: with no job control and no
 * parent there is nobody who could continue the process, so SIGSTOP, SIGTSTP, SIGTTIN and
 * SIGTTOU with their default action do nothing but tell the user once.
 */
#include "linux/sigstate.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "linux/process.h"
#include "linux/trace.h"

#define HANDLER_DEFAULT 0
#define HANDLER_IGNORE 1

/* Raised by instructions: taken before all others (kernel/signal.c, SYNCHRONOUS_MASK). */
#define SYNCHRONOUS                                                                            \
	(SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) |             \
	 SIG_BIT(SIGFPE) | SIG_BIT(SIGSYS))
#define DEFAULT_IGNORED                                                                        \
	(SIG_BIT(SIGCHLD) | SIG_BIT(SIGCONT) | SIG_BIT(SIGURG) | SIG_BIT(SIGWINCH))
#define DEFAULT_STOPS                                                                          \
	(SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))

#define FIRST_REALTIME 32

#define SYSCALL_INSTRUCTION 2 /* bytes */

int signals_init(struct process *p)
{
	struct sigprocess *sig = &p->sig;

	memset(sig->actions, 0, sizeof(sig->actions));
	sig->pending = (struct sig_pending){0};
	sig->queued = 0;
	return -pthread_mutex_init(&sig->lock, NULL);
}

/* --- Queues, under sig.lock --------------------------------------------------------------- */

static void drop(struct process *p, struct sig_pending *pending, uint64_t set)
{
	struct sig_queued **at = &pending->first;

	while (*at) {
		struct sig_queued *q = *at;

		if (!(SIG_BIT(q->info.signo) & set)) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		p->sig.queued--;
		if (q->timer)
			signal_timer_dropped(p, q->timer);
		free(q);
	}
	if (pending == &p->sig.pending && pending->set & set & SIG_BIT(SIGALRM))
		signal_alarm_taken(p);
	__atomic_store_n(&pending->set, pending->set & ~set, __ATOMIC_RELAXED);
}

/* From all queues. */
static void drop_everywhere(struct process *p, uint64_t set)
{
	drop(p, &p->sig.pending, set);
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task *t = p->tasks; t; t = t->next)
		drop(p, &t->sig.pending, set);
	pthread_mutex_unlock(&p->tasks_lock);
}

static int append(struct sigprocess *sig, struct sig_pending *pending,
		  const struct guest_siginfo *info, uint64_t timer)
{
	uint64_t bit = SIG_BIT(info->signo);
	struct sig_queued *q = NULL, **at = &pending->first;
	/* A timer has at most one; of the others standard signals are few by themselves. */
	bool counts = info->signo >= FIRST_REALTIME && !timer;

	if (info->signo < FIRST_REALTIME && pending->set & bit && !timer)
		return 0;
	if (!counts || sig->queued < SIG_QUEUE_MAX)
		q = malloc(sizeof(*q));
	/* As Linux does: what kill(2) sends arrives, if only as a number. */
	if (!q && info->signo >= FIRST_REALTIME && info->code != SI_USER)
		return -EAGAIN;
	if (q) {
		*q = (struct sig_queued){.info = *info, .timer = timer};
		while (*at)
			at = &(*at)->next;
		*at = q;
		sig->queued++;
	}
	__atomic_store_n(&pending->set, pending->set | bit, __ATOMIC_RELAXED);
	return 0;
}

/* Which of `set` comes first: those that instructions raised, then by number. */
static int next_signal(uint64_t set)
{
	if (set & SYNCHRONOUS)
		set &= SYNCHRONOUS;
	return set ? __builtin_ctzll(set) + 1 : 0;
}

static bool take_from(struct process *p, struct sig_pending *pending, uint64_t set,
		      struct guest_siginfo *info)
{
	int signo = next_signal(pending->set & set);
	struct sig_queued **at, *q;
	bool more = false;

	if (!signo)
		return false;
	*info = (struct guest_siginfo){.signo = signo, .code = SI_USER};
	for (at = &pending->first; *at && (*at)->info.signo != signo;)
		at = &(*at)->next;
	q = *at;
	if (q) {
		*at = q->next;
		*info = q->info;
		for (const struct sig_queued *r = q->next; r && !more; r = r->next)
			more = r->info.signo == signo;
		p->sig.queued--;
	}
	if (!more)
		__atomic_store_n(&pending->set, pending->set & ~SIG_BIT(signo),
				 __ATOMIC_RELAXED);
	if (q && q->timer)
		signal_timer_taken(p, q->timer, info);
	else if (signo == SIGALRM && pending == &p->sig.pending)
		signal_alarm_taken(p);
	free(q);
	return true;
}

static bool take_locked(struct task *t, uint64_t set, struct guest_siginfo *info)
{
	struct process *p = t->process;

	return take_from(p, &t->sig.pending, set, info) ||
	       take_from(p, &p->sig.pending, set, info);
}

bool signal_take(struct task *t, uint64_t set, struct guest_siginfo *info)
{
	struct process *p = t->process;
	bool taken;

	pthread_mutex_lock(&p->sig.lock);
	taken = take_locked(t, set, info);
	pthread_mutex_unlock(&p->sig.lock);
	return taken;
}

uint64_t signal_pending_set(struct task *t)
{
	return __atomic_load_n(&t->sig.pending.set, __ATOMIC_RELAXED) |
	       __atomic_load_n(&t->process->sig.pending.set, __ATOMIC_RELAXED);
}

/* --- Sending ------------------------------------------------------------------------------ */

static bool wants(const struct task *t, uint64_t set)
{
	return set & (~t->sig.mask | t->sig.waiting_for | sig_unblockable());
}

/* Have one task take a signal of `set` that the process got. Hold both locks. */
static void wake_one(struct process *p, uint64_t set, const struct task *except)
{
	struct task *chosen = NULL;

	for (struct task *t = p->tasks; t; t = t->next)
		if (t != except && !t->exiting && wants(t, set) && (!chosen || t->main))
			chosen = t;
	if (chosen)
		task_kick(chosen);
}

static bool ignored_action(const struct guest_sigaction *action, int signo)
{
	return action->handler == HANDLER_IGNORE ||
	       (action->handler == HANDLER_DEFAULT && DEFAULT_IGNORED & SIG_BIT(signo));
}

/*
 * Whether a signal is dropped as it arrives. Blocked ones are not: the action may be another
 * when they are taken. For the process its first task decides, as on Linux.
 */
static bool is_ignored(struct process *p, const struct task *t, int signo)
{
	if (!t)
		t = process_task(p, PROCESS_PID);
	if (t && (t->sig.mask | t->sig.waiting_for) & SIG_BIT(signo))
		return false;
	return ignored_action(&p->sig.actions[signo], signo);
}

/* Stopping and continuing take each other back, as in prepare_signal() of the kernel. */
static void cancel_opposite(struct process *p, int signo)
{
	uint64_t set = 0;

	if (signo == SIGCONT)
		set = DEFAULT_STOPS;
	else if (DEFAULT_STOPS & SIG_BIT(signo))
		set = SIG_BIT(SIGCONT);
	if (!set)
		return;
	drop(p, &p->sig.pending, set);
	for (struct task *t = p->tasks; t; t = t->next)
		drop(p, &t->sig.pending, set);
}

/* Hold both locks. 1: dropped. */
static int send_locked(struct process *p, struct task *t, const struct guest_siginfo *info,
		       uint64_t timer)
{
	int signo = info->signo, r;
	bool watched;

	cancel_opposite(p, signo);
	if (is_ignored(p, t, signo))
		return 1;
	r = append(&p->sig, t ? &t->sig.pending : &p->sig.pending, info, timer);
	if (r < 0)
		return r;
	watched = signalfds_wake(&p->sig, signo);
	/*
	 * That a signalfd was readable may be over before the task comes to see it: others who
	 * wait for it, and are not meant, put it right.
	 */
	if (!t)
		wake_one(p, SIG_BIT(signo), NULL);
	else if (watched || wants(t, SIG_BIT(signo)))
		task_kick(t);
	return 0;
}

int signal_send(struct process *p, struct task *t, const struct guest_siginfo *info)
{
	int r;

	pthread_mutex_lock(&p->sig.lock);
	pthread_mutex_lock(&p->tasks_lock);
	r = send_locked(p, t, info, 0);
	pthread_mutex_unlock(&p->tasks_lock);
	pthread_mutex_unlock(&p->sig.lock);
	return r < 0 ? r : 0;
}

int signal_send_outside(struct process *p, int signo)
{
	/* Whoever is in no pid namespace of the receiver's is 0 to it (pid_namespaces(7)). */
	struct guest_siginfo info = {.signo = signo, .code = SI_USER, .rt.uid = p->uid};
	int r = -ESRCH;

	if (signo < 1 || signo > SIG_COUNT)
		return -EINVAL;
	pthread_mutex_lock(&p->sig.lock);
	pthread_mutex_lock(&p->tasks_lock);
	if (p->state < PROCESS_EXITED)
		r = send_locked(p, NULL, &info, 0);
	pthread_mutex_unlock(&p->tasks_lock);
	pthread_mutex_unlock(&p->sig.lock);
	return r < 0 ? r : 0;
}

int signal_queue_timer(struct process *p, int tid, const struct guest_siginfo *info,
		       uint64_t timer)
{
	struct task *t = NULL;
	int r = -ESRCH;

	pthread_mutex_lock(&p->tasks_lock);
	if (tid)
		t = process_task(p, tid);
	if (t || !tid)
		r = send_locked(p, t, info, timer);
	pthread_mutex_unlock(&p->tasks_lock);
	return r;
}

int signal_send_tid(struct process *p, int tid, const struct guest_siginfo *info)
{
	int r = -ESRCH;
	struct task *t;

	pthread_mutex_lock(&p->sig.lock);
	pthread_mutex_lock(&p->tasks_lock);
	t = process_task(p, tid);
	if (t)
		r = send_locked(p, t, info, 0);
	pthread_mutex_unlock(&p->tasks_lock);
	pthread_mutex_unlock(&p->sig.lock);
	return r < 0 ? r : 0;
}

static void unqueue_timer(struct sigprocess *sig, struct sig_pending *pending, uint64_t timer)
{
	struct sig_queued **at = &pending->first, *q;
	bool more = false;

	while (*at && (*at)->timer != timer)
		at = &(*at)->next;
	q = *at;
	if (!q)
		return;
	*at = q->next;
	for (const struct sig_queued *r = pending->first; r && !more; r = r->next)
		more = r->info.signo == q->info.signo;
	if (!more)
		__atomic_store_n(&pending->set, pending->set & ~SIG_BIT(q->info.signo),
				 __ATOMIC_RELAXED);
	sig->queued--;
	free(q);
}

void signal_unqueue_timer(struct process *p, uint64_t timer)
{
	unqueue_timer(&p->sig, &p->sig.pending, timer);
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task *t = p->tasks; t; t = t->next)
		unqueue_timer(&p->sig, &t->sig.pending, timer);
	pthread_mutex_unlock(&p->tasks_lock);
}

void signal_force(struct task *t, const struct guest_siginfo *info)
{
	struct process *p = t->process;
	uint64_t bit = SIG_BIT(info->signo);
	struct guest_sigaction *action = &p->sig.actions[info->signo];

	pthread_mutex_lock(&p->sig.lock);
	if (t->sig.mask & bit || action->handler == HANDLER_IGNORE) {
		action->handler = HANDLER_DEFAULT;
		__atomic_store_n(&t->sig.mask, t->sig.mask & ~bit, __ATOMIC_RELAXED);
	}
	append(&p->sig, &t->sig.pending, info, 0);
	pthread_mutex_unlock(&p->sig.lock);
}

/* --- Masks and actions -------------------------------------------------------------------- */

void signal_set_mask(struct task *t, uint64_t mask)
{
	struct process *p = t->process;
	uint64_t left;

	mask &= ~sig_unblockable();
	if (mask == t->sig.mask)
		return;
	pthread_mutex_lock(&p->sig.lock);
	left = p->sig.pending.set & mask & ~t->sig.mask;
	__atomic_store_n(&t->sig.mask, mask, __ATOMIC_RELAXED);
	if (left) {
		pthread_mutex_lock(&p->tasks_lock);
		wake_one(p, left, t);
		pthread_mutex_unlock(&p->tasks_lock);
	}
	pthread_mutex_unlock(&p->sig.lock);
}

int signal_mask_push(struct task *t, uint64_t va, uint64_t size)
{
	uint64_t mask;

	if (!va)
		return 0;
	if (size != sizeof(mask))
		return -EINVAL;
	if (mm_get(&t->process->mm, &mask, va) < 0)
		return -EFAULT;
	t->sig.saved_mask = t->sig.mask;
	t->sig.has_saved_mask = true;
	signal_set_mask(t, mask);
	return 0;
}

void signal_mask_pop(struct task *t, bool interrupted)
{
	if (!t->sig.has_saved_mask || interrupted)
		return;
	t->sig.has_saved_mask = false;
	signal_set_mask(t, t->sig.saved_mask);
}

int signal_set_action(struct process *p, int signo, const struct guest_sigaction *new_action,
		      struct guest_sigaction *old_action)
{
	/* Flags that Linux knows; it clears others, so that programs can find out. */
	static const uint64_t known = GUEST_SA_NOCLDSTOP | GUEST_SA_NOCLDWAIT |
				      GUEST_SA_SIGINFO | GUEST_SA_RESTORER | GUEST_SA_ONSTACK |
				      GUEST_SA_RESTART | GUEST_SA_NODEFER | GUEST_SA_RESETHAND;
	struct guest_sigaction *action;

	if (signo < 1 || signo > SIG_COUNT ||
	    (new_action && SIG_BIT(signo) & sig_unblockable()))
		return -EINVAL;
	action = &p->sig.actions[signo];
	pthread_mutex_lock(&p->sig.lock);
	if (old_action)
		*old_action = *action;
	if (new_action) {
		*action = *new_action;
		action->flags &= known;
		action->mask &= ~sig_unblockable();
		if (ignored_action(action, signo))
			drop_everywhere(p, SIG_BIT(signo));
	}
	pthread_mutex_unlock(&p->sig.lock);
	return 0;
}

void signals_clone(struct task *child, const struct task *parent)
{
	child->sig = (struct sigtask){
		.mask = parent->sig.mask,
		.alt_flags = GUEST_SS_DISABLE,
	};
}

void signals_task_fini(struct task *t)
{
	struct process *p = t->process;

	pthread_mutex_lock(&p->sig.lock);
	drop(p, &t->sig.pending, ~(uint64_t)0);
	/* It may have been chosen for one that it does not take any more. */
	if (p->sig.pending.set) {
		pthread_mutex_lock(&p->tasks_lock);
		wake_one(p, p->sig.pending.set, t);
		pthread_mutex_unlock(&p->tasks_lock);
	}
	pthread_mutex_unlock(&p->sig.lock);
}

void signals_reset(struct process *p)
{
	struct sigprocess *sig = &p->sig;

	timers_fini(p);
	pthread_mutex_lock(&sig->lock);
	drop(p, &sig->pending, ~(uint64_t)0);
	memset(sig->actions, 0, sizeof(sig->actions));
	pthread_mutex_unlock(&sig->lock);
}

void signals_fini(struct process *p)
{
	signals_reset(p);
	pthread_mutex_destroy(&p->sig.lock);
}

/* --- Delivery ----------------------------------------------------------------------------- */

bool signal_deliverable(struct task *t)
{
	return signal_pending_set(t) & ~t->sig.mask || t->sig.has_saved_mask;
}

static bool is_restart(int64_t result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR ||
	       result == -ERESTARTNOHAND || result == -ERESTART_RESTARTBLOCK;
}

/* Have the guest make system call `number` when it goes on. Gives rax. */
static int64_t call_again(struct task *t, uint64_t number)
{
	t->regs.rip -= SYSCALL_INSTRUCTION;
	t->regs_changed = true;
	return (int64_t)number;
}

/* What the call gives, or becomes, before a handler with these flags. */
static int64_t restart_with_handler(struct task *t, int64_t result, uint64_t flags)
{
	if (result == -ERESTARTNOINTR || (result == -ERESTARTSYS && flags & GUEST_SA_RESTART))
		return call_again(t, t->syscall);
	return is_restart(result) ? -EINTR : result;
}

static int64_t restart_without_handler(struct task *t, int64_t result)
{
	if (result == -ERESTART_RESTARTBLOCK)
		return call_again(t, 219); /* restart_syscall(2) */
	return is_restart(result) ? call_again(t, t->syscall) : result;
}

#define NAME_SIZE 16

static const char *name_of(int signo, char buffer[NAME_SIZE])
{
	const char *name = signal_name(signo);

	if (name)
		return name;
	snprintf(buffer, NAME_SIZE, "SIGRT_%u", (unsigned)(signo - FIRST_REALTIME) % 64);
	return buffer;
}

/* Of those that Linux ends a process for; where the CPU found fault, say where. */
static void terminate(struct task *t, const struct guest_siginfo *info)
{
	struct process *p = t->process;
	char name[NAME_SIZE];
	bool fault = info->code > 0 && info->code < SI_KERNEL &&
		     SIG_BIT(info->signo) & SYNCHRONOUS && info->signo != SIGSYS;

	if (p->trace)
		trace_note(t, "+++ killed by %s +++", name_of(info->signo, name));
	if (!fault)
		process_kill(p, info->signo, "%s", "");
	else
		process_kill(
			p, info->signo, "%s at address 0x%llx, by the instruction at 0x%llx",
			name_of(info->signo, name), (unsigned long long)info->fault.address,
			(unsigned long long)t->regs.rip);
}

/* Take the next one and its action, which SA_RESETHAND resets. Gives false if there is none. */
static bool take_next(struct task *t, struct guest_siginfo *info,
		      struct guest_sigaction *action)
{
	struct process *p = t->process;
	struct guest_sigaction *a;
	bool taken;

	pthread_mutex_lock(&p->sig.lock);
	taken = take_locked(t, ~t->sig.mask, info);
	if (taken) {
		a = &p->sig.actions[info->signo];
		*action = *a;
		if (a->flags & GUEST_SA_RESETHAND && a->handler > HANDLER_IGNORE)
			a->handler = HANDLER_DEFAULT;
	}
	pthread_mutex_unlock(&p->sig.lock);
	return taken;
}

/* SIGSEGV for a handler that cannot be entered: if it is SIGSEGV's own, that is the end. */
static void force_segv(struct task *t, int during)
{
	struct process *p = t->process;
	struct guest_siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL};

	if (during == SIGSEGV) {
		pthread_mutex_lock(&p->sig.lock);
		p->sig.actions[SIGSEGV].handler = HANDLER_DEFAULT;
		pthread_mutex_unlock(&p->sig.lock);
	}
	signal_force(t, &info);
}

/* t->regs enter the handler; the mask is that for it. */
static void enter_handler(struct task *t, const struct guest_siginfo *info,
			  const struct guest_sigaction *action)
{
	uint64_t mask = t->sig.has_saved_mask ? t->sig.saved_mask : t->sig.mask;
	char name[NAME_SIZE];

	if (t->process->trace)
		trace_note(t, "--- %s {si_code=%d} ---", name_of(info->signo, name),
			   info->code);
	if (sigframe_push(t, action, info, mask) < 0) {
		force_segv(t, info->signo);
		return;
	}
	t->sig.has_saved_mask = false;
	if (t->sig.alt_flags & GUEST_SS_AUTODISARM) {
		t->sig.alt_base = t->sig.alt_size = 0;
		t->sig.alt_flags = GUEST_SS_DISABLE;
	}
	mask = t->sig.mask | action->mask;
	if (!(action->flags & GUEST_SA_NODEFER))
		mask |= SIG_BIT(info->signo);
	signal_set_mask(t, mask);
}

/* What is left without a handler. True: the process ends. */
static bool act_by_default(struct task *t, const struct guest_siginfo *info)
{
	uint64_t bit = SIG_BIT(info->signo);
	char name[NAME_SIZE];

	if (bit & DEFAULT_IGNORED)
		return false;
	if (bit & DEFAULT_STOPS) {
		process_notice(t->process, NOTICE_STOP,
			       "%s was ignored: a program in a VM cannot be stopped",
			       name_of(info->signo, name));
		return false;
	}
	terminate(t, info);
	return true;
}

int64_t signal_deliver(struct task *t, int64_t result)
{
	bool in_call = t->syscall != UINT64_MAX, again;
	struct guest_siginfo info;
	struct guest_sigaction action;

	/* A call that was not interrupted: its mask is over, before signals are looked for. */
	signal_mask_pop(t, in_call && (is_restart(result) || result == -EINTR));
	do {
		while (take_next(t, &info, &action)) {
			if (action.handler == HANDLER_IGNORE)
				continue;
			if (action.handler == HANDLER_DEFAULT) {
				if (act_by_default(t, &info))
					return result;
				continue;
			}
			if (in_call)
				t->regs.rax =
					(uint64_t)restart_with_handler(t, result, action.flags);
			/* A further one interrupts the handler. */
			in_call = false;
			t->regs_changed = true;
			enter_handler(t, &info, &action);
		}
		if (in_call)
			t->regs.rax = (uint64_t)restart_without_handler(t, result);
		in_call = false;
		/* The call's own mask may have kept some away. */
		again = t->sig.has_saved_mask;
		signal_mask_pop(t, false);
	} while (again);
	return (int64_t)t->regs.rax;
}

/* --- Snapshots ---------------------------------------------------------------------------- */

/* As many as the queues may hold, with those of timers, and one of each standard signal. */
#define SAVED_MAX (SIG_QUEUE_MAX + 128 + FIRST_REALTIME)

static void put_pending(struct writer *w, const struct sig_pending *pending)
{
	uint64_t count = 0;

	for (const struct sig_queued *q = pending->first; q; q = q->next)
		count++;
	put_u64(w, pending->set);
	put_u64(w, count);
	for (const struct sig_queued *q = pending->first; q; q = q->next) {
		put_u64(w, q->timer);
		put_bytes(w, &q->info, sizeof(q->info));
	}
}

static int get_pending(struct sigprocess *sig, struct reader *r, struct sig_pending *pending)
{
	uint64_t set = get_u64(r), count = get_count(r, SAVED_MAX);
	struct sig_queued **at = &pending->first;

	for (uint64_t i = 0; i < count && !r->bad; i++) {
		struct sig_queued *q = calloc(1, sizeof(*q));

		if (!q)
			return -ENOMEM;
		q->timer = get_u64(r);
		get_bytes(r, &q->info, sizeof(q->info));
		if (r->bad || q->info.signo < 1 || q->info.signo > SIG_COUNT ||
		    sig->queued >= SAVED_MAX) {
			r->bad = true;
			free(q);
			break;
		}
		set |= SIG_BIT(q->info.signo);
		sig->queued++;
		*at = q;
		at = &q->next;
	}
	pending->set = set;
	return 0;
}

void signals_save(struct process *p, struct writer *w)
{
	pthread_mutex_lock(&p->sig.lock);
	put_bytes(w, p->sig.actions, sizeof(p->sig.actions));
	put_pending(w, &p->sig.pending);
	timers_save(p, w);
	pthread_mutex_unlock(&p->sig.lock);
}

int signals_load(struct process *p, struct reader *r)
{
	int e;

	pthread_mutex_lock(&p->sig.lock);
	get_bytes(r, p->sig.actions, sizeof(p->sig.actions));
	p->sig.actions[SIGKILL] = p->sig.actions[SIGSTOP] = (struct guest_sigaction){0};
	/* What was sent meanwhile, from outside, is lost. */
	drop(p, &p->sig.pending, ~(uint64_t)0);
	e = get_pending(&p->sig, r, &p->sig.pending);
	if (e == 0)
		e = timers_load(p, r);
	pthread_mutex_unlock(&p->sig.lock);
	return e;
}

void signals_save_task(struct task *t, struct writer *w)
{
	struct sigprocess *sig = &t->process->sig;

	/* Timers go on while the process is paused, and signals come from outside. */
	pthread_mutex_lock(&sig->lock);
	put_u64(w, t->sig.mask);
	put_u64(w, t->sig.saved_mask);
	put_u64(w, t->sig.has_saved_mask);
	put_u64(w, t->sig.alt_base);
	put_u64(w, t->sig.alt_size);
	put_u64(w, t->sig.alt_flags);
	put_pending(w, &t->sig.pending);
	pthread_mutex_unlock(&sig->lock);
}

int signals_load_task(struct task *t, struct reader *r)
{
	struct sigprocess *sig = &t->process->sig;
	int e;

	t->sig.mask = get_u64(r) & ~sig_unblockable();
	t->sig.saved_mask = get_u64(r) & ~sig_unblockable();
	t->sig.has_saved_mask = get_count(r, 1);
	t->sig.alt_base = get_u64(r);
	t->sig.alt_size = get_u64(r);
	t->sig.alt_flags = (uint32_t)get_count(r, UINT32_MAX);
	pthread_mutex_lock(&sig->lock);
	e = get_pending(sig, r, &t->sig.pending);
	pthread_mutex_unlock(&sig->lock);
	return e;
}

int signals_loaded(struct process *p)
{
	uint64_t set;
	int r;

	pthread_mutex_lock(&p->sig.lock);
	pthread_mutex_lock(&p->tasks_lock);
	set = p->sig.pending.set;
	for (const struct task *t = p->tasks; t; t = t->next)
		set |= t->sig.pending.set;
	pthread_mutex_unlock(&p->tasks_lock);
	for (int signo = 1; signo <= SIG_COUNT; signo++)
		if (set & SIG_BIT(signo))
			signalfds_wake(&p->sig, signo);
	r = timers_start(p);
	pthread_mutex_unlock(&p->sig.lock);
	return r;
}
