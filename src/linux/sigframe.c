/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames, as Linux lays them out on x86-64 (its asm/sigframe.h, asm/sigcontext.h,
 * asm/ucontext.h): what a handler finds on its stack, and what rt_sigreturn(2) goes back to.
 *
 *	high   the interrupted stack, its red zone
 *	       XSAVE image, 64-byte aligned, and FX_MAGIC2
 *	       struct frame: siginfo, ucontext
 *	low    the return address: rsp
 *
 * Coming back everything is the guest's word: read once, checked, and nothing is taken over that
 * ring 3 could not have set by itself.
 */
#include "linux/sigstate.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "hv/hv.h"
#include "linux/process.h"

#define RED_ZONE 128 /* System V ABI, 3.2.2 */

/* struct sigcontext_64, asm/sigcontext.h. */
struct context {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};

/* struct ucontext, asm-generic/ucontext.h, with the kernel's 8-byte sigset_t. */
struct user_context {
	uint64_t flags;
	uint64_t link;
	struct guest_stack stack;
	struct context mcontext;
	uint64_t mask;
};

struct frame {
	uint64_t return_address;
	struct user_context uc;
	struct guest_siginfo info;
};
_Static_assert(sizeof(struct guest_siginfo) == 128, "siginfo_t");
_Static_assert(sizeof(struct context) == 256, "struct sigcontext_64");
_Static_assert(sizeof(struct user_context) == 304, "struct ucontext");
_Static_assert(sizeof(struct frame) == 440, "struct rt_sigframe");

/* uc_flags, asm/ucontext.h. */
#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4

/* What Linux's segment selectors are; those of the VM are another matter. */
#define LINUX_USER_CS 0x33
#define LINUX_USER_SS 0x2b

/*
 * RFLAGS that sigreturn sets (FIX_EFLAGS, asm/sighandling.h): AC, RF, OF, DF, TF, SF, ZF, AF,
 * PF, CF. Those that a handler begins without: RF, DF, TF.
 */
#define RFLAGS_USER 0x50dd5u
#define RFLAGS_NOT_IN_HANDLER 0x10500u

/* The image: FXSAVE's 512 bytes, whose end is software's; the header; the components. */
#define FX_SIZE 512
#define FX_MXCSR 24
#define FX_SOFTWARE 464
#define XSAVE_MIN (FX_SIZE + 64)
#define MXCSR_DEFAULT 0x1f80u
#define X87_CONTROL_DEFAULT 0x37fu
#define X87_SSE 3u

/* struct _fpx_sw_bytes and FP_XSTATE_MAGIC1, 2 of asm/sigcontext.h. */
#define FX_MAGIC1 0x46505853u
#define FX_MAGIC2 0x46505845u
struct fx_software {
	uint32_t magic1;
	uint32_t extended_size; /* with magic 2 */
	uint64_t features;
	uint32_t xstate_size;
	uint32_t padding[7];
};
_Static_assert(sizeof(struct fx_software) == FX_SIZE - FX_SOFTWARE, "struct _fpx_sw_bytes");

struct xsave_header {
	uint64_t features;
	uint64_t zero[7]; /* XCOMP_BV, and reserved */
};

#define MAGIC2_SIZE 4u

union image {
	uint8_t bytes[CPU_XSAVE_BUFFER + MAGIC2_SIZE];
	struct {
		uint8_t fx[FX_SOFTWARE];
		struct fx_software software;
		struct xsave_header header;
	};
};

/*
 * Bytes of the image that the guest's own XSAVE writes: CPUID 0xd, by components. Asked for once,
 * since CPUID can be slow in a VM.
 */
static uint32_t image_size(struct process *p)
{
	uint32_t size = __atomic_load_n(&p->sig.xsave_size, __ATOMIC_RELAXED);
	uint32_t len, offset, c, d;
	const struct hv_host *host = p->host;

	if (size)
		return size;
	if (!host->xsave)
		return FX_SIZE;
	size = XSAVE_MIN;
	for (uint32_t i = 2; i < 63; i++) {
		if (!((host->xcr0 >> i) & 1))
			continue;
		__cpuid_count(0xd, i, len, offset, c, d);
		if (offset <= CPU_XSAVE_BUFFER && len <= CPU_XSAVE_BUFFER - offset &&
		    offset + len > size)
			size = offset + len;
	}
	__atomic_store_n(&p->sig.xsave_size, size, __ATOMIC_RELAXED);
	return size;
}

static bool within_altstack(const struct sigtask *sig, uint64_t sp)
{
	return sp > sig->alt_base && sp - sig->alt_base <= sig->alt_size;
}

/* One that disarms itself is not in use while it is set. */
bool signal_on_altstack(const struct sigtask *sig, uint64_t sp)
{
	return !(sig->alt_flags & GUEST_SS_AUTODISARM) && within_altstack(sig, sp);
}

static bool is_user_address(uint64_t va)
{
	return va < PROG_VA_END;
}

/* --- The way in --------------------------------------------------------------------------- */

/* Where things go. */
struct layout {
	uint64_t frame, image;
	uint32_t image_size;
};

/* False: there is no room. The result is below the stack pointer: no sum overflows. */
static bool lay_out(const struct task *t, const struct guest_sigaction *action,
		    struct layout *at)
{
	const struct sigtask *sig = &t->sig;
	uint64_t sp = t->regs.rsp - RED_ZONE, needed;
	bool on_alt = signal_on_altstack(sig, t->regs.rsp);

	at->image_size = image_size(t->process);
	needed = at->image_size + MAGIC2_SIZE + 64 + sizeof(struct frame) + 16;
	if (action->flags & GUEST_SA_ONSTACK && sig->alt_size && !signal_on_altstack(sig, sp)) {
		sp = sig->alt_base + sig->alt_size;
		on_alt = true;
	}
	if (sp < needed || !is_user_address(sp))
		return false;
	at->image = (sp - at->image_size - MAGIC2_SIZE) & ~(uint64_t)63;
	/* As after a CALL: 16-byte aligned but for the return address. */
	at->frame = ((at->image - sizeof(struct frame)) & ~(uint64_t)15) - 8;
	return !on_alt || within_altstack(sig, at->frame);
}

static void save_context(const struct task *t, struct context *c)
{
	const struct cpu_regs *r = &t->regs;

	*c = (struct context){
		.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.rdi = r->rdi,
		.rsi = r->rsi,
		.rbp = r->rbp,
		.rbx = r->rbx,
		.rdx = r->rdx,
		.rax = r->rax,
		.rcx = r->rcx,
		.rsp = r->rsp,
		.rip = r->rip,
		.rflags = r->rflags,
		.cs = LINUX_USER_CS,
		.ss = LINUX_USER_SS,
		.error = t->sig.trap_error,
		.trap = t->sig.trap_number,
		.cr2 = t->sig.trap_cr2,
	};
}

/* As after FNINIT, with the default MXCSR. */
static int reset_vectors(struct task *t)
{
	static const uint32_t mxcsr = MXCSR_DEFAULT;
	static const uint16_t control = X87_CONTROL_DEFAULT;
	union image image;

	memset(&image, 0, sizeof(image));
	memcpy(image.bytes, &control, sizeof(control));
	memcpy(image.bytes + FX_MXCSR, &mxcsr, sizeof(mxcsr));
	/* Both said to be there: without, KVM does not take MXCSR from it. */
	image.header.features = X87_SSE;
	return hv_vcpu_set_xsave(t->vcpu, image.bytes, NULL) < 0 ? -EFAULT : 0;
}

/* The vector state into the frame; handlers begin with a fresh one, as on Linux. */
static int save_vectors(struct task *t, const struct layout *at)
{
	const struct hv_host *host = t->process->host;
	static const uint32_t magic2 = FX_MAGIC2;
	union image image;
	size_t len = at->image_size;

	memset(&image, 0, sizeof(image));
	if (hv_vcpu_get_xsave(t->vcpu, image.bytes, NULL) < 0)
		return -EFAULT;
	image.software = (struct fx_software){0};
	if (host->xsave) {
		image.software.magic1 = FX_MAGIC1;
		image.software.extended_size = at->image_size + MAGIC2_SIZE;
		image.software.features = host->xcr0;
		image.software.xstate_size = at->image_size;
		/* What XSAVE in the guest would say: KVM may have more, such as PKRU. */
		image.header.features = (image.header.features | X87_SSE) & host->xcr0;
		memcpy(image.bytes + len, &magic2, sizeof(magic2));
		len += sizeof(magic2);
	}
	if (mm_write(&t->process->mm, at->image, image.bytes, len) < 0)
		return -EFAULT;
	return reset_vectors(t);
}

int sigframe_push(struct task *t, const struct guest_sigaction *action,
		  const struct guest_siginfo *info, uint64_t mask)
{
	struct cpu_regs *r = &t->regs;
	const struct sigtask *sig = &t->sig;
	struct layout at;
	struct frame frame;

	if (!is_user_address(action->handler) || !lay_out(t, action, &at))
		return -EFAULT;
	memset(&frame, 0, sizeof(frame));
	frame.return_address =
		action->flags & GUEST_SA_RESTORER ? action->restorer : PROG_GATE_SIGRETURN;
	frame.uc.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	if (t->process->host->xsave)
		frame.uc.flags |= UC_FP_XSTATE;
	frame.uc.stack.sp = sig->alt_base;
	frame.uc.stack.flags = sig->alt_size ? sig->alt_flags : GUEST_SS_DISABLE;
	frame.uc.stack.size = sig->alt_size;
	save_context(t, &frame.uc.mcontext);
	frame.uc.mcontext.fpstate = at.image;
	frame.uc.mcontext.old_mask = mask;
	frame.uc.mask = mask;
	frame.info = *info;
	if (mm_put(&t->process->mm, at.frame, &frame) < 0 || save_vectors(t, &at) < 0)
		return -EFAULT;
	r->rdi = (uint64_t)info->signo;
	r->rsi = at.frame + offsetof(struct frame, info);
	r->rdx = at.frame + offsetof(struct frame, uc);
	r->rax = 0;
	r->rip = action->handler;
	r->rsp = at.frame;
	r->rflags &= ~(uint64_t)RFLAGS_NOT_IN_HANDLER;
	t->regs_changed = true;
	return 0;
}

/* --- The way back ------------------------------------------------------------------------- */

/* As check_xstate_in_sigframe() of the kernel: else only x87 and SSE are taken. */
static bool is_extended(const union image *image, uint32_t ours)
{
	const struct fx_software *s = &image->software;

	return s->magic1 == FX_MAGIC1 && s->xstate_size >= XSAVE_MIN &&
	       s->xstate_size <= ours && s->xstate_size <= s->extended_size;
}

static int read_image(struct task *t, uint64_t va, union image *image)
{
	const struct hv_host *host = t->process->host;
	uint32_t ours = image_size(t->process), size, magic2;
	bool extended = false;

	memset(image, 0, sizeof(*image));
	if (mm_read(&t->process->mm, image->bytes, va, FX_SIZE) < 0)
		return -EFAULT;
	size = image->software.xstate_size;
	if (host->xsave && is_extended(image, ours)) {
		if (mm_read(&t->process->mm, image->bytes + FX_SIZE, va + FX_SIZE,
			    size - FX_SIZE + MAGIC2_SIZE) < 0)
			return -EFAULT;
		memcpy(&magic2, image->bytes + size, sizeof(magic2));
		extended = magic2 == FX_MAGIC2;
		memset(image->bytes + size, 0, MAGIC2_SIZE);
	}
	if (!extended) {
		memset(image->bytes + FX_SIZE, 0, sizeof(image->bytes) - FX_SIZE);
		image->header.features = X87_SSE;
		return 0;
	}
	/* What XRSTOR faults on (SDM vol. 1, 13.8.1); the backend refuses a bad MXCSR. */
	if (image->header.features & ~host->xcr0)
		return -EFAULT;
	for (size_t i = 0; i < ARRAY_SIZE(image->header.zero); i++)
		if (image->header.zero[i])
			return -EFAULT;
	image->header.features &= image->software.features;
	return 0;
}

static int restore_vectors(struct task *t, uint64_t va)
{
	union image image;

	if (!va)
		return reset_vectors(t);
	if (read_image(t, va, &image) < 0)
		return -EFAULT;
	image.software = (struct fx_software){0};
	return hv_vcpu_set_xsave(t->vcpu, image.bytes, NULL) < 0 ? -EFAULT : 0;
}

static void restore_context(struct task *t, const struct context *c)
{
	uint64_t rflags = t->regs.rflags & ~(uint64_t)RFLAGS_USER;

	t->regs = (struct cpu_regs){
		.rax = c->rax,
		.rbx = c->rbx,
		.rcx = c->rcx,
		.rdx = c->rdx,
		.rsi = c->rsi,
		.rdi = c->rdi,
		.rsp = c->rsp,
		.rbp = c->rbp,
		.r8 = c->r8,
		.r9 = c->r9,
		.r10 = c->r10,
		.r11 = c->r11,
		.r12 = c->r12,
		.r13 = c->r13,
		.r14 = c->r14,
		.r15 = c->r15,
		.rip = c->rip,
		.rflags = rflags | (c->rflags & RFLAGS_USER),
	};
	t->regs_changed = true;
}

int sigframe_pop(struct task *t)
{
	struct user_context uc;
	bool vectors;

	/* The handler's RET has taken the return address off. */
	if (mm_get(&t->process->mm, &uc, t->regs.rsp) < 0)
		return -EFAULT;
	/* In Linux's order: what is taken over before something is refused stays. */
	signal_set_mask(t, uc.mask);
	restore_context(t, &uc.mcontext);
	vectors = restore_vectors(t, uc.mcontext.fpstate) == 0;
	/* The caller has a signal delivered then, so that the CPU never gets these. */
	if (!vectors || !is_user_address(t->regs.rip) || !is_user_address(t->regs.rsp))
		return -EFAULT;
	/* As on Linux, a stack that is no good is of no consequence. */
	signal_altstack(&t->sig, t->regs.rsp, &uc.stack, NULL);
	return 0;
}
