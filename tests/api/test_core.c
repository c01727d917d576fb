/* SPDX-License-Identifier: Apache-2.0 */
/* Core files: what is in them, and that gdb finds its way in them. */
#include "support.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include "guest/state.h"

static bool have_gdb(void)
{
	return system("gdb --version >/dev/null 2>&1") == 0;
}

/* --- reading them ---------------------------------------------------------------------------- */

struct core {
	uint8_t *data;
	size_t len;
	const Elf64_Phdr *phdrs;
	size_t nphdrs;
};

static struct core read_core(const char *path)
{
	struct core c;
	const Elf64_Ehdr *h;

	c.data = read_whole_file(path, &c.len);
	h = (const Elf64_Ehdr *)(const void *)c.data;
	assert_true(c.len > sizeof(*h));
	assert_memory_equal(h->e_ident, ELFMAG, SELFMAG);
	assert_int_equal(h->e_type, ET_CORE);
	assert_int_equal(h->e_machine, EM_X86_64);
	c.phdrs = (const Elf64_Phdr *)(const void *)(c.data + h->e_phoff);
	c.nphdrs = h->e_phnum;
	for (size_t i = 0; i < c.nphdrs; i++)
		assert_true(c.phdrs[i].p_offset + c.phdrs[i].p_filesz <= c.len);
	return c;
}

/* A note's descriptor, which is at least `size` bytes long. */
static const void *note(const struct core *c, uint32_t type, size_t size)
{
	const uint8_t *at = c->data + c->phdrs[0].p_offset, *end = at + c->phdrs[0].p_filesz;

	assert_int_equal(c->phdrs[0].p_type, PT_NOTE);
	while (at < end) {
		const Elf64_Nhdr *n = (const Elf64_Nhdr *)(const void *)at;
		const uint8_t *desc = at + sizeof(*n) + ((n->n_namesz + 3) & ~3u);

		if (n->n_type == type) {
			assert_true(n->n_descsz >= size);
			return desc;
		}
		at = desc + ((n->n_descsz + 3) & ~3u);
	}
	fail_test("no note of type %u", type);
	return NULL;
}

static const uint8_t *memory_at(const struct core *c, uint64_t va, uint32_t *flags)
{
	for (size_t i = 1; i < c->nphdrs; i++)
		if (va - c->phdrs[i].p_vaddr < c->phdrs[i].p_filesz) {
			*flags = c->phdrs[i].p_flags;
			return c->data + c->phdrs[i].p_offset + (va - c->phdrs[i].p_vaddr);
		}
	fail_test("nothing at 0x%llx", (unsigned long long)va);
	return NULL;
}

static struct user_regs_struct registers(const struct core *c, int *sig)
{
	struct elf_prstatus status;
	struct user_regs_struct r;

	memcpy(&status, note(c, NT_PRSTATUS, sizeof(status)), sizeof(status));
	memcpy(&r, &status.pr_reg, sizeof(r));
	*sig = status.pr_cursig;
	return r;
}

static mayfly_fault write_core(struct box *b, const char *path)
{
	mayfly_fault f = {.size = sizeof(f)};

	assert_ok(mayfly_sandbox_fault(b->sb, &f, &b->err), &b->err);
	assert_ok(mayfly_sandbox_write_core(b->sb, path, &b->err), &b->err);
	return f;
}

/* --- contents -------------------------------------------------------------------------------- */

static void registers_and_memory_are_those_of_the_fault(void **state)
{
	struct box b = box_open("faults", NULL);
	struct user_regs_struct r;
	mayfly_fault f;
	struct core c;
	uint32_t flags;
	int sig;

	(void)state;
	call(&b, "undefined_instruction");
	f = write_core(&b, temporary_path("core"));
	c = read_core(temporary_path("core"));
	r = registers(&c, &sig);
	assert_int_equal(sig, SIGILL);
	assert_true(r.rip == f.ip);
	assert_true(r.rsp == f.sp);
	assert_int_equal(r.cs & 3, 3);
	assert_memory_equal(memory_at(&c, r.rip, &flags), "\x0f\x0b", 2);
	assert_int_equal(flags, PF_R | PF_X);
	memory_at(&c, r.rsp, &flags);
	assert_int_equal(flags, PF_R | PF_W);
	note(&c, NT_FPREGSET, 512);
	note(&c, NT_PRPSINFO, sizeof(struct elf_prpsinfo));
	note(&c, NT_AUXV, 16);
	free(c.data);
	box_close(&b);
	temporary_remove();
}

static void registers_are_in_the_core_by_value(void **state)
{
	const uint64_t secret = 0x5ec2e75ec2e71337;
	struct box b = box_open("ending", NULL);
	const uint8_t *fpregs;
	struct user_regs_struct r;
	struct core c;
	int sig;

	(void)state;
	call(&b, "plant_then_fault", mayfly_u64(secret),
	     mayfly_u64(STATE_GENERAL | STATE_FRAME_POINTER | STATE_MXCSR | STATE_VECTOR));
	write_core(&b, temporary_path("core"));
	c = read_core(temporary_path("core"));
	r = registers(&c, &sig);
	assert_true(r.rax == secret && r.rbx == secret && r.rcx == secret && r.rdx == secret);
	assert_true(r.rsi == secret && r.rdi == secret && r.rbp == secret);
	assert_true(r.r8 == secret && r.r9 == secret && r.r10 == secret && r.r11 == secret);
	assert_true(r.r12 == secret && r.r13 == secret && r.r14 == secret && r.r15 == secret);
	fpregs = note(&c, NT_FPREGSET, 512);
	assert_memory_equal(fpregs + 24, "\xff\xff", 2);
	for (int i = 0; i < 16; i++)
		assert_memory_equal(fpregs + 160 + 16 * i, &secret, 8);
	free(c.data);
	box_close(&b);
	temporary_remove();
}

static void each_end_has_its_signal(void **state)
{
	static const struct {
		const char *function;
		int sig;
	} cases[] = {
		{"null_read", SIGSEGV},	     {"recurse_forever", SIGSEGV},
		{"divide_by_zero", SIGFPE},  {"undefined_instruction", SIGILL},
		{"int3", SIGTRAP},	     {"abort_plain", SIGABRT},
		{"privileged_hlt", SIGSEGV}, {"unmasked_x87_division", SIGFPE},
	};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct core c;
		int sig;

		call(&b, cases[i].function);
		write_core(&b, temporary_path("core"));
		c = read_core(temporary_path("core"));
		registers(&c, &sig);
		assert_int_equal(sig, cases[i].sig);
		free(c.data);
		box_restore(&b);
	}
	box_close(&b);
	temporary_remove();
}

static void a_healthy_sandbox_has_a_core_too(void **state)
{
	struct box b = box_open("faults", NULL);
	struct core c;
	int sig;

	(void)state;
	/* Before it ever ran, too. */
	for (int i = 0; i < 2; i++) {
		assert_ok(mayfly_sandbox_write_core(b.sb, temporary_path("core"), &b.err),
			  &b.err);
		c = read_core(temporary_path("core"));
		registers(&c, &sig);
		assert_int_equal(sig, 0);
		free(c.data);
		assert_int_equal(must(&b, "divide", mayfly_i32(6), mayfly_i32(2)).as.i32, 3);
	}
	box_close(&b);
	temporary_remove();
}

static void the_file_is_new_private_and_sparse(void **state)
{
	struct box b = box_of(load("faults", (uint64_t)256 << 20, 0, 0), NULL);
	struct stat st;
	char line[20];
	size_t len;
	void *data;

	(void)state;
	call(&b, "null_read");
	/* What is there is replaced, not written through. */
	write_whole_file(temporary_path("victim"), "precious", 8);
	assert_int_equal(chmod(temporary_path("victim"), 0666), 0);
	assert_int_equal(symlink(temporary_path("victim"), temporary_path("core")), 0);
	write_core(&b, temporary_path("core"));
	data = read_whole_file(temporary_path("victim"), &len);
	assert_int_equal(len, 8);
	free(data);
	assert_int_equal(readlink(temporary_path("core"), line, sizeof(line)), -1);
	assert_int_equal(stat(temporary_path("core"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(st.st_size > 200 << 20);
	assert_true(st.st_blocks * 512 < 4 << 20);
	assert_code(mayfly_sandbox_write_core(b.sb, "/nonexistent/core", &b.err), MAYFLY_E_IO,
		    &b.err);
	assert_contains(b.err.message, "/nonexistent/core");
	box_close(&b);
	temporary_remove();
}

/* As root it would make room for itself, were it a device. */
static void what_is_no_file_is_not_replaced(void **state)
{
	struct box b = box_open("faults", NULL);
	struct stat st;

	(void)state;
	call(&b, "null_read");
	assert_int_equal(mkfifo(temporary_path("fifo"), 0600), 0);
	assert_code(mayfly_sandbox_write_core(b.sb, temporary_path("fifo"), &b.err),
		    MAYFLY_E_IO, &b.err);
	assert_contains(b.err.message, "not a regular file");
	assert_int_equal(lstat(temporary_path("fifo"), &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	box_close(&b);
	temporary_remove();
}

/* --- gdb ------------------------------------------------------------------------------------- */

/* What `gdb -batch -ex COMMAND GUEST CORE` says. */
static void run_gdb(const char *guest, const char *commands, char *text, size_t size)
{
	char line[1024];
	size_t used = 0, n;
	FILE *p;

	snprintf(line, sizeof(line), "gdb -nx -batch %s '%s' '%s' 2>&1", commands,
		 guest_path(guest), temporary_path("core"));
	p = popen(line, "re");
	assert_non_null(p);
	while ((n = fread(text + used, 1, size - 1 - used, p)) > 0)
		used += n;
	text[used] = '\0';
	assert_int_equal(pclose(p), 0);
}

static void check_gdb(const char *guest)
{
	struct box b = box_open(guest, NULL);
	static char text[65536];
	const char *frame;

	call(&b, "null_read");
	write_core(&b, temporary_path("core"));
	run_gdb(guest, "-ex bt -ex 'print for_ever'", text, sizeof(text));
	assert_contains(text, "SIGSEGV");
	frame = strstr(text, "#0");
	assert_non_null(frame);
	assert_contains(frame, "null_read ()");
	assert_contains(frame, "faults.c");
	assert_contains(text, "= true");
	box_restore(&b);

	/* Many frames of one function, to the first. */
	call(&b, "recurse_forever");
	write_core(&b, temporary_path("core"));
	run_gdb(guest, "-ex 'bt 3' -ex 'bt -6'", text, sizeof(text));
	assert_contains(text, "#2 ");
	assert_contains(text, "recurse (depth=");
	box_restore(&b);

	call(&b, "abort_with", mayfly_i32(3), mayfly_string("because"));
	write_core(&b, temporary_path("core"));
	run_gdb(guest, "-ex bt", text, sizeof(text));
	assert_contains(text, "SIGABRT");
	assert_contains(text, "mayfly_abort (");
	assert_contains(text, "abort_with (code=");
	box_close(&b);
	temporary_remove();
}

static void gdb_shows_the_backtrace_of_a_static_pie_guest(void **state)
{
	(void)state;
	check_gdb("faults");
}

static void gdb_shows_the_backtrace_of_a_static_guest(void **state)
{
	(void)state;
	check_gdb("faults_static");
}

static void gdb_shows_where_a_call_was_stopped(void **state)
{
	static char text[65536];
	struct box b = box_open("loop", NULL);

	(void)state;
	/* Until it was in the function by then. */
	for (uint64_t limit = 50 * MS; limit < AGES; limit *= 4) {
		set_limit(&b, limit);
		assert_code(call(&b, "infinite_loop"), MAYFLY_E_TIMEOUT, &b.err);
		if (strstr(b.err.message, "infinite_loop"))
			break;
		box_restore(&b);
	}
	write_core(&b, temporary_path("core"));
	run_gdb("loop", "-ex bt", text, sizeof(text));
	assert_contains(text, "infinite_loop ()");
	box_close(&b);
	temporary_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_and_memory_are_those_of_the_fault),
		cmocka_unit_test(registers_are_in_the_core_by_value),
		cmocka_unit_test(each_end_has_its_signal),
		cmocka_unit_test(a_healthy_sandbox_has_a_core_too),
		cmocka_unit_test(the_file_is_new_private_and_sparse),
		cmocka_unit_test(what_is_no_file_is_not_replaced),
	};
	const struct CMUnitTest with_gdb[] = {
		cmocka_unit_test(gdb_shows_the_backtrace_of_a_static_pie_guest),
		cmocka_unit_test(gdb_shows_the_backtrace_of_a_static_guest),
		cmocka_unit_test(gdb_shows_where_a_call_was_stopped),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	/* Not in the lab, which has few tools; where it is missing elsewhere, the tests say so. */
	if (!in_lab() || have_gdb())
		failed += cmocka_run_group_tests(with_gdb, NULL, NULL);
	return failed;
}
