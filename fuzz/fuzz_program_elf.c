/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile executable: the input is the file, static, dynamic (it may name itself as its
 * interpreter) or a script. It is loaded, and where that works it makes one system call and ends.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "program_fixture.h"

#define NUMBER_EXIT_GROUP 231

static struct tree tree;
static struct process *process;

static void check_functions(const struct program_guest *g)
{
	const mayfly_function *found;

	CHECK(g->functions.nexports <= MANIFEST_MAX_FUNCTIONS && !g->functions.nimports);
	CHECK(!g->functions_problem || !g->functions.nexports);
	if (g->functions_problem)
		fuzz_check_text(g->functions_problem);
	for (uint32_t i = 0; i < g->functions.nexports; i++) {
		const struct mayfly_function *fn = &g->functions.exports[i];

		CHECK(fn->va >= PROG_LOW_VA && fn->va < PROG_VA_END);
		CHECK(functions_find(g, fn->name, &found, NULL) == 0 && found == fn);
	}
}

static void check_process(struct process *p)
{
	const struct mm *mm = &p->mm;
	uint64_t last = PROG_LOW_VA;

	CHECK(atomic_load(&mm->charged) <= mm->limit && mm->peak <= mm->limit);
	CHECK(mm->nareas && mm->nareas <= MM_MAX_AREAS);
	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];

		CHECK(a->start >= last && a->start < a->end && a->end <= PROG_VA_END);
		CHECK(!((a->start | a->end) & PAGE_MASK));
		last = a->end;
	}
	check_functions(program_guest_of(p->guest));
	CHECK(p->exe && p->tasks && !p->tasks->next);
	CHECK(p->tasks->regs.rsp < mm->stack_top && !(p->tasks->regs.rsp % 16));
}

static int program_acts(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	(void)context;
	CHECK((vm->regs.rip == PROG_GATE_SYSRET ? vm->regs.rcx : vm->regs.rip) < PROG_VA_END);
	vm->regs.rax = NUMBER_EXIT_GROUP;
	vm->regs.rdi = 7;
	vm->regs.rcx = vm->regs.rip;
	vm->regs.rip = PROG_GATE_SYSCALL + 2;
	*exit = mock_out(PROG_PORT_SYSCALL);
	return 0;
}

static void write_program(const uint8_t *data, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/self", tree.granted);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && fchmod(fd, 0755) == 0);
	close(fd);
}

static void run(void)
{
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_error err;

	check_process(process);
	CHECK(process_run(process, 0, &end, &err) == 0);
	/* An entry that is no address kills it. */
	CHECK(end.end == MAYFLY_END_SIGNAL ? end.status == 11
					   : end.end == MAYFLY_END_EXIT && end.status == 7);
}

static void remove_tree(void)
{
	tree_remove(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const argv[] = {"/rw/self", "an argument", NULL};
	mayfly_process_options o;
	mayfly_error err;
	unsigned fds;
	int r;

	if (!tree.root[0]) {
		tree_make(&tree);
		atexit(remove_tree);
	}
	mock_reset();
	mock_drive(program_acts, NULL);
	write_program(data, size);
	fds = program_open_fds();
	o = program_options(&tree);
	o.program = argv[0];
	o.argv = argv;
	r = process_new(&hv_mock, &o, &process, &err);
	if (r < 0) {
		CHECK(r == MAYFLY_E_FORMAT || r == MAYFLY_E_UNSUPPORTED ||
		      r == MAYFLY_E_TOO_LARGE || r == MAYFLY_E_NO_PROGRAM ||
		      r == MAYFLY_E_NOMEM);
		CHECK(err.code == r && err.message[0]);
		fuzz_check_text(err.message);
	} else {
		run();
		process_free(process);
	}
	CHECK(mock_live() == 0);
	CHECK(program_open_fds() == fds);
	return 0;
}
