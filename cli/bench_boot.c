/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly bench --boot: whole commands that boot kernels, from just before they are started to a
 * text on the guest's console, which is a pipe to here. A kernel that is built in shows what the
 * command itself takes; one that is given boots in QEMU's microvm machine, too, where there is
 * one, with the same initrd, command line and memory.
 *
 * Memory files hold the kernel that is built in and a trace; children open them by way of /proc.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "kernel_image.h"
#include "message.h"

#define QEMU "/usr/bin/qemu-system-x86_64"
/* What a boot may take: an emulated PC whose clock counts instructions stays below 3 s. */
#define PATIENCE_NS (120 * UINT64_C(1000000000))
#define PATIENCE_TEXT "120s"
/* What the guests of other monitors get, and Mayfly's for comparison with them. */
#define MEMORY_MIB "256"
#define SMALL_MEMORY_MIB "128"

/*
 * Linux's console, how it ends, and what it need not look for: Mayfly says the same by itself
 * (src/machine/boot_cmdline.c), but for the way to reset: the microvm machine has no keyboard
 * controller. Before the user's words, so that those count.
 */
#define QEMU_CMDLINE                                                                           \
	"console=ttyS0 reboot=t panic=-1 pci=off i8042.noaux i8042.nomux i8042.nopnp "         \
	"i8042.dumbkbd"
/* Without what costs time and is not needed. */
#define QEMU_MACHINE                                                                           \
	"microvm,accel=kvm,acpi=off,pit=off,rtc=off,x-option-roms=off,isa-serial=on"

extern const unsigned char bench_boot_kernel[];
extern const uint64_t bench_boot_kernel_size;

enum boot_kind {
	BOOT_FIRST_INSTRUCTION, /* of the kernel that is built in */
	BOOT_FIRST_BYTE,
	BOOT_END,
	BOOT_MEMORY,
	BOOT_MAYFLY, /* of the one that was given, and so on */
	BOOT_GUEST,
	BOOT_QEMU,
	BOOT_QEMU_UNPACKED,
};

static struct {
	const struct bench_boot *boot;
	char self[4096]; /* this command */
	int kernel;	 /* what is built in */
	int trace;
	struct kernel_image image;
	unsigned users;
} shared = {.kernel = -1, .trace = -1, .image = {.fd = -1}};

/* --- A monitor ------------------------------------------------------------------------------- */

#define MAX_ARGS 32
#define TAIL 320 /* of which half is kept: more than BENCH_UNTIL_MAX */

struct monitor {
	enum boot_kind kind;
	const char *argv[MAX_ARGS + 1];
	int argc;
	const char *until;
	char *cmdline; /* owned */
	char kernel[32], trace[64];
	/* One run of it. */
	pid_t pid;
	int out;
	uint64_t began, reached;
	char tail[TAIL + 1]; /* of what it said last */
	size_t ntail;
};

static void add(struct monitor *m, const char *option, const char *value)
{
	if (value && m->argc + 2 <= MAX_ARGS) {
		m->argv[m->argc++] = option;
		m->argv[m->argc++] = value;
	}
}

static void add_word(struct monitor *m, const char *word)
{
	if (m->argc < MAX_ARGS)
		m->argv[m->argc++] = word;
}

/* The path by which a child finds a descriptor of ours. */
static const char *path_of(int fd, char path[32])
{
	snprintf(path, 32, "/proc/%ld/fd/%d", (long)getpid(), fd);
	return path;
}

static int start(struct monitor *m, mayfly_error *err)
{
	int out[2];

	m->ntail = 0;
	if (pipe2(out, O_CLOEXEC) != 0)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no pipe: %s", strerror(errno));
	m->began = now_ns();
	/* Not const only for the sake of execve()'s history. */
	m->pid = bench_command_start((char *const *)(uintptr_t)m->argv, -1, out[1], out[1]);
	close(out[1]);
	m->out = out[0];
	if (m->pid >= 0)
		return MAYFLY_OK;
	close(m->out);
	return mayfly_error_set(err, MAYFLY_E_IO, "starting %s: %s", m->argv[0],
				strerror(-m->pid));
}

/* Ends it, if it has not ended. */
static int stop(struct monitor *m, int signal)
{
	int status = 0;

	kill(m->pid, signal);
	close(m->out);
	while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Its last words, on one line. */
static int complain_early(struct monitor *m, const char *why, mayfly_error *err)
{
	for (size_t i = 0; i < m->ntail; i++)
		if ((unsigned char)m->tail[i] < ' ' || (unsigned char)m->tail[i] > '~')
			m->tail[i] = ' ';
	m->tail[m->ntail] = '\0';
	return mayfly_error_set(err, MAYFLY_E_IO, "%s %s before its console showed '%.40s'%s%s",
				m->argv[0], why, m->until, m->ntail ? "; it said: " : "",
				m->tail);
}

/* Keeps the end of what there was, and takes more of it. */
static ssize_t take_output(struct monitor *m)
{
	ssize_t n;

	if (m->ntail > TAIL / 2) {
		memmove(m->tail, m->tail + m->ntail - TAIL / 2, TAIL / 2);
		m->ntail = TAIL / 2;
	}
	do {
		n = read(m->out, m->tail + m->ntail, TAIL - m->ntail);
	} while (n < 0 && errno == EINTR);
	m->reached = now_ns();
	m->ntail += n > 0 ? (size_t)n : 0;
	return n;
}

static int wait_for_text(struct monitor *m, mayfly_error *err)
{
	uint64_t deadline = m->began + PATIENCE_NS;

	for (;;) {
		struct pollfd fd = {.fd = m->out, .events = POLLIN};
		uint64_t now = now_ns();

		if (now >= deadline || poll(&fd, 1, (int)((deadline - now) / 1000000 + 1)) == 0)
			return complain_early(m, "was still running after " PATIENCE_TEXT, err);
		if (take_output(m) <= 0)
			return complain_early(m, "ended", err);
		if (memmem(m->tail, m->ntail, m->until, strlen(m->until)))
			return MAYFLY_OK;
	}
}

/* To the end, which is the kernel's doing. */
static int wait_for_end(struct monitor *m, mayfly_error *err)
{
	int status;

	while (waitpid(m->pid, &status, 0) < 0)
		if (errno != EINTR)
			return mayfly_error_set(err, MAYFLY_E_IO, "waiting for %s", m->argv[0]);
	m->reached = now_ns();
	close(m->out);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return MAYFLY_OK;
	return mayfly_error_set(err, MAYFLY_E_IO, "%s boot ended with status 0x%x", m->argv[0],
				(unsigned)status);
}

/* --- What a run shows ------------------------------------------------------------------------ */

/* When the guest's first instruction was due, on our clock: from --trace-boot's JSON. */
static int first_instruction(uint64_t *ret_ns, mayfly_error *err)
{
	json_t *trace, *event;
	json_int_t started = 0;
	size_t i;

	*ret_ns = 0;
	lseek(shared.trace, 0, SEEK_SET);
	trace = json_loadfd(shared.trace, JSON_DISABLE_EOF_CHECK, NULL);
	(void)json_unpack(trace, "{s:{s:I}}", "otherData", "started_ns", &started);
	json_array_foreach(json_object_get(trace, "traceEvents"), i, event)
	{
		const char *name = "";
		double at = 0, length = 0;

		(void)json_unpack(event, "{s:s, s:F, s:F}", "name", &name, "ts", &at, "dur",
				  &length);
		if (started > 0 && strcmp(name, "first instruction") == 0)
			*ret_ns = (uint64_t)started + (uint64_t)((at + length) * 1e3);
	}
	json_decref(trace);
	if (*ret_ns)
		return MAYFLY_OK;
	return mayfly_error_set(err, MAYFLY_E_IO,
				"--trace-boot did not say when the guest began");
}

/*
 * Private memory of a process without that of its guest, which is the mappings that fork() does not
 * copy ("dc") and no swap is set apart for ("nr"): no others are both.
 */
static int private_memory(pid_t pid, uint64_t *ret_bytes, mayfly_error *err)
{
	uint64_t all = 0, here = 0; /* KiB */
	char path[64], line[512];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%ld/smaps", (long)pid);
	maps = fopen(path, "re");
	if (!maps)
		return mayfly_error_set(err, MAYFLY_E_IO, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), maps)) {
		if (strncmp(line, "Private_Clean:", 14) == 0 ||
		    strncmp(line, "Private_Dirty:", 14) == 0)
			here += strtoull(line + 14, NULL, 10);
		if (strncmp(line, "VmFlags:", 8) != 0)
			continue;
		if (!strstr(line, " dc") || !strstr(line, " nr"))
			all += here;
		here = 0;
	}
	fclose(maps);
	*ret_bytes = all << 10;
	if (all)
		return MAYFLY_OK;
	return mayfly_error_set(err, MAYFLY_E_IO, "%s says nothing of private memory", path);
}

static int measure(struct monitor *m, uint64_t *ret, mayfly_error *err)
{
	uint64_t first = 0;
	int r = wait_for_text(m, err);

	switch (m->kind) {
	case BOOT_END:
	case BOOT_FIRST_INSTRUCTION:
		if (r == MAYFLY_OK)
			r = wait_for_end(m, err);
		else
			stop(m, SIGKILL);
		break;
	case BOOT_MEMORY:
		if (r == MAYFLY_OK)
			r = private_memory(m->pid, ret, err);
		stop(m, SIGKILL);
		return r;
	case BOOT_GUEST:
		/* The trace comes with its end. */
		stop(m, r == MAYFLY_OK ? SIGTERM : SIGKILL);
		break;
	case BOOT_FIRST_BYTE:
	case BOOT_MAYFLY:
	case BOOT_QEMU:
	case BOOT_QEMU_UNPACKED:
		stop(m, SIGKILL);
	}
	if (r == MAYFLY_OK && (m->kind == BOOT_GUEST || m->kind == BOOT_FIRST_INSTRUCTION))
		r = first_instruction(&first, err);
	if (m->kind == BOOT_FIRST_INSTRUCTION)
		*ret = first - m->began;
	else
		*ret = m->reached - (m->kind == BOOT_GUEST ? first : m->began);
	return r;
}

static int sample(void *state, uint64_t *ret, mayfly_error *err)
{
	struct monitor *m = state;
	int r = start(m, err);

	return r == MAYFLY_OK ? measure(m, ret, err) : r;
}

/* --- What is shared -------------------------------------------------------------------------- */

static int open_shared(mayfly_error *err)
{
	ssize_t n;

	if (shared.users++)
		return MAYFLY_OK;
	n = readlink("/proc/self/exe", shared.self, sizeof(shared.self) - 1);
	shared.self[n > 0 ? n : 0] = '\0';
	shared.trace = memfd_create("mayfly-trace", MFD_CLOEXEC);
	shared.kernel = memfd_create("mayfly-kernel", MFD_CLOEXEC);
	if (n <= 0 || shared.trace < 0 || shared.kernel < 0 ||
	    write_whole(shared.kernel, (const char *)bench_boot_kernel,
			bench_boot_kernel_size) != 0)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no room for a kernel: %s",
					strerror(errno));
	return MAYFLY_OK;
}

static void close_shared(void)
{
	if (--shared.users)
		return;
	kernel_image_close(&shared.image);
	if (shared.trace >= 0)
		close(shared.trace);
	if (shared.kernel >= 0)
		close(shared.kernel);
}

/* --- Rows ------------------------------------------------------------------------------------ */

static void build_mayfly(struct monitor *m)
{
	const struct bench_boot *boot = shared.boot;
	bool given = m->kind >= BOOT_MAYFLY;

	add_word(m, shared.self);
	add_word(m, "boot");
	add_word(m, "--quiet");
	add(m, "--timeout", PATIENCE_TEXT);
	add(m, "--memory", given ? MEMORY_MIB "M" : SMALL_MEMORY_MIB "M");
	if (m->kind == BOOT_GUEST || m->kind == BOOT_FIRST_INSTRUCTION) {
		char path[32];

		snprintf(m->trace, sizeof(m->trace), "--trace-boot=%s",
			 path_of(shared.trace, path));
		add_word(m, m->trace);
	}
	add(m, "--initrd", given ? boot->initrd : NULL);
	add(m, "--cmdline", given ? boot->cmdline : m->kind == BOOT_MEMORY ? "w" : NULL);
	add_word(m, given ? boot->kernel : path_of(shared.kernel, m->kernel));
	m->until = given ? boot->until : ">";
}

static void build_qemu(struct monitor *m)
{
	const struct bench_boot *boot = shared.boot;

	if (asprintf(&m->cmdline, QEMU_CMDLINE " %s", boot->cmdline ? boot->cmdline : "") < 0)
		m->cmdline = NULL;
	add_word(m, QEMU);
	add_word(m, "-nodefaults");
	add_word(m, "-no-user-config");
	add_word(m, "-no-reboot");
	add(m, "-display", "none");
	add(m, "-M", QEMU_MACHINE);
	add(m, "-cpu", "host");
	add(m, "-m", MEMORY_MIB);
	add(m, "-serial", "stdio");
	add(m, "-initrd", boot->initrd);
	add(m, "-append", m->cmdline);
	add(m, "-kernel",
	    m->kind == BOOT_QEMU ? boot->kernel : path_of(shared.image.fd, m->kernel));
	m->until = boot->until;
}

static int begin(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct monitor *m = xrealloc(NULL, 1, sizeof(*m));
	int r = open_shared(err);

	*m = (struct monitor){.kind = (enum boot_kind)row->pages};
	*state = m;
	if (r != MAYFLY_OK)
		return r;
	if (m->kind == BOOT_QEMU || m->kind == BOOT_QEMU_UNPACKED)
		build_qemu(m);
	else
		build_mayfly(m);
	return MAYFLY_OK;
}

static void end(void *state)
{
	struct monitor *m = state;

	if (!m)
		return;
	close_shared();
	free(m->cmdline);
	free(m);
}

/* The kind is the parameter of these rows. */
#define BOOT(kind)                                                                             \
	.batch = 1, .needs_kvm = true, .pages = (kind), .begin = begin, .sample = sample,      \
	.end = end

static const struct bench_row own_rows[] = {
	{.name = "boot_first_instruction",
	 .what = "mayfly boot, from its start to the guest's first instruction",
	 BOOT(BOOT_FIRST_INSTRUCTION)},
	{.name = "boot_first_byte",
	 .what = "mayfly boot, from its start to the first byte of a kernel that begins with "
		 "it",
	 BOOT(BOOT_FIRST_BYTE)},
	{.name = "boot_end",
	 .what = "mayfly boot, from its start to its end, of a kernel that ends at once",
	 BOOT(BOOT_END)},
	{.name = "boot_private_memory",
	 .what = "private memory of mayfly boot, but for what its guest of 128 MiB touched",
	 .memory_used = true,
	 BOOT(BOOT_MEMORY)},
	{.name = NULL},
};

static const struct bench_row kernel_rows[] = {
	{.name = "boot_mayfly",
	 .what = "mayfly boot of the kernel, from its start to the text",
	 BOOT(BOOT_MAYFLY)},
	{.name = "boot_guest_share",
	 .what = "of that, from the guest's first instruction on",
	 BOOT(BOOT_GUEST)},
	{.name = NULL},
};

static const struct bench_row qemu_rows[] = {
	{.name = "boot_qemu",
	 .what = "QEMU's microvm machine, from its start to the text",
	 BOOT(BOOT_QEMU)},
	{.name = NULL},
};

static const struct bench_row unpacked_rows[] = {
	{.name = "boot_qemu_unpacked",
	 .what = "the same, of the ELF file that is packed in the kernel",
	 BOOT(BOOT_QEMU_UNPACKED)},
	{.name = NULL},
};

const struct bench_row *const *bench_boot_rows(const struct bench_boot *boot)
{
	static const struct bench_row *lists[5];
	size_t n = 0;

	shared.boot = boot;
	lists[n++] = own_rows;
	if (boot->kernel) {
		kernel_image_open(boot->kernel, &shared.image);
		lists[n++] = kernel_rows;
	}
	if (boot->kernel && access(QEMU, X_OK) == 0) {
		lists[n++] = qemu_rows;
		if (shared.image.fd >= 0)
			lists[n++] = unpacked_rows;
	}
	lists[n] = NULL;
	return lists;
}
