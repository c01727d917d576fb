/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong in a guest, in words: the exception, the address, the instruction and the
 * function that holds it. Every path here ends with the sandbox poisoned.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "function/sandbox.h"

/*
 * A large frame may skip the page under the stack; up to here it is still called an overflow.
 */
#define STACK_GUARD ((uint64_t)1 << 30)

/* Page-fault error code (SDM vol. 3, 4.7). */
#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_FETCH 16u

/*
 * The frame that an exception pushes in 64-bit mode (SDM vol. 3, 6.14.2), without the error
 * code.
 */
struct exception_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

/* sb->fault with kind; the instruction's place if regs are known. */
static mayfly_fault *begin(mayfly_sandbox *sb, mayfly_fault_kind kind,
			   const struct cpu_regs *regs)
{
	const struct manifest *m = &sb->guest->manifest;
	mayfly_fault *f = &sb->fault;

	hot_park(sb);
	memset(f, 0, sizeof(*f));
	f->size = sizeof(*f);
	f->kind = kind;
	sb->poisoned = true;
	sb->left_ring3 = true;
	sb->at_gate = false;
	memset(&sb->fault_regs, 0, sizeof(sb->fault_regs));
	if (regs) {
		const struct elf_symbol *s = elf_symbol_at(m->symbols, m->nsymbols, regs->rip);

		sb->fault_regs = *regs;
		f->ip = regs->rip;
		f->sp = regs->rsp;
		if (s) {
			f->function = s->name;
			f->function_offset = regs->rip - s->va;
		}
	}
	return f;
}

/* " at 0x401136 (parse+0x16)" */
static const char *place(const mayfly_fault *f, char *buffer, size_t size)
{
	if (f->function)
		snprintf(buffer, size, "at 0x%llx (%.100s+0x%llx)", (unsigned long long)f->ip,
			 f->function, (unsigned long long)f->function_offset);
	else if (f->ip >= FN_GATE_VA && f->ip < FN_GATE_VA + PAGE_SIZE)
		snprintf(buffer, size, "at 0x%llx (the gate)", (unsigned long long)f->ip);
	else
		snprintf(buffer, size, "at 0x%llx", (unsigned long long)f->ip);
	return buffer;
}

static int done(mayfly_sandbox *sb, int code, mayfly_error *err)
{
	sb->fault_code = code;
	return fail(err, code, "%s", sb->fault.message);
}

int fault_guest_regs(mayfly_sandbox *sb, uint32_t vector, struct cpu_regs *regs,
		     uint32_t *error_code, mayfly_error *err)
{
	struct exception_frame frame;
	uint64_t code = 0, at;
	int r = hv_vcpu_get_regs(sb->inst.vcpu, regs, err);

	*error_code = 0;
	if (r < 0)
		return r;
	at = regs->rsp;
	if (cpu_vector_has_error_code(vector)) {
		if (!gmem_read_any(&sb->inst.gm, gva(at), &code, sizeof(code)))
			return 0;
		at += sizeof(code);
	}
	if (!gmem_read_any(&sb->inst.gm, gva(at), &frame, sizeof(frame)))
		return 0;
	*error_code = (uint32_t)code;
	regs->rip = frame.rip;
	regs->rflags = frame.rflags;
	regs->rsp = frame.rsp;
	return 0;
}

static bool below_stack(const mayfly_sandbox *sb, uint64_t address)
{
	uint64_t low = sb->guest->layout.stack_va;

	if (address < low && low - address <= STACK_GUARD &&
	    address >= FN_SUPERVISOR_VA + 0x10000)
		return !gmem_region_at(&sb->inst.guest->map, gva(address));
	return false;
}

static void describe_page_fault(mayfly_sandbox *sb, mayfly_fault *f, const char *where)
{
	const struct gmem_region *r = gmem_region_at(&sb->inst.guest->map, gva(f->address));
	const char *what = f->error_code & PF_FETCH   ? "execute"
			   : f->error_code & PF_WRITE ? "write"
						      : "read";
	/* RSP close to the fault tells a large frame's stores from a stray pointer. */
	bool overflow =
		below_stack(sb, f->address) && (f->sp < sb->guest->layout.stack_va + PAGE_SIZE);

	if (overflow) {
		f->kind = MAYFLY_FAULT_STACK_OVERFLOW;
		snprintf(f->message, sizeof(f->message),
			 "stack overflow %s: no access to 0x%llx below the stack of %llu KiB; "
			 "recursion "
			 "or frames are too deep, or the guest needs a larger stack",
			 where, (unsigned long long)f->address,
			 (unsigned long long)sb->guest->plan.stack >> 10);
	} else if (f->address < FN_GATE_VA) {
		snprintf(f->message, sizeof(f->message),
			 "page fault %s: cannot %s 0x%llx, a null pointer or close to one",
			 where, what, (unsigned long long)f->address);
	} else if (r && r->prot) {
		snprintf(f->message, sizeof(f->message),
			 "page fault %s: cannot %s 0x%llx in the %s, which is %s", where, what,
			 (unsigned long long)f->address, r->name,
			 r->prot & GMEM_EXEC	? "readable and executable only"
			 : r->prot & GMEM_WRITE ? "readable and writable only"
						: "read-only");
	} else if (r) {
		snprintf(f->message, sizeof(f->message),
			 "page fault %s: cannot %s 0x%llx, which belongs to the %s", where,
			 what, (unsigned long long)f->address, r->name);
	} else {
		snprintf(f->message, sizeof(f->message),
			 "page fault %s: cannot %s 0x%llx, which is not mapped", where, what,
			 (unsigned long long)f->address);
	}
}

/* Instructions that ring 3 may not execute, by opcode (SDM vol. 2); NULL: none of these. */
static const char *privileged_name(const uint8_t *code, size_t len, const struct cpu_regs *regs,
				   char *buffer, size_t size)
{
	size_t i = 0;

	while (i < len && (code[i] == 0x66 || code[i] == 0xf2 || code[i] == 0xf3 ||
			   (code[i] & 0xf0) == 0x40))
		i++;
	if (i + 3 > len)
		return NULL;
	code += i;
	switch (code[0]) {
	case 0xf4:
		return "HLT";
	case 0xfa:
		return "CLI";
	case 0xfb:
		return "STI";
	case 0xcd:
		snprintf(buffer, size, "INT 0x%x", code[1]);
		return buffer;
	case 0xe4:
	case 0xe5:
	case 0xe6:
	case 0xe7:
		snprintf(buffer, size, "%s port 0x%x", code[0] & 2 ? "OUT to" : "IN from",
			 code[1]);
		return buffer;
	case 0xec:
	case 0xed:
	case 0xee:
	case 0xef:
		snprintf(buffer, size, "%s port 0x%x", code[0] & 2 ? "OUT to" : "IN from",
			 (unsigned)(regs->rdx & 0xffff));
		return buffer;
	case 0x0f:
		break;
	default:
		return NULL;
	}
	switch (code[1]) {
	case 0x30:
	case 0x32:
		snprintf(buffer, size, "%s 0x%x", code[1] == 0x30 ? "WRMSR" : "RDMSR",
			 (unsigned)regs->rcx);
		return buffer;
	case 0x31:
		return "RDTSC (the time-stamp counter is denied)";
	case 0x33:
		return "RDPMC";
	case 0x06:
		return "CLTS";
	case 0x08:
		return "INVD";
	case 0x09:
		return "WBINVD";
	case 0x07:
		return "SYSRET";
	case 0x34:
		return "SYSENTER";
	case 0x35:
		return "SYSEXIT";
	case 0x20:
	case 0x22:
		return "MOV of a control register";
	case 0x21:
	case 0x23:
		return "MOV of a debug register";
	case 0x01:
		if (code[2] == 0xf9)
			return "RDTSCP (the time-stamp counter is denied)";
		return code[2] == 0xd1 ? "XSETBV" : "a system instruction (0F 01)";
	case 0x00:
		return "a system instruction (0F 00)";
	default:
		return NULL;
	}
}

static void describe_exception(mayfly_sandbox *sb, mayfly_fault *f, const struct cpu_regs *regs,
			       const char *where)
{
	const char *name = cpu_vector_name(f->vector), *instruction = NULL;
	char buffer[64];
	uint8_t code[15] = {0};
	uint64_t left = gmem_readable(&sb->inst.guest->map, gva(f->ip));
	size_t len = left < sizeof(code) ? left : sizeof(code);

	if (len && (f->vector == CPU_PROTECTION || f->vector == CPU_INVALID_OPCODE)) {
		memcpy(code, gmem_view(&sb->inst.gm, gva(f->ip), len), len);
		instruction = privileged_name(code, sizeof(code), regs, buffer, sizeof(buffer));
	}
	if (instruction)
		snprintf(f->message, sizeof(f->message),
			 "%s %s: %s is not allowed in a function guest", name, where,
			 instruction);
	else if (f->vector == CPU_INVALID_OPCODE && len >= 4)
		snprintf(f->message, sizeof(f->message), "%s %s: the bytes %02x %02x %02x %02x",
			 name, where, code[0], code[1], code[2], code[3]);
	else if (f->vector == CPU_PROTECTION && f->error_code)
		snprintf(f->message, sizeof(f->message), "%s %s (error code 0x%x)", name, where,
			 f->error_code);
	else
		snprintf(f->message, sizeof(f->message), "%s %s", name, where);
}

int fault_exception(mayfly_sandbox *sb, uint32_t vector, mayfly_error *err)
{
	struct cpu_control control;
	struct cpu_regs regs;
	uint32_t error_code;
	mayfly_fault *f;
	char where[200];
	int r = fault_guest_regs(sb, vector, &regs, &error_code, err);

	if (r == 0)
		r = hv_vcpu_get_control(sb->inst.vcpu, &control, err);
	if (r < 0)
		return fault_hypervisor(sb, r, err);
	f = begin(sb, MAYFLY_FAULT_EXCEPTION, &regs);
	f->vector = vector;
	f->error_code = error_code;
	place(f, where, sizeof(where));
	if (vector == CPU_PAGE_FAULT) {
		f->address = control.cr2;
		describe_page_fault(sb, f, where);
	} else {
		describe_exception(sb, f, &regs, where);
	}
	return done(sb, MAYFLY_E_FAULT, err);
}

/* In gate.S: from here to there the gate's hostcall waits for the host. */
extern const uint8_t gate_start[], gate_hostcall_wait[], gate_hostcall_answered[];

/*
 * A guest that asks for something waits in the gate's hostcall, behind PUSHQ RBX: its own place is
 * the caller's. Debuggers know nothing of the gate.
 */
static void leave_gate(const mayfly_sandbox *sb, struct cpu_regs *regs)
{
	uint64_t frame[2]; /* rbx, return address */
	uint64_t at = regs->rip - FN_GATE_VA;

	if (at < (uint64_t)(gate_hostcall_wait - gate_start) ||
	    at > (uint64_t)(gate_hostcall_answered - gate_start) ||
	    !gmem_read_any(&sb->inst.gm, gva(regs->rsp), frame, sizeof(frame)))
		return;
	regs->rbx = frame[0];
	regs->rip = frame[1];
	regs->rsp += sizeof(frame);
}

/* Where the guest is now, for faults that are no exception. NULL if KVM does not say. */
static const struct cpu_regs *current_regs(mayfly_sandbox *sb, struct cpu_regs *regs)
{
	hot_park(sb);
	if (hv_vcpu_get_regs(sb->inst.vcpu, regs, NULL) < 0)
		return NULL;
	leave_gate(sb, regs);
	return regs;
}

int fault_abort(mayfly_sandbox *sb, int32_t code, uint64_t va, uint64_t len, mayfly_error *err)
{
	const size_t max = MAYFLY_FAULT_MESSAGE_SIZE;
	uint64_t left = gmem_readable(&sb->inst.guest->map, gva(va));
	struct cpu_regs regs;
	mayfly_fault *f = begin(sb, MAYFLY_FAULT_ABORT, current_regs(sb, &regs));
	const char *text;

	f->abort_code = code;
	if (len > left)
		len = left; /* a message that runs out of memory is still worth its beginning */
	text = len ? gmem_view(&sb->inst.gm, gva(va), len) : NULL;
	error_printable(f->message, max, text ? text : "", text ? len : 0);
	sb->fault_code = MAYFLY_E_ABORT;
	return fail(err, MAYFLY_E_ABORT, "the guest aborted with code %d: %s", code,
		    f->message);
}

int fault_stopped(mayfly_sandbox *sb, mayfly_error *err)
{
	struct cpu_regs regs;
	mayfly_fault *f = begin(sb, MAYFLY_FAULT_STOPPED, current_regs(sb, &regs));
	char where[200];

	/* The one who stops writes its reason before it says so. */
	while (__atomic_load_n(&sb->run_state, __ATOMIC_ACQUIRE) % RUN_STATES == RUN_STOPPING)
		;
	place(f, where, sizeof(where));
	if (sb->stop_code == MAYFLY_E_TIMEOUT) {
		bool cpu = strcmp(sb->stop_reason, "time limit") != 0;
		uint64_t limit = cpu ? sb->cpu_limit_ns : sb->timeout_ns;

		snprintf(f->message, sizeof(f->message),
			 "the %s of %llu.%03llu ms was reached %s", sb->stop_reason,
			 (unsigned long long)(limit / 1000000),
			 (unsigned long long)(limit / 1000 % 1000), where);
	} else {
		snprintf(f->message, sizeof(f->message), "interrupted %s", where);
	}
	return done(sb, sb->stop_code, err);
}

int fault_protocol(mayfly_sandbox *sb, mayfly_error *err, const char *format, ...)
{
	struct cpu_regs regs;
	mayfly_fault *f = begin(sb, MAYFLY_FAULT_PROTOCOL, current_regs(sb, &regs));
	char where[200];
	va_list ap;
	int n;

	place(f, where, sizeof(where));
	n = snprintf(f->message, sizeof(f->message),
		     "the guest broke the calling protocol %s: ", where);
	va_start(ap, format);
	vsnprintf(f->message + n, sizeof(f->message) - (size_t)n, format, ap);
	va_end(ap);
	return done(sb, MAYFLY_E_PROTOCOL, err);
}

int fault_exit(mayfly_sandbox *sb, const struct hv_exit *exit, mayfly_error *err)
{
	struct cpu_regs regs;
	mayfly_fault *f = begin(sb, MAYFLY_FAULT_HYPERVISOR, current_regs(sb, &regs));
	char where[200], what[120];

	place(f, where, sizeof(where));
	switch (exit->kind) {
	case HV_EXIT_IO:
		snprintf(what, sizeof(what), "an access to port 0x%x", exit->io.port);
		break;
	case HV_EXIT_MMIO:
		snprintf(what, sizeof(what),
			 "an access to guest-physical 0x%llx, where no memory is",
			 (unsigned long long)exit->mmio.gpa);
		break;
	case HV_EXIT_HALT:
		snprintf(what, sizeof(what), "HLT in ring 0");
		break;
	case HV_EXIT_SHUTDOWN:
		snprintf(what, sizeof(what), "a triple fault");
		break;
	case HV_EXIT_INTERNAL:
		snprintf(what, sizeof(what),
			 "KVM could not go on (internal error, suberror %u)",
			 exit->internal.suberror);
		break;
	default:
		snprintf(what, sizeof(what), "an unexpected exit, reason %u",
			 exit->unknown.reason);
	}
	snprintf(f->message, sizeof(f->message), "the virtual machine stopped %s: %s", where,
		 what);
	return done(sb, MAYFLY_E_FAULT, err);
}

int fault_hypervisor(mayfly_sandbox *sb, int code, mayfly_error *err)
{
	mayfly_fault *f = begin(sb, MAYFLY_FAULT_HYPERVISOR, NULL);

	snprintf(f->message, sizeof(f->message), "%s",
		 err ? err->message : mayfly_code_name(code));
	sb->fault_code = code;
	return code;
}

int fault_no_memory(mayfly_sandbox *sb, const char *what, mayfly_error *err)
{
	return fault_hypervisor(sb, fail(err, MAYFLY_E_NOMEM, "no memory for %s", what), err);
}
