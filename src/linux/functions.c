/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of programs. A call is made as a signal is delivered: the task that waits in
 * mayfly_ready() is given other registers, and gets its own back when the gate says that the
 * function returned (PROG_SYS_RETURN). Below the red zone of its stack lie, from the top:
 *
 *	strings and bytes among the arguments, each 16-byte aligned (large ones: a mapping)
 *	the arguments in vector registers, if there are any
 *	the arguments on the stack: rsp at the gate
 *
 * Nothing of this is believed when it is over: the registers are kept here, and the result is the
 * guest's word.
 */
#include "linux/functions.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/function.h"
#include "function/marshal.h"
#include "linux/guest.h"
#include "linux/mm_areas.h"
#include "linux/task.h"
#include "linux/trace.h"
#include "loader/elf_file.h"

#define RED_ZONE 128 /* System V ABI, 3.2.2 */
/* Of strings and bytes, so much goes onto the stack: a thread's may be small. */
#define MAX_ON_STACK 4096
#define MAX_FRAME ((MARSHAL_STACK + MARSHAL_SREGS) * sizeof(uint64_t))
/* A string or bytes that a function gives: they are copied into the host process. */
#define MAX_RESULT ((size_t)16 << 20)
#define FIRST_STRING 256 /* read at first: most are short */

_Static_assert(FN_NOTE_PROGRAM == 4, "mayfly_program.h writes it as a number");

/* Notes that are looked at. */
#define MAX_NOTES 16
#define MAX_NOTE_BYTES ((size_t)1 << 20)

/* --- What it exports ---------------------------------------------------------------------- */

struct note_reader {
	struct elf_notes notes[MAX_NOTES];
	size_t count;
	uint8_t *bytes[MAX_NOTES]; /* owned */
	size_t left;		   /* of MAX_NOTE_BYTES */
};

/* A copy, if it can be one of ours and the file has it. -ENOMEM */
static int read_notes(struct note_reader *nr, int fd, uint32_t number, const Elf64_Phdr *ph,
		      uint64_t bias)
{
	uint8_t *bytes;

	if (ph->p_type != PT_NOTE || !ph->p_filesz || ph->p_filesz > nr->left ||
	    ph->p_offset > INT64_MAX - MAX_NOTE_BYTES || nr->count == MAX_NOTES)
		return 0;
	nr->left -= ph->p_filesz;
	bytes = malloc(ph->p_filesz);
	if (!bytes)
		return -ENOMEM;
	/* Others' may be malformed: only where ours are there is it worth saying. */
	if (pread(fd, bytes, ph->p_filesz, (off_t)ph->p_offset) != (ssize_t)ph->p_filesz ||
	    !memmem(bytes, ph->p_filesz, FN_NOTE_NAME, sizeof(FN_NOTE_NAME))) {
		free(bytes);
		return 0;
	}
	nr->bytes[nr->count] = bytes;
	/* Any sum is fine: it is looked at as an address only. */
	nr->notes[nr->count++] = (struct elf_notes){
		.number = number,
		.mem = bytes,
		.size = ph->p_filesz,
		.va = ph->p_vaddr + bias,
		.align = ph->p_align == 8 ? 8 : 4,
	};
	return 0;
}

static bool is_code(const void *context, uint64_t va)
{
	const struct mm *mm = context;
	size_t i = va < PROG_VA_END ? area_find(mm, va) : mm->nareas;

	return i < mm->nareas && mm->areas[i].start <= va && mm->areas[i].prot & PROT_EXEC;
}

int functions_load(struct process *p, const struct elf_file *elf, int fd, uint64_t bias,
		   mayfly_error *err)
{
	struct program_guest *g = program_guest_of(p->guest);
	struct note_reader nr = {.left = MAX_NOTE_BYTES};
	mayfly_error problem;
	int r = 0;

	for (uint32_t i = 0; i < elf->eh.e_phnum && r == 0; i++) {
		Elf64_Phdr ph = elf_file_phdr(elf, i);

		r = read_notes(&nr, fd, i, &ph, bias);
	}
	if (r == 0 && nr.count &&
	    manifest_from_notes(nr.notes, nr.count, is_code, &p->mm, &g->functions, &problem) <
		    0) {
		g->functions_problem =
			problem.code == MAYFLY_E_NOMEM ? NULL : strdup(problem.message);
		r = g->functions_problem ? 0 : -ENOMEM;
	}
	while (nr.count)
		free(nr.bytes[--nr.count]);
	return r < 0 ? fail(err, MAYFLY_E_NOMEM, "no memory for a program's functions") : 0;
}

int functions_find(const struct program_guest *g, const char *name, const mayfly_function **out,
		   mayfly_error *err)
{
	if (g->functions_problem)
		return fail(err, MAYFLY_E_FORMAT, "what the program exports is unusable: %s",
			    g->functions_problem);
	return manifest_find(&g->functions, name, out, err);
}

/* --- State of calls ------------------------------------------------------------------------ */

struct function_call {
	struct task *task; /* called now; else NULL */
	const mayfly_function *fn;
	struct cpu_regs regs; /* its own */
	uint64_t sp;	      /* rsp at the gate */
	bool returned;
	struct marshal_result result;
	/* The task whose vector registers are not its own now, those are in `vectors`. */
	struct task *held;
	uint8_t *vectors; /* CPU_XSAVE_BUFFER */
	void *data;	  /* of the last result */
	/* A mapping with large arguments. */
	uint64_t mapped_va, mapped_len;
};

static struct function_call *call_state(struct process *p)
{
	struct function_call *c = p->call;

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (c)
		c->vectors = aligned_alloc(64, CPU_XSAVE_BUFFER);
	if (!c || !c->vectors) {
		free(c);
		return NULL;
	}
	p->call = c;
	return c;
}

int functions_settle(struct process *p, mayfly_error *err)
{
	struct function_call *c = p->call;
	int r = 0;

	if (c && c->held)
		r = hv_vcpu_set_xsave(c->held->vcpu, c->vectors, err);
	if (c && r == 0)
		c->held = NULL;
	return r;
}

void functions_forget(struct process *p)
{
	if (p->call) {
		p->call->task = NULL;
		p->call->held = NULL;
		p->call->mapped_len = 0;
	}
}

void functions_fini(struct process *p)
{
	if (!p->call)
		return;
	free(p->call->vectors);
	free(p->call->data);
	free(p->call);
	p->call = NULL;
}

/* --- Arguments ----------------------------------------------------------------------------- */

struct placing {
	struct process *p;
	uint64_t va;	     /* where strings and bytes go */
	uint64_t used, size; /* of the room there */
	bool mapped; /* it is a mapping, written at once; else `stage` holds it for later */
	/* Up to the red zone: [end - frame, end) stack and vector arguments, data from `end`. */
	uint8_t stage[MAX_FRAME + MAX_ON_STACK];
	uint64_t iregs[MARSHAL_IREGS], sregs[MARSHAL_SREGS], stack[MARSHAL_STACK];
};

static int no_room(const struct placing *pl, mayfly_error *err)
{
	return fail(err, MAYFLY_E_TOO_LARGE,
		    "%llu bytes of arguments have no room in the program's memory, of which it "
		    "may have %llu bytes",
		    (unsigned long long)pl->size, (unsigned long long)pl->p->mm.limit);
}

static int push(void *owner, const void *data, uint64_t len, bool terminate, uint64_t *va,
		mayfly_error *err)
{
	struct placing *pl = owner;
	struct mm *mm = &pl->p->mm;

	*va = pl->va + pl->used;
	if (!pl->mapped) {
		uint8_t *to = pl->stage + MAX_FRAME + pl->used;

		if (len)
			memcpy(to, data, len);
		if (terminate)
			to[len] = 0;
	} else if ((len && mm_write(mm, *va, data, len) < 0) ||
		   (terminate && mm_zero(mm, *va + len, 1) < 0)) {
		return no_room(pl, err);
	}
	pl->used += (len + terminate + 15) & ~(uint64_t)15;
	return 0;
}

/* The room that strings and bytes take; UINT64_MAX: more than there is anywhere. */
static uint64_t data_size(const mayfly_value *args, size_t nargs)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < nargs; i++) {
		uint64_t len = 0;

		if (args[i].type == MAYFLY_STRING)
			len = args[i].as.string.len;
		else if (args[i].type == MAYFLY_BYTES)
			len = args[i].as.bytes.len;
		else
			continue;
		/* A sum of 16 of these does not overflow. */
		if (len > PROG_VA_END)
			return UINT64_MAX;
		sum += (len + 1 + 15) & ~(uint64_t)15;
	}
	return sum;
}

static int place_data(struct placing *pl, struct function_call *c, uint64_t top,
		      mayfly_error *err)
{
	uint64_t size = pl->size;
	int64_t va;

	pl->mapped = size > MAX_ON_STACK;
	if (!pl->mapped) {
		pl->va = (top - size) & ~(uint64_t)15;
		return 0;
	}
	va = size > PROG_VA_END ? -ENOMEM
				: mm_map(&pl->p->mm, 0, page_up(size), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, NULL);
	if (va < 0)
		return no_room(pl, err);
	pl->va = (uint64_t)va;
	c->mapped_va = pl->va;
	c->mapped_len = page_up(size);
	return 0;
}

/* Stack and vector arguments below what is staged, and all of that into the guest. */
static int write_frame(struct placing *pl, const struct marshal *m, uint64_t top, uint64_t *sp,
		       mayfly_error *err)
{
	size_t stack_len = m->nstack * sizeof(uint64_t);
	size_t floats_len = m->floats ? sizeof(pl->sregs) : 0, len = stack_len + floats_len;
	uint8_t *at = pl->stage + MAX_FRAME - len;

	*sp = (pl->mapped ? top : pl->va) - len;
	memcpy(at, pl->stack, stack_len);
	memcpy(at + stack_len, pl->sregs, floats_len);
	if (!pl->mapped)
		len += pl->used;
	if (len && mm_write(&pl->p->mm, *sp, at, len) < 0)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "%zu bytes of arguments have no room on the stack of the thread "
			    "that waits in mayfly_ready(), below 0x%llx",
			    len, (unsigned long long)top);
	return 0;
}

/* The task's registers are those for the gate; on failure nothing was changed. */
static int place_arguments(struct process *p, struct task *t, const mayfly_function *fn,
			   const mayfly_value *args, size_t nargs, mayfly_error *err)
{
	struct placing pl;
	struct marshal m = {
		.iregs = pl.iregs,
		.sregs = pl.sregs,
		.stack = pl.stack,
		.push = push,
		.owner = &pl,
	};
	uint64_t top = (t->regs.rsp - RED_ZONE) & ~(uint64_t)15, sp = 0;
	int r;

	pl.p = p;
	pl.used = 0;
	pl.size = data_size(args, nargs);
	memset(pl.iregs, 0, sizeof(pl.iregs));
	memset(pl.sregs, 0, sizeof(pl.sregs));
	/* What lies between the data goes to the guest, too. */
	memset(pl.stage + MAX_FRAME, 0, MAX_ON_STACK);
	/* So that nothing below wraps. */
	if (t->regs.rsp > PROG_VA_END || t->regs.rsp < PROG_LOW_VA + sizeof(pl.stage))
		return fail(err, MAYFLY_E_PROTOCOL,
			    "the thread that waits in mayfly_ready() has no stack: its stack "
			    "pointer is 0x%llx",
			    (unsigned long long)t->regs.rsp);
	r = place_data(&pl, p->call, top, err);
	if (r == 0)
		r = marshal_put(&m, fn, args, nargs, err);
	if (r == 0)
		r = write_frame(&pl, &m, top, &sp, err);
	if (r < 0)
		return r;
	p->call->sp = sp;
	t->regs = (struct cpu_regs){
		.rax = fn->va,
		.rbx = m.floats ? sp + m.nstack * sizeof(uint64_t) : 0,
		.rdi = pl.iregs[0],
		.rsi = pl.iregs[1],
		.rdx = pl.iregs[2],
		.r10 = pl.iregs[3],
		.r8 = pl.iregs[4],
		.r9 = pl.iregs[5],
		.rsp = sp,
		.rip = PROG_GATE_CALL,
		.rflags = CPU_RFLAGS_START,
	};
	/* By SYSRET, if it is in ring 0: the gate needs neither RCX nor R11. */
	t->regs_changed = false;
	return 0;
}

static void unmap_arguments(struct process *p)
{
	struct function_call *c = p->call;

	if (c->mapped_len)
		mm_unmap(&p->mm, c->mapped_va, c->mapped_len);
	c->mapped_len = 0;
}

/* --- Results ------------------------------------------------------------------------------ */

/* As long as the host has not seen the end, a bit more: a copy, of which only the NUL counts. */
static int copy_string(struct process *p, uint64_t va, char **out, size_t *out_len)
{
	size_t have = 0, size = FIRST_STRING;
	char *text = NULL, *bigger;

	for (;;) {
		/* Not past a page's end: the next one may not be there. */
		size_t part = PAGE_SIZE - (va + have) % PAGE_SIZE;
		const char *end;

		if (have == size || !text) {
			size = text ? size * 4 : size;
			bigger = size > MAX_RESULT ? NULL : realloc(text, size);
			if (!bigger) {
				free(text);
				return size > MAX_RESULT ? -E2BIG : -ENOMEM;
			}
			text = bigger;
		}
		if (part > size - have)
			part = size - have;
		if (mm_read(&p->mm, text + have, va + have, part) < 0) {
			free(text);
			return -EFAULT;
		}
		end = memchr(text + have, 0, part);
		if (end) {
			*out = text;
			*out_len = (size_t)(end - text);
			return 0;
		}
		have += part;
	}
}

static int copy_bytes(struct process *p, uint64_t va, uint64_t len, void **out)
{
	void *bytes;

	if (len > MAX_RESULT)
		return -E2BIG;
	bytes = malloc(len ? len : 1);
	if (!bytes)
		return -ENOMEM;
	if (len && mm_read(&p->mm, bytes, va, len) < 0) {
		free(bytes);
		return -EFAULT;
	}
	*out = bytes;
	return 0;
}

static int refuse_result(const mayfly_function *fn, const mayfly_value *v, uint64_t va, int e,
			 mayfly_error *err)
{
	const char *type = mayfly_type_name(v->type);

	if (e == -ENOMEM)
		return fail(err, MAYFLY_E_NOMEM, "no memory for what %s gave", fn->name);
	if (e == -E2BIG)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "%s gave %s at 0x%llx of more than %zu MiB", fn->name, type,
			    (unsigned long long)va, MAX_RESULT >> 20);
	return fail(err, MAYFLY_E_PROTOCOL,
		    "%s gave %s at 0x%llx, which is not readable memory", fn->name, type,
		    (unsigned long long)va);
}

static int take_result(struct process *p, const mayfly_function *fn, mayfly_value *out,
		       mayfly_error *err)
{
	struct function_call *c = p->call;
	const struct marshal_result *words = &c->result;
	mayfly_value v;
	int e = 0;

	if (!marshal_get(fn, words, &v)) {
		if (v.type == MAYFLY_STRING) {
			char *text = NULL;

			e = copy_string(p, words->rax, &text, &v.as.string.len);
			v.as.string.data = c->data = text;
		} else {
			v.as.bytes.len = words->rdx;
			e = copy_bytes(p, words->rax, words->rdx, &c->data);
			v.as.bytes.data = c->data;
		}
	}
	if (e < 0)
		return refuse_result(fn, &v, words->rax, e, err);
	if (out)
		*out = v;
	return 0;
}

/* --- The call ----------------------------------------------------------------------------- */

int64_t functions_return(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct function_call *c = p->call;
	/* Anybody can make this system call. */
	bool gate = t->regs.rip - PROG_GATE_CALL <= PROG_GATE_CALL_SIZE;

	if (!gate)
		return -ENOSYS;
	if (!c || c->task != t || c->returned || t->regs.rsp != c->sp) {
		process_kill(p, SIGSEGV,
			     "a function returned to the host that was not called, or had "
			     "returned before");
		return -ENOSYS;
	}
	c->result = (struct marshal_result){.rax = a[0], .rdx = a[1], .xmm0 = a[2]};
	c->returned = true;
	t->regs = c->regs;
	t->regs_changed = true;
	t->pause_passed = true;
	t->call_over = true;
	/* No result: rax is the system call that will be made again. */
	t->syscall = TASK_NO_SYSCALL;
	process_paused(p, MAYFLY_PAUSE_READY);
	return 0;
}

void functions_task_ends(struct task *t)
{
	struct process *p = t->process;
	mayfly_error err;

	/* The last one ends the process by itself. */
	if (!p->call || p->call->task != t || p->ntasks == 1)
		return;
	(void)fail(&err, MAYFLY_E_PROTOCOL, "the thread that ran %s ended before it returned",
		   p->call->fn->name);
	process_fail(p, &err);
}

static struct task *ready_task(struct process *p)
{
	for (struct task *t = p->tasks; t; t = t->next)
		if (t->pause_passed)
			return t;
	return NULL;
}

static int check_call(struct process *p, const mayfly_function *fn, mayfly_error *err)
{
	int r = instance_check_process(&p->inst, err);

	if (r < 0)
		return r;
	if (p->state == PROCESS_RUNNING)
		return fail(err, MAYFLY_E_BUSY, "the process is running");
	if (p->state != PROCESS_PAUSED || p->pause_point != MAYFLY_PAUSE_READY ||
	    !ready_task(p))
		return fail(err, MAYFLY_E_PROTOCOL,
			    "functions of a program can be called while it is paused at "
			    "mayfly_ready() (see MAYFLY_PAUSE_READY)%s",
			    p->state == PROCESS_PAUSED || p->state == PROCESS_NEW
				    ? ""
				    : ", but it has ended");
	if (fn->manifest != &program_guest_of(p->guest)->functions)
		return fail(err, MAYFLY_E_INVALID,
			    "%s is a function of another guest than the process's", fn->name);
	return 0;
}

/* The process ended by something else than the function's return. */
static int ended(struct process *p, const mayfly_function *fn, mayfly_error *err)
{
	const char *name;

	if (p->state == PROCESS_EXITED)
		return fail(err, MAYFLY_E_PROTOCOL,
			    "the program exited with status %d before %s returned", p->status,
			    fn->name);
	if (p->state != PROCESS_KILLED)
		return fail(err, MAYFLY_E_PROTOCOL, "%s did not return", fn->name);
	name = signal_name(p->status);
	return fail(err, p->status == SIGABRT ? MAYFLY_E_ABORT : MAYFLY_E_FAULT,
		    "the program was killed by %s in %s%s%s", name ? name : "a signal",
		    fn->name, p->message[0] ? ": " : "", p->message);
}

/* What `t` has in vector registers is put aside, once until it runs on. */
static int hold_vectors(struct function_call *c, struct task *t, mayfly_error *err)
{
	int r = 0;

	if (!c->held)
		r = hv_vcpu_get_xsave(t->vcpu, c->vectors, err);
	if (r == 0)
		c->held = t;
	return r;
}

int functions_call(struct process *p, const mayfly_function *fn, const mayfly_value *args,
		   size_t nargs, mayfly_value *result, mayfly_error *err)
{
	struct function_call *c;
	struct task *t;
	int r = check_call(p, fn, err);

	if (r == 0)
		r = marshal_check(fn, args, nargs, err);
	if (r < 0)
		return r;
	c = call_state(p);
	if (!c)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a call");
	free(c->data);
	c->data = NULL;
	t = ready_task(p);
	c->fn = fn;
	c->regs = t->regs;
	c->returned = false;
	r = hold_vectors(c, t, err);
	if (r == 0)
		r = place_arguments(p, t, fn, args, nargs, err);
	if (r == 0) {
		c->task = t;
		if (p->trace)
			trace_note(t, "--- %s is called ---", fn->name);
		r = process_go(p, 0, err);
		c->task = NULL;
	}
	/* The task may be gone, but not while the process is paused. */
	if (p->state == PROCESS_PAUSED) {
		unmap_arguments(p);
		if (!c->returned) {
			t->regs = c->regs;
			t->regs_changed = true;
		}
	} else {
		functions_forget(p);
	}
	if (r < 0)
		return r;
	return c->returned && p->state == PROCESS_PAUSED ? take_result(p, fn, result, err)
							 : ended(p, fn, err);
}
