/* SPDX-License-Identifier: Apache-2.0 */
#include "signals_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err)
{
	(void)err;
	memcpy(buffer, ((struct fake_vcpu *)vcpu)->xsave, CPU_XSAVE_BUFFER);
	return 0;
}

static int set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	(void)err;
	if (v->refused)
		return MAYFLY_E_INVALID;
	memcpy(v->xsave, buffer, CPU_XSAVE_BUFFER);
	return 0;
}

static const struct hv_backend fake_backend = {
	.name = "fake",
	.vcpu_get_xsave = get_xsave,
	.vcpu_set_xsave = set_xsave,
};
static const struct hv_host fake_host = {.kind = "fake", .xsave = true, .xcr0 = 3};

int sigtest_set_up(void **state)
{
	struct sigtest *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->vcpu.base.ops = &fake_backend;
	/* FCW, MXCSR, XSTATE_BV, and something in XMM0. */
	f->vcpu.xsave[0] = 0x7f;
	f->vcpu.xsave[1] = 0x03;
	f->vcpu.xsave[24] = 0x80;
	f->vcpu.xsave[25] = 0x1f;
	f->vcpu.xsave[160] = 0xab;
	f->vcpu.xsave[512] = 3;
	f->p = fake_process_new();
	f->p->state = PROCESS_RUNNING;
	f->p->host = &fake_host;
	f->t = f->p->tasks;
	f->t->main = true;
	f->t->vcpu = &f->vcpu.base;
	f->t->regs.rip = CODE;
	f->t->regs.rsp = STACK;
	f->t->regs.rflags = 0x202;
	*state = f;
	return 0;
}

int sigtest_tear_down(void **state)
{
	struct sigtest *f = *state;

	for (struct task *t = f->p->tasks; t; t = t->next)
		signals_task_fini(t);
	signals_fini(f->p);
	pthread_mutex_init(&f->p->sig.lock, NULL); /* fake_process_free destroys it, too */
	fake_process_free(f->p);
	free(f);
	return 0;
}

struct guest_siginfo sigtest_info(int signo)
{
	return (struct guest_siginfo){
		.signo = signo, .code = SI_USER, .rt = {.pid = 77, .uid = 88}};
}

int sigtest_send(struct sigtest *f, int signo)
{
	struct guest_siginfo info = sigtest_info(signo);

	return signal_send(f->p, NULL, &info);
}

void sigtest_handle(struct sigtest *f, int signo, uint64_t flags, uint64_t mask)
{
	struct guest_sigaction action = {
		.handler = HANDLER,
		.flags = flags | GUEST_SA_RESTORER,
		.restorer = RESTORER,
		.mask = mask,
	};

	assert_int_equal(signal_set_action(f->p, signo, &action, NULL), 0);
}

void sigtest_set_handler(struct sigtest *f, int signo, uint64_t handler)
{
	struct guest_sigaction action = {.handler = handler};

	assert_int_equal(signal_set_action(f->p, signo, &action, NULL), 0);
}

int sigtest_take(struct sigtest *f)
{
	struct guest_siginfo info;

	return signal_take(f->t, ~(uint64_t)0, &info) ? info.signo : 0;
}

bool sigtest_pending(struct sigtest *f, int signo)
{
	return signal_pending_set(f->t) & SIG_BIT(signo);
}

uint32_t sigtest_queued(struct sigtest *f)
{
	uint32_t n;

	pthread_mutex_lock(&f->p->sig.lock);
	n = f->p->sig.queued;
	pthread_mutex_unlock(&f->p->sig.lock);
	return n;
}

const ucontext_t *sigtest_context(struct sigtest *f)
{
	return fake_memory(f->p, f->t->regs.rdx - FAKE_VA);
}

int64_t sigtest_call(struct sigtest *f, syscall_fn *fn, uint64_t a0, uint64_t a1, uint64_t a2,
		     uint64_t a3)
{
	const uint64_t a[6] = {a0, a1, a2, a3};

	return fn(f->t, a);
}
