/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "message.h"

struct exception {
	const char *name;
	int signal; /* what Linux sends a process for it */
};

/* SDM vol. 3, table 6-1; signals as in Linux's arch/x86/kernel/traps.c. */
static const struct exception exceptions[32] = {
	[0] = {"#DE divide error", SIGFPE},
	[1] = {"#DB debug exception", SIGTRAP},
	[3] = {"#BP breakpoint", SIGTRAP},
	[4] = {"#OF overflow", SIGSEGV},
	[5] = {"#BR bound range exceeded", SIGSEGV},
	[6] = {"#UD invalid opcode", SIGILL},
	[7] = {"#NM device not available", SIGSEGV},
	[8] = {"#DF double fault", SIGSEGV},
	[10] = {"#TS invalid TSS", SIGSEGV},
	[11] = {"#NP segment not present", SIGBUS},
	[12] = {"#SS stack-segment fault", SIGBUS},
	[13] = {"#GP general protection", SIGSEGV},
	[14] = {"#PF page fault", SIGSEGV},
	[16] = {"#MF x87 floating-point error", SIGFPE},
	[17] = {"#AC alignment check", SIGBUS},
	[18] = {"#MC machine check", SIGBUS},
	[19] = {"#XM SIMD floating-point exception", SIGFPE},
};

static int fault_signal(const mayfly_fault *fault)
{
	if (fault->kind == MAYFLY_FAULT_EXCEPTION && fault->vector < COUNT_OF(exceptions) &&
	    exceptions[fault->vector].signal)
		return exceptions[fault->vector].signal;
	return SIGSEGV;
}

int wrong_snapshot(const char *path, const mayfly_snapshot_info *info)
{
	if (info->machine)
		complain("%s is a snapshot of a machine: 'mayfly boot --from' continues it",
			 path);
	else if (info->program)
		complain("%s is a snapshot of a program: 'mayfly run --from' continues it, "
			 "mayfly_process_call() of the C library calls its functions",
			 path);
	else
		complain("%s is a snapshot of a function guest: 'mayfly call' calls its "
			 "functions",
			 path);
	return STATUS_NOT_EXECUTABLE;
}

int errno_status(int e)
{
	switch (e) {
	case ENOENT:
	case ENOTDIR:
		return STATUS_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EISDIR:
		return STATUS_NOT_EXECUTABLE;
	default:
		return STATUS_FAILED;
	}
}

int error_status(const mayfly_error *err)
{
	switch (err->code) {
	case MAYFLY_E_FORMAT:
	case MAYFLY_E_UNSUPPORTED:
		return STATUS_NOT_EXECUTABLE;
	case MAYFLY_E_NO_PROGRAM:
		return STATUS_NOT_FOUND;
	case MAYFLY_E_IO:
		return errno_status(err->sys_errno);
	default:
		return STATUS_FAILED;
	}
}

void complain_library(const mayfly_error *err)
{
	complain("%s", err->message);
	if (err->code == MAYFLY_E_HYPERVISOR)
		complain("'mayfly doctor' looks for the cause");
}

int fault_status(int code, const mayfly_fault *fault)
{
	switch (code) {
	case MAYFLY_OK:
		return STATUS_OK;
	case MAYFLY_E_TIMEOUT:
		return STATUS_TIME_LIMIT;
	case MAYFLY_E_ABORT:
		return STATUS_SIGNAL + SIGABRT;
	case MAYFLY_E_PROTOCOL:
		/* As for a process that makes a system call it may not make. */
		return STATUS_SIGNAL + SIGSYS;
	case MAYFLY_E_FAULT:
		return STATUS_SIGNAL + (fault ? fault_signal(fault) : SIGSEGV);
	default:
		return STATUS_FAILED;
	}
}

/* SDM vol. 3, 4.7: the bits of a page fault's error code. */
static void print_page_fault(uint32_t code)
{
	const char *what = code & 0x10 ? "execution of" : code & 2 ? "write to" : "read of";
	const char *why = code & 8   ? "a page with malformed tables"
			  : code & 1 ? "a page that does not allow it"
				     : "a page that is not there";

	fprintf(stderr, ": %s %s", what, why);
}

static void print_exception(const mayfly_fault *fault)
{
	const char *name = NULL;

	if (fault->vector < COUNT_OF(exceptions))
		name = exceptions[fault->vector].name;
	fprintf(stderr, "  exception    %" PRIu32 " %s, error code 0x%" PRIx32, fault->vector,
		name ? name : "(reserved)", fault->error_code);
	if (fault->vector == 14)
		print_page_fault(fault->error_code);
	fputc('\n', stderr);
	if (fault->vector == 14)
		fprintf(stderr, "  address      0x%" PRIx64 "\n", fault->address);
}

static void print_place(const mayfly_fault *fault)
{
	fprintf(stderr, "  instruction  0x%" PRIx64, fault->ip);
	if (fault->function) {
		fputs(" in ", stderr);
		print_visible(stderr, fault->function, strlen(fault->function), false);
		fprintf(stderr, "+0x%" PRIx64, fault->function_offset);
	}
	fprintf(stderr, "\n  stack        0x%" PRIx64 "\n", fault->sp);
}

static void print_fault(const mayfly_fault *fault, const char *said)
{
	switch (fault->kind) {
	case MAYFLY_FAULT_EXCEPTION:
	case MAYFLY_FAULT_STACK_OVERFLOW:
		print_exception(fault);
		break;
	case MAYFLY_FAULT_ABORT:
		fprintf(stderr, "  code         %" PRId32 "\n", fault->abort_code);
		break;
	default:
		break;
	}
	/* Mostly the first line has it already. */
	if (fault->message[0] && !strstr(said, fault->message)) {
		fputs("  message      ", stderr);
		print_visible(stderr, fault->message, strlen(fault->message), false);
		fputc('\n', stderr);
	}
	if (fault->kind != MAYFLY_FAULT_HYPERVISOR)
		print_place(fault);
}

/* What could be asked for next time, by what went wrong this time. */
static void print_hint(const mayfly_fault *fault, const char *guest)
{
	if (fault->kind == MAYFLY_FAULT_STACK_OVERFLOW)
		fputs("  hint         --stack SIZE gives it a larger stack\n", stderr);
	fprintf(stderr,
		"  hint         --core FILE keeps the memory and registers; then: gdb %s "
		"FILE\n",
		guest);
}

static void write_core(mayfly_sandbox *sb, const char *guest, const char *core)
{
	mayfly_error err;

	if (mayfly_sandbox_write_core(sb, core, &err) == MAYFLY_OK)
		fprintf(stderr, "  core         %s; open it with: gdb %s %s\n", core, guest,
			core);
	else
		complain("no core file was written: %s", err.message);
}

int fault_report(mayfly_sandbox *sb, const char *guest, const char *core,
		 const mayfly_error *err)
{
	mayfly_fault fault = {.size = sizeof(fault)};
	bool known = mayfly_sandbox_is_poisoned(sb) &&
		     mayfly_sandbox_fault(sb, &fault, NULL) == MAYFLY_OK;

	fflush(stdout);
	fputs("mayfly: ", stderr);
	print_visible(stderr, err->message, strlen(err->message), false);
	fputc('\n', stderr);
	if (known) {
		print_fault(&fault, err->message);
		if (core)
			write_core(sb, guest, core);
		else
			print_hint(&fault, guest);
	}
	return fault_status(err->code, known ? &fault : NULL);
}
