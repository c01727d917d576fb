/* SPDX-License-Identifier: Apache-2.0 */
/* Executables that are not what they should be: loaded into a process of the mock hypervisor. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/function.h"
#include "linux/exec.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "program_fixture.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

#define SIZE 8192
#define ENTRY 0x800
#define MAX_SEGMENTS 64

static struct tree tree;

/* An executable that a test spoils. */
struct program {
	uint8_t data[SIZE + 65536];
	size_t len;
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_SEGMENTS];
};

static Elf64_Phdr load(uint32_t flags, uint64_t offset, uint64_t va, uint64_t filesz,
		       uint64_t memsz)
{
	return (Elf64_Phdr){.p_type = PT_LOAD,
			    .p_flags = flags,
			    .p_offset = offset,
			    .p_vaddr = va,
			    .p_filesz = filesz,
			    .p_memsz = memsz,
			    .p_align = 4096};
}

/* One segment of code at `base`; ET_DYN if that is 0. */
static struct program *valid(uint64_t base)
{
	static struct program p;

	memset(&p, 0, sizeof(p));
	p.len = SIZE;
	p.eh = (Elf64_Ehdr){.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
					ELFDATA2LSB, EV_CURRENT},
			    .e_type = base ? ET_EXEC : ET_DYN,
			    .e_machine = EM_X86_64,
			    .e_version = EV_CURRENT,
			    .e_entry = base + ENTRY,
			    .e_phoff = sizeof(Elf64_Ehdr),
			    .e_ehsize = sizeof(Elf64_Ehdr),
			    .e_phentsize = sizeof(Elf64_Phdr),
			    .e_phnum = 1};
	p.ph[0] = load(PF_R | PF_X, 0, base, SIZE, SIZE);
	return &p;
}

static void add(struct program *p, Elf64_Phdr ph)
{
	assert_true(p->eh.e_phnum < MAX_SEGMENTS);
	p->ph[p->eh.e_phnum++] = ph;
}

static void add_interpreter(struct program *p, const char *name, size_t len)
{
	memcpy(p->data + 0x1000, name, len);
	add(p, (Elf64_Phdr){.p_type = PT_INTERP,
			    .p_flags = PF_R,
			    .p_offset = 0x1000,
			    .p_vaddr = 0x1000,
			    .p_filesz = len,
			    .p_memsz = len});
}

static void put_file(const char *name, const void *data, size_t len, mode_t mode)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", tree.granted, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int run_file(const char *path, const char *const *argv, struct process **out,
		    mayfly_error *err)
{
	mayfly_process_options o = program_options(&tree);

	o.program = path;
	o.argv = argv;
	mock_reset();
	return process_new(&hv_mock, &o, out, err);
}

static void pack(struct program *p)
{
	memcpy(p->data, &p->eh, sizeof(p->eh));
	memcpy(p->data + sizeof(p->eh), p->ph,
	       p->eh.e_phnum <= MAX_SEGMENTS ? p->eh.e_phnum * sizeof(p->ph[0])
					     : sizeof(p->ph));
}

/* It is refused, for the reason that the message names. */
static void expect(const char *path, int code, const char *reason)
{
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	int r = run_file(path, NULL, &p, &err);

	if (r == 0)
		process_free(p);
	if (r != code || !strstr(err.message, reason))
		fail_msg("%d: %s; not %d: ...%s...", r, err.message, code, reason);
	assert_int_equal(mock_live(), 0);
}

static void refused(struct program *p, int code, const char *reason)
{
	pack(p);
	put_file("program", p->data, p->len, 0755);
	expect("/rw/program", code, reason);
}

static struct process *accepted(struct program *p)
{
	struct process *process = NULL;
	mayfly_error err = {.code = 0};

	pack(p);
	put_file("program", p->data, p->len, 0755);
	if (run_file("/rw/program", NULL, &process, &err) < 0)
		fail_msg("%s", err.message);
	return process;
}

static bool is_mapped(struct process *p, uint64_t va)
{
	return mm_mapped(&p->mm, va, 1);
}

/* --- Segments --------------------------------------------------------------------------------- */

static void a_valid_one_is_loaded(void **state)
{
	struct process *p = accepted(valid(0x400000));

	(void)state;
	assert_int_equal(p->tasks->regs.rip, 0x400000 + ENTRY);
	assert_string_equal(p->exe, "/rw/program");
	process_free(p);
	p = accepted(valid(0));
	assert_true(p->tasks->regs.rip > 0x400000 && p->tasks->regs.rip < PROG_VA_END);
	process_free(p);
}

static void overlapping_segments_cover_each_other(void **state)
{
	struct program *e = valid(0x400000);
	struct process *p;
	uint8_t byte;

	(void)state;
	e->data[0x1000] = 0x11;
	add(e, load(PF_R | PF_W, 0, 0x401000, 1, 0x1000));
	p = accepted(e);
	assert_int_equal(mm_read(&p->mm, &byte, 0x401000, 1), 0);
	assert_int_equal(byte, 0x7f);
	assert_int_equal(mm_write(&p->mm, 0x401000, "", 1), 0);
	assert_int_equal(mm_write(&p->mm, 0x400000, "", 1), -14);
	process_free(p);
}

static void segments_beyond_the_file_fault_when_touched(void **state)
{
	struct program *e = valid(0x400000);
	struct process *p;
	int signal = 0, code = 0;
	uint8_t byte;

	(void)state;
	add(e, load(PF_R, 0x100000, 0x600000, 0x1000, 0x1000));
	p = accepted(e);
	assert_int_equal(mm_read(&p->mm, &byte, 0x600000, 1), -14);
	assert_false(mm_fault(&p->mm, 0x600000, 4, &signal, &code));
	assert_int_equal(signal, 7);
	process_free(p);
}

/* The kernel zeroes the rest of the file's last page, and fails if that is not there. */
static void zeroed_memory_after_a_missing_page_is_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	add(e, load(PF_R | PF_W, 0x100800, 0x600800, 0x10, 0x2000));
	refused(e, MAYFLY_E_FORMAT, "/rw/program: a segment ends behind the end of the file");
}

static void segments_in_the_kernels_half_are_refused(void **state)
{
	(void)state;
	refused(valid(0xffffffff80000000), MAYFLY_E_FORMAT, "program header 0");
	refused(valid(0x8000000000000000), MAYFLY_E_FORMAT, "program header 0");
	refused(valid(PROG_VA_END), MAYFLY_E_FORMAT, "program header 0");
	refused(valid(PROG_VA_END - 0x1000), MAYFLY_E_FORMAT, "program header 0");
}

static void the_hosts_addresses_are_refused(void **state)
{
	(void)state;
	refused(valid(PROG_GATE_VA), MAYFLY_E_UNSUPPORTED, "addresses below");
	refused(valid(PROG_LOW_VA - 0x1000), MAYFLY_E_UNSUPPORTED, "addresses below");
}

static void a_segment_where_the_stack_goes_is_under_it(void **state)
{
	struct program *e = valid(0x400000);
	struct process *p;

	(void)state;
	add(e, load(PF_R, 0, 0x7fffff800000, 0x1000, 0x700000));
	/* Farther apart than an image may be. */
	refused(e, MAYFLY_E_TOO_LARGE, "spans");
	e = valid(0x7fffff800000);
	e->ph[0].p_memsz = 0x700000;
	p = accepted(e);
	assert_true(p->tasks->regs.rsp < p->mm.stack_top);
	assert_int_equal(mm_write(&p->mm, p->tasks->regs.rsp - 8, "", 1), 0);
	process_free(p);
}

static void sums_that_overflow_are_refused(void **state)
{
	static const struct {
		uint64_t offset, va, filesz, memsz;
	} wrong[] = {
		{0, 0x600000, 0, UINT64_MAX - 0x5fffff},
		{0, 0x600000, UINT64_MAX, UINT64_MAX},
		{0, UINT64_MAX - 0xfff, 0x1000, 0x1000},
		{INT64_MAX - 0xfff, 0x600000, 0x1000, 0x1000},
		{(uint64_t)1 << 63, 0x600000, 0x1000, 0x1000},
		{0, 0x600000, 0x2000, 0x1000},
		{1, 0x600000, 0x10, 0x10},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct program *e = valid(0x400000);

		add(e, load(PF_R | PF_W, wrong[i].offset, wrong[i].va, wrong[i].filesz,
			    wrong[i].memsz));
		refused(e, MAYFLY_E_FORMAT, "program header 1");
	}
}

static void an_image_over_all_addresses_is_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	add(e, load(PF_R, 0, 0x7ff000000000, 1, 1));
	refused(e, MAYFLY_E_TOO_LARGE, "spans");
}

static void more_zeroed_memory_than_allowed_costs_nothing_until_touched(void **state)
{
	struct program *e = valid(0x400000);
	struct process *p;

	(void)state;
	add(e, load(PF_R | PF_W, 0, 0x600000, 0, (uint64_t)8 << 30));
	p = accepted(e);
	assert_true(atomic_load(&p->mm.charged) <= p->mm.limit);
	process_free(p);
}

static void nothing_to_load_is_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	e->ph[0].p_type = PT_NOTE;
	refused(e, MAYFLY_E_FORMAT, "nothing to load");
	e = valid(0x400000);
	e->ph[0].p_filesz = e->ph[0].p_memsz = 0;
	refused(e, MAYFLY_E_FORMAT, "nothing to load");
}

static void a_wild_entry_is_the_programs_own_problem(void **state)
{
	static const uint64_t wild[] = {
		0, 1, PROG_GATE_VA, PROG_VA_END, (uint64_t)1 << 63, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		struct program *e = valid(0x400000);

		e->eh.e_entry = wild[i];
		process_free(accepted(e));
	}
}

static void huge_alignments_are_ignored(void **state)
{
	struct program *e = valid(0);

	(void)state;
	e->ph[0].p_align = (uint64_t)1 << 63;
	process_free(accepted(e));
	e = valid(0);
	e->ph[0].p_align = MM_CHUNK;
	struct process *p = accepted(e);
	assert_int_equal((p->tasks->regs.rip - ENTRY) % MM_CHUNK, 0);
	process_free(p);
}

/* --- Headers ---------------------------------------------------------------------------------- */

static void too_many_program_headers_are_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	e->eh.e_phnum = 0xffff;
	refused(e, MAYFLY_E_TOO_LARGE, "65535 program headers");
	e = valid(0x400000);
	e->eh.e_phnum = 257;
	e->len = SIZE + 65536;
	refused(e, MAYFLY_E_FORMAT, "257 program headers");
}

static void program_headers_that_are_not_there_are_refused(void **state)
{
	static const uint64_t offsets[] = {SIZE - 8, SIZE, 1 << 20, UINT64_MAX - 8,
					   (uint64_t)1 << 63};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct program *e = valid(0x400000);

		e->eh.e_phoff = offsets[i];
		refused(e, MAYFLY_E_FORMAT, "program header");
	}
}

static void an_empty_file_is_refused(void **state)
{
	(void)state;
	put_file("program", "", 0, 0755);
	expect("/rw/program", MAYFLY_E_FORMAT, "/rw/program");
}

static void a_truncated_header_is_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	pack(e);
	for (size_t len = 1; len < sizeof(e->eh) + sizeof(e->ph[0]); len += 7) {
		put_file("program", e->data, len, 0755);
		expect("/rw/program", MAYFLY_E_FORMAT, "/rw/program");
	}
}

static void other_kinds_of_files_are_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	e->eh.e_machine = EM_AARCH64;
	refused(e, MAYFLY_E_UNSUPPORTED, "AArch64");
	e = valid(0x400000);
	e->eh.e_type = ET_REL;
	refused(e, MAYFLY_E_UNSUPPORTED, "/rw/program");
	e = valid(0x400000);
	e->eh.e_ident[EI_CLASS] = ELFCLASS32;
	refused(e, MAYFLY_E_UNSUPPORTED, "/rw/program");
	put_file("program", "no program\n", 11, 0755);
	expect("/rw/program", MAYFLY_E_FORMAT, "/rw/program");
}

static void files_that_may_not_be_executed_are_refused(void **state)
{
	struct program *e = valid(0x400000);

	(void)state;
	pack(e);
	put_file("program", e->data, e->len, 0644);
	expect("/rw/program", MAYFLY_E_FORMAT, "not executable");
	expect("/rw/directory", MAYFLY_E_FORMAT, "not a regular file");
	expect("/dev/null", MAYFLY_E_FORMAT, "/dev/null");
	expect("/rw/nothing", MAYFLY_E_NO_PROGRAM, "/rw/nothing");
	expect("/rw/loop", MAYFLY_E_NO_PROGRAM, "/rw/loop");
}

/* --- Interpreters ----------------------------------------------------------------------------- */

static void interpreter_refused(const char *name, size_t len, int code, const char *reason)
{
	struct program *e = valid(0);

	add_interpreter(e, name, len);
	refused(e, code, reason);
}

static void an_interpreter_that_is_not_there_is_named(void **state)
{
	(void)state;
	interpreter_refused("/lib64/ld.so", 13, MAYFLY_E_NO_PROGRAM, "/lib64/ld.so");
	interpreter_refused("/rw/../../outside/secret", 25, MAYFLY_E_NO_PROGRAM,
			    "dynamically linked");
	interpreter_refused("/rw/out/secret", 15, MAYFLY_E_NO_PROGRAM, "dynamically linked");
	interpreter_refused("/rw/loop", 9, MAYFLY_E_FORMAT, "/rw/loop");
}

static void an_interpreter_that_is_none_is_refused(void **state)
{
	(void)state;
	interpreter_refused("/rw/file", 9, MAYFLY_E_FORMAT, "/rw/file");
	interpreter_refused("/rw", 4, MAYFLY_E_FORMAT, "not a regular file");
	interpreter_refused("/dev/zero", 10, MAYFLY_E_FORMAT, "/dev/zero");
}

static void a_truncated_interpreter_is_named(void **state)
{
	struct program *e = valid(0);

	(void)state;
	add(e, load(PF_R | PF_W, 0x2800, 0x3800, 0x10, 0x2000));
	pack(e);
	put_file("loader", e->data, e->len, 0755);
	interpreter_refused("/rw/loader", 11, MAYFLY_E_FORMAT,
			    "/rw/loader: a segment ends behind the end of the file");
}

static void a_damaged_name_of_an_interpreter_is_refused(void **state)
{
	struct program *e;

	(void)state;
	interpreter_refused("/rw/program", 11, MAYFLY_E_FORMAT, "damaged"); /* no NUL */
	interpreter_refused("", 1, MAYFLY_E_FORMAT, "damaged");
	e = valid(0);
	add_interpreter(e, "/rw/program", 12);
	e->ph[1].p_filesz = UINT64_MAX;
	refused(e, MAYFLY_E_FORMAT, "damaged");
	e = valid(0);
	add_interpreter(e, "/rw/program", 12);
	e->ph[1].p_offset = SIZE - 4;
	refused(e, MAYFLY_E_FORMAT, "damaged");
	e = valid(0);
	add_interpreter(e, "/rw/program", 12);
	e->ph[1].p_offset = UINT64_MAX - 4;
	refused(e, MAYFLY_E_FORMAT, "damaged");
}

static void the_name_of_an_interpreter_is_shown_harmlessly(void **state)
{
	struct process *p = NULL;
	struct program *e = valid(0);
	mayfly_error err = {.code = 0};

	(void)state;
	add_interpreter(e, "/\x1b[31m\xc2\x9bno\n", 12);
	pack(e);
	put_file("program", e->data, e->len, 0755);
	assert_int_equal(run_file("/rw/program", NULL, &p, &err), MAYFLY_E_NO_PROGRAM);
	for (const char *c = err.message; *c; c++)
		assert_true(*c >= 0x20 && *c < 0x7f);
}

/* As on Linux, where the interpreter's own PT_INTERP means nothing. */
static void a_program_may_be_its_own_interpreter(void **state)
{
	struct program *e = valid(0);
	struct process *p;

	(void)state;
	add_interpreter(e, "/rw/program", 12);
	p = accepted(e);
	assert_int_not_equal(p->mm.interp_base, 0);
	assert_int_equal(p->tasks->regs.rip, p->mm.interp_base + ENTRY);
	assert_true(is_mapped(p, p->mm.entry) && is_mapped(p, p->tasks->regs.rip));
	process_free(p);
}

/* --- Symbols ---------------------------------------------------------------------------------- */

/* main() is looked for in the symbol table, which may be anything. */
static void absurd_symbol_tables_are_survived(void **state)
{
	static const Elf64_Shdr tables[] = {
		{.sh_type = SHT_SYMTAB, .sh_size = UINT64_MAX, .sh_link = 0},
		{.sh_type = SHT_SYMTAB, .sh_offset = UINT64_MAX - 7, .sh_size = 4096},
		{.sh_type = SHT_SYMTAB, .sh_size = (uint64_t)1 << 40, .sh_link = UINT32_MAX},
		{.sh_type = SHT_SYMTAB, .sh_offset = 0x1800, .sh_size = 24000, .sh_link = 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct program *e = valid(0x400000);

		e->eh.e_shoff = 0x1000;
		e->eh.e_shentsize = sizeof(tables[i]);
		e->eh.e_shnum = 0xfff0;
		for (size_t at = 0x1000; at + sizeof(tables[i]) < 0x1800;
		     at += sizeof(tables[i]))
			memcpy(e->data + at, &tables[i], sizeof(tables[i]));
		memset(e->data + 0x1800, 0x22, 0x800);
		process_free(accepted(e));
	}
}

/* --- Scripts ---------------------------------------------------------------------------------- */

static void put_script(const char *name, const char *text)
{
	put_file(name, text, strlen(text), 0755);
}

static void a_script_gives_its_interpreter_its_name(void **state)
{
	static const char *const argv[] = {"zero", "one", NULL};
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	uint64_t argc = 0, at[6];
	char text[64];
	static const char *const expected[] = {"/rw/program", "an argument", "/rw/script",
					       "one"};

	(void)state;
	process_free(accepted(valid(0x400000)));
	put_script("script", "#! /rw/program  an argument \t\r\nexit\n");
	if (run_file("/rw/script", argv, &p, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(mm_get(&p->mm, &argc, p->tasks->regs.rsp), 0);
	assert_int_equal(argc, 4);
	assert_int_equal(mm_read(&p->mm, at, p->tasks->regs.rsp + 8, 5 * sizeof(at[0])), 0);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_true(mm_read_string(&p->mm, text, sizeof(text), at[i]) > 0);
		assert_string_equal(text, expected[i]);
	}
	assert_int_equal(at[4], 0);
	process_free(p);
}

static void scripts_that_lead_to_themselves_are_refused(void **state)
{
	(void)state;
	put_script("script", "#!/rw/script\n");
	expect("/rw/script", MAYFLY_E_FORMAT, "scripts that lead to scripts");
	put_script("script", "#!/rw/other\n");
	put_script("other", "#!/rw/script\n");
	expect("/rw/script", MAYFLY_E_FORMAT, "scripts that lead to scripts");
}

static void scripts_of_scripts_work_to_the_kernels_depth(void **state)
{
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	char name[16], line[32];

	(void)state;
	process_free(accepted(valid(0x400000)));
	put_script("s1", "#!/rw/program\n");
	for (int i = 2; i <= EXEC_MAX_SCRIPTS + 1; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		snprintf(line, sizeof(line), "#!/rw/s%d\n", i - 1);
		put_script(name, line);
	}
	snprintf(line, sizeof(line), "/rw/s%d", EXEC_MAX_SCRIPTS);
	if (run_file(line, NULL, &p, &err) < 0)
		fail_msg("%s", err.message);
	process_free(p);
	snprintf(line, sizeof(line), "/rw/s%d", EXEC_MAX_SCRIPTS + 1);
	expect(line, MAYFLY_E_FORMAT, "scripts that lead to scripts");
}

static void a_long_first_line_is_cut_as_the_kernel_does(void **state)
{
	char text[400];

	(void)state;
	memset(text, '/', sizeof(text));
	text[0] = '#';
	text[1] = '!';
	snprintf(text + 300, sizeof(text) - 300, "rw/program\n");
	put_file("script", text, sizeof(text), 0755);
	expect("/rw/script", MAYFLY_E_FORMAT, "/rw/script");
}

static void a_script_without_an_interpreter_is_refused(void **state)
{
	(void)state;
	put_script("script", "#!\n");
	expect("/rw/script", MAYFLY_E_FORMAT, "names no interpreter");
	put_script("script", "#! \t \n/rw/program");
	expect("/rw/script", MAYFLY_E_FORMAT, "names no interpreter");
	put_script("script", "#!");
	expect("/rw/script", MAYFLY_E_FORMAT, "names no interpreter");
	put_script("script", "#!/rw/missing\n");
	expect("/rw/script", MAYFLY_E_NO_PROGRAM, "the interpreter of /rw/script: /rw/missing");
	put_script("script", "#!/rw\n");
	expect("/rw/script", MAYFLY_E_FORMAT, "the interpreter of /rw/script");
	put_file("script", "#!\0/rw/program\n", 15, 0755);
	expect("/rw/script", MAYFLY_E_NO_PROGRAM, "the interpreter of /rw/script");
}

/* --- Arguments -------------------------------------------------------------------------------- */

static void arguments_beyond_the_limit_are_refused(void **state)
{
	static const char *argv[40];
	char *large = malloc(100001);
	struct process *p = NULL;
	mayfly_error err = {.code = 0};

	(void)state;
	memset(large, 'x', 100000);
	large[100000] = '\0';
	process_free(accepted(valid(0x400000)));
	for (size_t i = 0; i < 39; i++)
		argv[i] = large;
	assert_int_equal(run_file("/rw/program", argv, &p, &err), MAYFLY_E_TOO_LARGE);
	assert_non_null(strstr(err.message, "2 MiB"));
	argv[15] = NULL;
	if (run_file("/rw/program", argv, &p, &err) < 0)
		fail_msg("%s", err.message);
	process_free(p);
	free(large);
}

static void no_arguments_give_the_program_its_name(void **state)
{
	static const char *const none[] = {NULL};
	struct process *p = NULL;
	uint64_t start[2];
	char text[32];

	(void)state;
	process_free(accepted(valid(0x400000)));
	assert_int_equal(run_file("/rw/program", none, &p, NULL), 0);
	assert_int_equal(mm_get(&p->mm, &start, p->tasks->regs.rsp), 0);
	assert_int_equal(start[0], 1);
	assert_true(mm_read_string(&p->mm, text, sizeof(text), start[1]) > 0);
	assert_string_equal(text, "/rw/program");
	process_free(p);
}

/* --- What it exports -------------------------------------------------------------------------- */

#define NOTES 0x1000

/* A note of ours at `at` of the file; gives where the next one goes. */
static size_t put_note(struct program *p, size_t at, uint32_t type, const void *desc,
		       size_t len)
{
	const Elf64_Nhdr nh = {
		.n_namesz = sizeof("Mayfly"), .n_descsz = (uint32_t)len, .n_type = type};

	memcpy(p->data + at, &nh, sizeof(nh));
	memcpy(p->data + at + sizeof(nh), "Mayfly", sizeof("Mayfly"));
	memcpy(p->data + at + sizeof(nh) + 8, desc, len);
	return at + sizeof(nh) + 8 + (len + 3) / 4 * 4;
}

/* A program whose function "f" is where the descriptor says, relative to itself. */
static struct program *exporting(uint32_t version, int64_t offset, const char *signature)
{
	struct program *p = valid(0x400000);
	char desc[64] = {0};
	size_t len = 10 + strlen(signature) + 1, end;

	memcpy(desc, &offset, sizeof(offset));
	memcpy(desc + 8, "f", 2);
	memcpy(desc + 10, signature, strlen(signature) + 1);
	end = put_note(p, NOTES, FN_NOTE_ABI, &version, sizeof(version));
	end = put_note(p, end, FN_NOTE_EXPORT, desc, len);
	add(p, (Elf64_Phdr){.p_type = PT_NOTE,
			    .p_offset = NOTES,
			    .p_vaddr = 0x400000 + NOTES,
			    .p_filesz = end - NOTES,
			    .p_align = 4});
	return p;
}

static struct process *loaded(struct program *p)
{
	static const char *const argv[] = {"/rw/program", NULL};
	struct process *process;
	mayfly_error err;

	pack(p);
	put_file("program", p->data, p->len, 0755);
	if (run_file(argv[0], argv, &process, &err) < 0)
		fail_msg("%s", err.message);
	return process;
}

static const struct program_guest *guest_of(struct process *p)
{
	return program_guest_of(p->guest);
}

static void exports_are_read_from_its_notes(void **state)
{
	/* The second descriptor: behind 12 + 8 + 4 + 12 + 8 bytes. */
	struct process *p =
		loaded(exporting(FN_ABI_VERSION, ENTRY - NOTES - 44, "i64(string)"));
	const mayfly_function *f;
	mayfly_error err;

	(void)state;
	assert_int_equal(functions_find(guest_of(p), "f", &f, &err), 0);
	assert_int_equal(f->va, 0x400000 + ENTRY);
	assert_string_equal(f->text, "i64(string)");
	assert_int_equal(functions_find(guest_of(p), "g", &f, &err), MAYFLY_E_NO_FUNCTION);
	process_free(p);
}

/* It runs, only its functions cannot be called, for the reason that the message names. */
static void expect_unusable(struct program *program, const char *reason)
{
	struct process *p = loaded(program);
	const mayfly_function *f;
	mayfly_error err;

	assert_int_equal(functions_find(guest_of(p), "f", &f, &err), MAYFLY_E_FORMAT);
	if (!strstr(err.message, reason))
		fail_msg("expected \"%s\" in: %s", reason, err.message);
	process_free(p);
}

static void exports_that_make_no_sense_do_not_keep_it_from_running(void **state)
{
	static const int64_t nowhere[] = {-NOTES - 44 - 1, INT64_MIN, INT64_MAX,
					  SIZE - NOTES - 44, -(int64_t)0x400000};
	struct program *p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		expect_unusable(exporting(FN_ABI_VERSION, nowhere[i], "void()"),
				"not in executable memory");
	expect_unusable(exporting(FN_ABI_VERSION + 1, 0, "void()"), "version");
	expect_unusable(exporting(FN_ABI_VERSION, 0, "void(void)"), "f");
	p = exporting(FN_ABI_VERSION, 0, "void()");
	p->ph[1].p_filesz -= 5;
	expect_unusable(p, "runs past the end");
	p = exporting(FN_ABI_VERSION, 0, "void()");
	p->ph[1].p_offset += 24;
	p->ph[1].p_filesz -= 24;
	expect_unusable(p, "version");
}

static void notes_that_are_not_there_are_none(void **state)
{
	static const struct {
		uint64_t offset, filesz;
	} places[] = {{SIZE, 64},	{SIZE - 4, 64},		 {INT64_MAX, 64},
		      {UINT64_MAX, 64}, {NOTES, UINT64_MAX},	 {NOTES, 2 << 20},
		      {NOTES, 0},	{UINT64_MAX, UINT64_MAX}};
	const mayfly_function *f;
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct program *program = exporting(FN_ABI_VERSION, 0, "void()");
		struct process *p;

		program->ph[1].p_offset = places[i].offset;
		program->ph[1].p_filesz = places[i].filesz;
		p = loaded(program);
		assert_int_equal(functions_find(guest_of(p), "f", &f, &err),
				 MAYFLY_E_NO_FUNCTION);
		process_free(p);
	}
}

static void notes_of_others_may_be_malformed(void **state)
{
	struct program *program = exporting(FN_ABI_VERSION, ENTRY - NOTES - 44, "void()");
	const mayfly_function *f;
	struct process *p;
	mayfly_error err;

	(void)state;
	memset(program->data + 0x1800, 0xff, 64);
	add(program, (Elf64_Phdr){.p_type = PT_NOTE,
				  .p_offset = 0x1800,
				  .p_vaddr = 0x401800,
				  .p_filesz = 64,
				  .p_align = 1 << 20});
	p = loaded(program);
	assert_int_equal(functions_find(guest_of(p), "f", &f, &err), 0);
	process_free(p);
}

static int set_up(void **state)
{
	(void)state;
	tree_make(&tree);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tree_remove(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_valid_one_is_loaded),
		cmocka_unit_test(overlapping_segments_cover_each_other),
		cmocka_unit_test(segments_beyond_the_file_fault_when_touched),
		cmocka_unit_test(zeroed_memory_after_a_missing_page_is_refused),
		cmocka_unit_test(segments_in_the_kernels_half_are_refused),
		cmocka_unit_test(the_hosts_addresses_are_refused),
		cmocka_unit_test(a_segment_where_the_stack_goes_is_under_it),
		cmocka_unit_test(sums_that_overflow_are_refused),
		cmocka_unit_test(an_image_over_all_addresses_is_refused),
		cmocka_unit_test(more_zeroed_memory_than_allowed_costs_nothing_until_touched),
		cmocka_unit_test(nothing_to_load_is_refused),
		cmocka_unit_test(a_wild_entry_is_the_programs_own_problem),
		cmocka_unit_test(huge_alignments_are_ignored),
		cmocka_unit_test(too_many_program_headers_are_refused),
		cmocka_unit_test(program_headers_that_are_not_there_are_refused),
		cmocka_unit_test(an_empty_file_is_refused),
		cmocka_unit_test(a_truncated_header_is_refused),
		cmocka_unit_test(other_kinds_of_files_are_refused),
		cmocka_unit_test(files_that_may_not_be_executed_are_refused),
		cmocka_unit_test(an_interpreter_that_is_not_there_is_named),
		cmocka_unit_test(an_interpreter_that_is_none_is_refused),
		cmocka_unit_test(a_truncated_interpreter_is_named),
		cmocka_unit_test(a_damaged_name_of_an_interpreter_is_refused),
		cmocka_unit_test(the_name_of_an_interpreter_is_shown_harmlessly),
		cmocka_unit_test(a_program_may_be_its_own_interpreter),
		cmocka_unit_test(absurd_symbol_tables_are_survived),
		cmocka_unit_test(a_script_gives_its_interpreter_its_name),
		cmocka_unit_test(scripts_that_lead_to_themselves_are_refused),
		cmocka_unit_test(scripts_of_scripts_work_to_the_kernels_depth),
		cmocka_unit_test(a_long_first_line_is_cut_as_the_kernel_does),
		cmocka_unit_test(a_script_without_an_interpreter_is_refused),
		cmocka_unit_test(arguments_beyond_the_limit_are_refused),
		cmocka_unit_test(no_arguments_give_the_program_its_name),
		cmocka_unit_test(exports_are_read_from_its_notes),
		cmocka_unit_test(exports_that_make_no_sense_do_not_keep_it_from_running),
		cmocka_unit_test(notes_that_are_not_there_are_none),
		cmocka_unit_test(notes_of_others_may_be_malformed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
