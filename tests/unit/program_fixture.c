/* SPDX-License-Identifier: Apache-2.0 */
#include "program_fixture.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/function.h"
#include "linux/checkpoint.h"

#define NOTES_AT 0xa00 /* in the program's file */

#define FILE_TEXT "0123456789abcdefghijklmnopqrstuvwxyz\n"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void die_of(const mayfly_error *err)
{
	fprintf(stderr, "%s\n", err->message);
	exit(1);
}

/* --- The program ------------------------------------------------------------------------------ */

/* Notes: that the code is a function "run" of the type u64(string). Gives their size. */
static size_t put_notes(uint8_t *at)
{
	static const struct {
		Elf64_Nhdr abi;
		char abi_name[8];
		uint32_t version;
		Elf64_Nhdr export;
		char export_name[8];
		uint8_t function[8]; /* relative to itself */
		char text[20];
	} __attribute__((packed)) notes = {
		.abi = {sizeof(FN_NOTE_NAME), sizeof(uint32_t), FN_NOTE_ABI},
		.abi_name = FN_NOTE_NAME,
		.version = FN_ABI_VERSION,
		.export = {sizeof(FN_NOTE_NAME), 28, FN_NOTE_EXPORT},
		.export_name = FN_NOTE_NAME,
		.text = "run\0u64(string)",
	};
	int64_t offset = 0x800 - (NOTES_AT + (int64_t)offsetof(__typeof__(notes), function));

	memcpy(at, &notes, sizeof(notes));
	memcpy(at + offsetof(__typeof__(notes), function), &offset, sizeof(offset));
	return sizeof(notes);
}

size_t program_file(uint8_t file[PROGRAM_FILE_SIZE])
{
	static const uint8_t code[] = {0x0f, 0x05, 0xeb, 0xfc}; /* syscall; jmp to it */
	static const struct {
		uint32_t va, filesz, memsz, flags;
	} segments[] = {
		{PROGRAM_TEXT, PROGRAM_FILE_SIZE, PROGRAM_FILE_SIZE, PF_R | PF_X},
		{PROGRAM_DATA, 0, PROGRAM_DATA_SIZE, PF_R | PF_W},
		{PROGRAM_READ_ONLY, PROGRAM_FILE_SIZE, PROGRAM_FILE_SIZE, PF_R},
		{PROGRAM_NONE, PROGRAM_FILE_SIZE, PROGRAM_FILE_SIZE, 0},
	};
	Elf64_Ehdr eh = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
				     ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_entry = PROGRAM_TEXT + 0x800,
			 .e_phoff = sizeof(eh),
			 .e_ehsize = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = ARRAY_SIZE(segments) + 1};
	Elf64_Phdr notes = {.p_type = PT_NOTE,
			    .p_offset = NOTES_AT,
			    .p_vaddr = PROGRAM_TEXT + NOTES_AT,
			    .p_align = 4};

	memset(file, 0, PROGRAM_FILE_SIZE);
	memcpy(file, &eh, sizeof(eh));
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		Elf64_Phdr ph = {.p_type = PT_LOAD,
				 .p_flags = segments[i].flags,
				 .p_vaddr = segments[i].va,
				 .p_paddr = segments[i].va,
				 .p_filesz = segments[i].filesz,
				 .p_memsz = segments[i].memsz,
				 .p_align = PAGE_SIZE};

		memcpy(file + sizeof(eh) + i * sizeof(ph), &ph, sizeof(ph));
	}
	memcpy(file + 0x800, code, sizeof(code));
	notes.p_filesz = put_notes(file + NOTES_AT);
	memcpy(file + sizeof(eh) + ARRAY_SIZE(segments) * sizeof(notes), &notes, sizeof(notes));
	return PROGRAM_FILE_SIZE;
}

/* --- The tree --------------------------------------------------------------------------------- */

static void write_file(const char *directory, const char *name, const void *data, size_t len)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len || fchmod(fd, 0755) < 0)
		die(path);
	close(fd);
}

static void make_link(const char *directory, const char *target, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (symlink(target, path) < 0)
		die(path);
}

static void make_directory(char *path, size_t size, const char *root, const char *name)
{
	snprintf(path, size, "%s/%s", root, name);
	if (mkdir(path, 0755) < 0)
		die(path);
}

/* Names that a tree of grants has at first. */
static void fill(const struct tree *tree, const char *directory)
{
	char path[256];

	write_file(directory, "file", FILE_TEXT, strlen(FILE_TEXT));
	write_file(directory, "large", FILE_TEXT, strlen(FILE_TEXT));
	snprintf(path, sizeof(path), "%s/large", directory);
	if (truncate(path, 3 * 4096 + 100) < 0)
		die(path);
	make_directory(path, sizeof(path), directory, "directory");
	write_file(path, "file", FILE_TEXT, strlen(FILE_TEXT));
	make_link(directory, "file", "link");
	make_link(directory, "../outside", "out");
	make_link(directory, "../../../../../../etc", "far-out");
	make_link(directory, "/", "root");
	make_link(directory, "loop", "loop");
	make_link(directory, "/proc/self/root", "proc-root");
	snprintf(path, sizeof(path), "%s/outside/secret", tree->root);
	make_link(directory, path, "secret");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	if (at->level && remove(path) < 0 && chmod(path, 0700) == 0)
		remove(path);
	return 0;
}

static void empty(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void tree_make(struct tree *tree)
{
	static const char *const names[] = {"granted", "read-only", "overlay"};
	static const char *const guest[] = {"/rw", "/ro", "/ov"};
	static const uint32_t flags[] = {MAYFLY_GRANT_WRITE, 0, MAYFLY_GRANT_OVERLAY};
	const char *temporary = getenv("TMPDIR");
	uint8_t file[PROGRAM_FILE_SIZE];
	char outside[96];

	memset(tree, 0, sizeof(*tree));
	if (!temporary || strlen(temporary) > 30)
		temporary = "/tmp";
	snprintf(tree->root, sizeof(tree->root), "%s/mayfly-tree-XXXXXX", temporary);
	if (!mkdtemp(tree->root))
		die(tree->root);
	make_directory(outside, sizeof(outside), tree->root, "outside");
	write_file(outside, "secret", TREE_SECRET, strlen(TREE_SECRET));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		make_directory(tree->paths[i], sizeof(tree->paths[i]), tree->root, names[i]);
		fill(tree, tree->paths[i]);
		tree->grants[i] = (mayfly_grant){tree->paths[i], guest[i], flags[i]};
	}
	memcpy(tree->granted, tree->paths[0], sizeof(tree->granted));
	write_file(tree->root, "program", file, program_file(file));
	snprintf(tree->program, sizeof(tree->program), "%s/program", tree->root);
}

void tree_reset(struct tree *tree)
{
	chmod(tree->granted, 0755);
	empty(tree->granted);
	fill(tree, tree->granted);
}

/* Of its entries. */
static uint64_t digest(const char *path)
{
	struct dirent **entries;
	uint64_t sum = 1469598103934665603u;
	int n = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		for (const char *c = entries[i]->d_name; *c; c++)
			sum = (sum ^ (uint8_t)*c) * 1099511628211u;
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return sum;
}

static bool holds(const char *directory, const char *name, const char *text, size_t size)
{
	char path[256], data[128];
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, data, sizeof(data));
	if (fstat(fd, &st) < 0 || (size_t)st.st_size != size || st.st_mode != (S_IFREG | 0755))
		n = -1;
	close(fd);
	return n >= (ssize_t)strlen(text) && !memcmp(data, text, strlen(text));
}

bool tree_is_sound(const struct tree *tree)
{
	static uint64_t first[3];
	char outside[96];

	snprintf(outside, sizeof(outside), "%s/outside", tree->root);
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		const char *path = i ? tree->paths[i] : outside;
		uint64_t now = digest(path);

		if (!first[i])
			first[i] = now;
		if (now != first[i])
			return false;
		if (i && (!holds(path, "file", FILE_TEXT, strlen(FILE_TEXT)) ||
			  !holds(path, "large", FILE_TEXT, 3 * 4096 + 100) ||
			  !holds(path, "directory/file", FILE_TEXT, strlen(FILE_TEXT))))
			return false;
	}
	return holds(outside, "secret", TREE_SECRET, strlen(TREE_SECRET));
}

void tree_remove(struct tree *tree)
{
	empty(tree->root);
	rmdir(tree->root);
}

/* --- Processes -------------------------------------------------------------------------------- */

mayfly_process_options program_options(const struct tree *tree)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;

	o.program = tree->program;
	o.grants = tree->grants;
	o.ngrants = ARRAY_SIZE(tree->grants);
	o.cwd = "/rw";
	o.memory = (uint64_t)16 << 20;
	o.flags = MAYFLY_PROCESS_FIXED_LAYOUT;
	return o;
}

int program_continue(const struct tree *tree, struct mayfly_snapshot *snap,
		     struct process **out, mayfly_error *err)
{
	mayfly_process_options o = program_options(tree);

	o.program = NULL;
	o.cwd = NULL;
	o.snapshot = snap;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	return process_new(&hv_mock, &o, out, err);
}

struct process *program_continued(const struct tree *tree, struct mayfly_snapshot *snap)
{
	struct process *p;
	mayfly_error err;

	if (program_continue(tree, snap, &p, &err) < 0)
		die_of(&err);
	return p;
}

void program_restore(struct process *p)
{
	mayfly_error err;

	if (checkpoint_restore(p, (const int[3]){-1, -1, -1}, &err) < 0)
		die_of(&err);
}

static struct process *running;
static const uint64_t (*script)[7];
static size_t script_left;

/* The next call of the script, then the exit. None waits: its thread was kicked already. */
static int program_acts(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	static const uint64_t end[7] = {SYS_exit_group, 7};
	const uint64_t *c = script_left ? *script++ : end;

	(void)context;
	for (struct task *t = running->tasks; t; t = t->next)
		task_kick(t);
	script_left -= script_left ? 1 : 0;
	vm->regs.rax = c[0];
	vm->regs.rdi = c[1];
	vm->regs.rsi = c[2];
	vm->regs.rdx = c[3];
	vm->regs.r10 = c[4];
	vm->regs.r8 = c[5];
	vm->regs.r9 = c[6];
	vm->regs.rcx = PROGRAM_TEXT + 0x802;
	vm->regs.r11 = CPU_RFLAGS_START;
	vm->regs.rip = PROG_GATE_SYSCALL + 2;
	*exit = mock_out(PROG_PORT_SYSCALL);
	return 0;
}

mayfly_process_end program_run(struct process *p, const uint64_t (*calls)[7], size_t count)
{
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_error err;

	running = p;
	script = calls;
	script_left = count;
	mock_drive(program_acts, NULL);
	if (process_run(p, MAYFLY_PAUSE_READY, &end, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	return end;
}

static void put(struct process *p, uint64_t va, const void *from, size_t len)
{
	if (mm_write(&p->mm, va, from, len) < 0)
		die("the program's memory");
}

static void put_arguments(struct process *p)
{
	const struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "\0kept"};
	const struct sockaddr_in in = {.sin_family = AF_INET,
				       .sin_port = htons(4000),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct itimerval itimer = {.it_value.tv_sec = 1000};
	const struct itimerspec spec = {.it_value.tv_sec = 900, .it_interval.tv_sec = 5};
	const struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
	const uint64_t all = UINT64_MAX, large = (uint64_t)1 << 62;

	put(p, UNIX_NAME, &un, sizeof(un));
	put(p, INET_NAME, &in, sizeof(in));
	put(p, HELLO, "hello", 6);
	put(p, MASK, &all, sizeof(all));
	put(p, ITIMER, &itimer, sizeof(itimer));
	put(p, TIMERSPEC, &spec, sizeof(spec));
	put(p, NAME, "kept", 5);
	put(p, LARGE, &large, sizeof(large));
	put(p, EVENT, &event, sizeof(event));
}

static const uint64_t opening[][7] = {
	{SYS_pipe, FDS},
	{SYS_dup2, 3, PIPE_READ},
	{SYS_close, 3},
	{SYS_write, PIPE_WRITE, HELLO, 6},
	{SYS_eventfd2, 0, EFD_SEMAPHORE},
	{SYS_write, SEMAPHORE, LARGE, 8},
	{SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, FDS},
	{SYS_write, PAIR_A, HELLO, 3},
	{SYS_write, PAIR_A, HELLO + 3, 3},
	{SYS_shutdown, PAIR_A, SHUT_WR},
	{SYS_socket, AF_UNIX, SOCK_STREAM, 0},
	{SYS_bind, LISTENER, UNIX_NAME, UNIX_NAME_LEN},
	{SYS_listen, LISTENER, 3},
	{SYS_socket, AF_UNIX, SOCK_STREAM, 0},
	{SYS_connect, CLIENT, UNIX_NAME, UNIX_NAME_LEN},
	{SYS_write, CLIENT, HELLO, 6},
	{SYS_socket, AF_INET, SOCK_DGRAM, 0},
	{SYS_bind, DATAGRAMS, INET_NAME, sizeof(struct sockaddr_in)},
	{SYS_socket, AF_INET, SOCK_DGRAM, 0},
	{SYS_sendto, SENDER, HELLO, 3, 0, INET_NAME, sizeof(struct sockaddr_in)},
	{SYS_sendto, SENDER, HELLO + 3, 3, 0, INET_NAME, sizeof(struct sockaddr_in)},
	{SYS_memfd_create, NAME, 0},
	{SYS_write, MEMFD, HELLO, 6},
	{SYS_signalfd4, UINT64_MAX, MASK, 8, 0},
	{SYS_epoll_create1, 0},
	{SYS_epoll_ctl, EPOLL, EPOLL_CTL_ADD, SIGNALS, EVENT},
	{SYS_rt_sigprocmask, SIG_BLOCK, MASK, 0, 8},
	{SYS_kill, PROCESS_PID, SIGUSR1},
	{SYS_tgkill, PROCESS_PID, PROCESS_PID, SIGUSR2},
	{SYS_setitimer, ITIMER_REAL, ITIMER, 0},
	{SYS_timer_create, CLOCK_MONOTONIC, 0, TIMER_ID},
	{SYS_timer_create, CLOCK_MONOTONIC, 0, TIMER_ID},
	{SYS_timer_delete, 0},
	{SYS_timer_settime, 1, 0, TIMERSPEC, 0},
	{PROG_SYS_READY, 0},
};

void program_open_much(struct process *p)
{
	put_arguments(p);
	if (program_run(p, opening, ARRAY_SIZE(opening)).end != MAYFLY_END_PAUSE)
		die("mayfly_ready()");
}

bool program_holds(struct process *p, uint64_t va, const char *text)
{
	char is[32];

	return mm_read(&p->mm, is, va, strlen(text) + 1) == 0 && !strcmp(is, text);
}

unsigned program_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!dir)
		die("/proc/self/fd");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
