/* SPDX-License-Identifier: Apache-2.0 */
#include "boot_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"
#include "parse.h"

#define MAX_CPUS 32 /* the library's limit */
/* A file for fw_cfg is read into memory; what guests read byte by byte is small. */
#define MAX_FW_FILE ((size_t)64 << 20)

#define FIELD(f) .offset = offsetof(struct boot_options, f)
static const struct option_spec specs[] = {
	{.name = "cmdline",
	 .letter = 'c',
	 .type = OPTION_TEXT,
	 .argument = "TEXT",
	 FIELD(cmdline),
	 .help = "The kernel's command line. What makes its console be ours, and the devices, "
		 "are added."},
	{.name = "initrd",
	 .letter = 'i',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(initrd),
	 .help = "An initial RAM disk for Linux, a memory disk for NetBSD."},
	{.name = "memory",
	 .letter = 'm',
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(memory),
	 .help = "Default, or 0: 256M. Host memory is used only for what the guest touches."},
	{.name = "cpus",
	 .type = OPTION_COUNT,
	 .max = MAX_CPUS,
	 .argument = "N",
	 FIELD(cpus),
	 .help = "How many CPUs it has, at most 32. Default 1."},
	{.name = "disk",
	 .letter = 'd',
	 .type = OPTION_FILES,
	 .argument = "FILE[,ro][,snapshot[=SIZE]][,serial=TEXT]",
	 FIELD(disks),
	 .help = "A disk: a raw image or a block device. ro: not to be written to; snapshot: "
		 "what is written is forgotten in the end, and takes at most SIZE of memory. "
		 "May be repeated."},
	{.name = "net",
	 .letter = 'n',
	 .type = OPTION_TEXTS,
	 .words = "user tap=",
	 .argument = "user[,host][,publish=[ADDRESS:]HOSTPORT:GUESTPORT[/udp]]|tap=NAME",
	 FIELD(nets),
	 .help = "A network card. user: by a helper, without privileges; host: it reaches this "
		 "host as its gateway; publish: what listens on GUESTPORT in the guest is "
		 "reached at HOSTPORT here, on 127.0.0.1 if no address is given. tap: a tap "
		 "device that is there. For both ,mac=ADDRESS. May be repeated."},
	{.name = "rng",
	 .type = OPTION_FLAG,
	 FIELD(rng),
	 .help = "Give it a source of random numbers."},
	{.name = "console",
	 .type = OPTION_WORD,
	 .words = "serial virtio",
	 .argument = "KIND",
	 FIELD(console),
	 .help = "serial: a 16550A, the default; virtio: faster, and knows the window's size."},
	{.name = "pty",
	 .type = OPTION_FLAG,
	 FIELD(pty),
	 .help = "Put the console on a new pseudoterminal, whose name is printed, and not on "
		 "the standard streams."},
	{.name = "port",
	 .letter = 'p',
	 .type = OPTION_TEXTS,
	 .names_file = true,
	 .argument = "NAME=PATH",
	 FIELD(ports),
	 .help = "A port of a virtio console, NAME in the guest, that leads to a Unix socket, "
		 "which is made at PATH. May be repeated."},
	{.name = "fw",
	 .type = OPTION_TEXTS,
	 .names_file = true,
	 .argument = "NAME=FILE",
	 FIELD(fw),
	 .help = "A file that the guest can read through fw_cfg, by convention as opt/... May "
		 "be repeated."},
	{.name = "timeout",
	 .letter = 't',
	 .type = OPTION_TIME,
	 .argument = "TIME",
	 FIELD(timeout),
	 .help = "Stop it after this much time has passed; exit status 124. 0: no limit."},
	{.name = "shutdown",
	 .type = OPTION_TEXT,
	 .argument = "TEXT",
	 FIELD(shutdown),
	 .help = "When mayfly gets SIGTERM, type TEXT and Enter on the console, and give the "
		 "guest 10 s to end by itself. Default: stop it at once."},
	{.name = "trace-boot",
	 .type = OPTION_FILE,
	 .fallback = TRACE_BOOT_TEXT,
	 .argument = "FILE",
	 FIELD(trace),
	 .help = "At the end print to standard error when what happened, and what left the VM "
		 "how often; to FILE as Chrome trace JSON."},
	{.name = "quiet",
	 .letter = 'q',
	 .type = OPTION_FLAG,
	 FIELD(quiet),
	 .help = "No notes, and nothing about the escape key."},
	{.name = "plain-cmdline",
	 .type = OPTION_FLAG,
	 FIELD(plain_cmdline),
	 .help = "Add nothing to the command line."},
	{.name = "acpi",
	 .type = OPTION_WORD,
	 .words = "on off",
	 .argument = "on|off",
	 FIELD(acpi),
	 .help = "Whether there are ACPI tables. Default: for a Linux that has devices or "
		 "several CPUs."},
	{.name = "legacy-virtio",
	 .type = OPTION_FLAG,
	 FIELD(legacy_virtio),
	 .help = "Devices of version 1, for drivers that know no other."},
};
#undef FIELD

const struct option_table boot_option_table = {specs, COUNT_OF(specs)};

const char *boot_option_fixed(const struct boot_options *o)
{
	return o->cmdline	  ? "cmdline"
	       : o->initrd	  ? "initrd"
	       : o->memory	  ? "memory"
	       : o->cpus	  ? "cpus"
	       : o->console	  ? "console"
	       : o->rng		  ? "rng"
	       : o->acpi	  ? "acpi"
	       : o->fw.n	  ? "fw"
	       : o->plain_cmdline ? "plain-cmdline"
	       : o->legacy_virtio ? "legacy-virtio"
				  : NULL;
}

/* --- What the setup is made of ---------------------------------------------------------------- */

static char *copy_text(struct boot_setup *s, const char *text)
{
	return texts_copy(&s->texts, text, strlen(text));
}

void boot_setup_fini(struct boot_setup *s)
{
	for (size_t i = 0; i < s->library.nnics; i++)
		free(s->forwards[i]);
	for (size_t i = 0; i < s->library.nfw; i++)
		free((void *)s->fw[i].data);
	texts_free(&s->texts);
	free(s->forwards);
	free(s->nics);
	free(s->fw);
	free(s->disks);
	free(s->ports);
}

void boot_options_fini(struct boot_options *o)
{
	free(o->disks.items);
	free(o->nets.items);
	free(o->ports.items);
	free(o->fw.items);
}

/* --- The lists -------------------------------------------------------------------------------- */

/* What a disk's file is followed by. False: nothing of that kind; negative: it is wrong. */
static int take_disk_word(const char *word, mayfly_disk *disk, mayfly_error *err)
{
	int r = 0;

	if (!strcmp(word, "ro"))
		disk->flags |= MAYFLY_DISK_READONLY;
	else if (!strcmp(word, "snapshot"))
		disk->flags |= MAYFLY_DISK_SNAPSHOT;
	else if (!strncmp(word, "snapshot=", 9))
		r = parse_size(word + 9, &disk->overlay_limit, err);
	else if (!strncmp(word, "serial=", 7))
		disk->serial = word + 7;
	else
		return false;
	if (disk->overlay_limit)
		disk->flags |= MAYFLY_DISK_SNAPSHOT;
	return r < 0 ? r : true;
}

/*
 * What follows the last comma of `path` is no option: it belongs to the file's name, if there is
 * such a file.
 */
static int check_disk_name(const char *path, mayfly_error *err)
{
	static const char *const words[] = {"ro", "snapshot", "serial="};
	const char *comma = strrchr(path, ','), *close;

	if (!comma || access(path, F_OK) == 0 || errno != ENOENT)
		return MAYFLY_OK;
	close = closest_name(comma + 1, words, COUNT_OF(words));
	return mayfly_error_set(err, MAYFLY_E_INVALID,
				"there is no file '%.160s', and '%.40s' is no option of a "
				"disk%s%s%s",
				path, comma + 1, close ? " (did you mean " : "",
				close ? close : "",
				close ? "?)" : "; these are ro, snapshot[=SIZE], serial=TEXT");
}

/* From the right: a file's name may have commas. */
static int add_disks(struct boot_setup *s, const struct boot_options *o, mayfly_error *err)
{
	s->disks = xrealloc(NULL, o->disks.n + 1, sizeof(s->disks[0]));
	s->library.disks = s->disks;
	for (size_t i = 0; i < o->disks.n; i++) {
		mayfly_disk *disk = &s->disks[s->library.ndisks++];
		char *path = copy_text(s, o->disks.items[i]), *comma;
		int r = true;

		*disk = (mayfly_disk){.path = path};
		while (r > 0 && (comma = strrchr(path, ','))) {
			r = take_disk_word(comma + 1, disk, err);
			if (r > 0)
				*comma = '\0';
		}
		if (r < 0)
			return r;
		if (!*path)
			return mayfly_error_set(err, MAYFLY_E_INVALID, "'%.80s' names no file",
						o->disks.items[i]);
		r = check_disk_name(path, err);
		if (r < 0)
			return r;
	}
	return MAYFLY_OK;
}

static int add_nets(struct boot_setup *s, const struct boot_options *o, mayfly_error *err)
{
	int r = MAYFLY_OK;

	s->nics = xrealloc(NULL, o->nets.n + 1, sizeof(s->nics[0]));
	s->forwards = xrealloc(NULL, o->nets.n + 1, sizeof(s->forwards[0]));
	s->library.nics = s->nics;
	for (size_t i = 0; i < o->nets.n && r == MAYFLY_OK; i++) {
		char *text = copy_text(s, o->nets.items[i]);

		r = boot_net(text, &s->nics[i], &s->forwards[i], err);
		s->library.nnics++;
	}
	return r;
}

/* NAME=REST */
static int split(struct boot_setup *s, const char *text, const char *what,
		 const char **ret_name, const char **ret_rest, mayfly_error *err)
{
	char *copy = copy_text(s, text), *rest = strchr(copy, '=');

	if (!rest || rest == copy || !rest[1])
		return mayfly_error_set(err, MAYFLY_E_INVALID, "'%.80s' is not NAME=%s", text,
					what);
	*rest = '\0';
	*ret_name = copy;
	*ret_rest = rest + 1;
	return MAYFLY_OK;
}

static int add_ports(struct boot_setup *s, const struct boot_options *o, mayfly_error *err)
{
	int r = MAYFLY_OK;

	s->ports = xrealloc(NULL, o->ports.n + 1, sizeof(s->ports[0]));
	s->library.ports = s->ports;
	for (size_t i = 0; i < o->ports.n && r == MAYFLY_OK; i++) {
		mayfly_port *port = &s->ports[i];

		r = split(s, o->ports.items[i], "PATH", &port->name, &port->path, err);
		s->library.nports++;
	}
	return r;
}

/* All of a file, which may be a pipe. */
static int read_file(const char *path, mayfly_fw_file *ret, mayfly_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), e = errno;
	char *data = NULL;
	size_t len = 0, room = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && len <= MAX_FW_FILE) {
		if (len == room) {
			room = 2 * room + 4096;
			data = xrealloc(data, room, 1);
		}
		do {
			n = read(fd, data + len, room - len);
		} while (n < 0 && errno == EINTR);
		e = errno;
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 || n < 0) {
		free(data);
		return mayfly_error_set(err, MAYFLY_E_IO, "cannot read %.200s: %s", path,
					strerror(e));
	}
	if (len > MAX_FW_FILE) {
		free(data);
		return mayfly_error_set(err, MAYFLY_E_TOO_LARGE,
					"%.200s is larger than %zu MiB", path,
					MAX_FW_FILE >> 20);
	}
	ret->data = data;
	ret->len = len;
	return MAYFLY_OK;
}

static int add_fw(struct boot_setup *s, const struct boot_options *o, mayfly_error *err)
{
	int r = MAYFLY_OK;

	s->fw = xrealloc(NULL, o->fw.n + 1, sizeof(s->fw[0]));
	s->library.fw = s->fw;
	for (size_t i = 0; i < o->fw.n && r == MAYFLY_OK; i++) {
		mayfly_fw_file file = {.data = NULL};
		const char *path = "";

		r = split(s, o->fw.items[i], "FILE", &file.name, &path, err);
		if (r == MAYFLY_OK)
			r = read_file(path, &file, err);
		if (r == MAYFLY_OK)
			s->fw[s->library.nfw++] = file;
	}
	return r;
}

/* --- All of it -------------------------------------------------------------------------------- */

static const struct step {
	const char *option;
	int (*take)(struct boot_setup *s, const struct boot_options *o, mayfly_error *err);
} steps[] = {
	{"disk", add_disks},
	{"net", add_nets},
	{"port", add_ports},
	{"fw", add_fw},
};

static bool is(const char *word, const char *expected)
{
	return word && strcmp(word, expected) == 0;
}

int boot_setup_init(struct boot_setup *s, const struct verb *verb, const struct boot_options *o)
{
	mayfly_error err;

	s->library = (mayfly_machine_options)MAYFLY_MACHINE_OPTIONS_INIT;
	for (size_t i = 0; i < COUNT_OF(steps); i++)
		if (steps[i].take(s, o, &err) != MAYFLY_OK)
			return usage_error(verb, "--%s: %s", steps[i].option, err.message);
	s->library.cmdline = o->cmdline;
	s->library.initrd = o->initrd;
	s->library.memory = o->memory;
	s->library.cpus = (uint32_t)o->cpus;
	s->library.timeout_ns = o->timeout;
	s->library.flags = (o->rng ? MAYFLY_MACHINE_RNG : 0) |
			   (is(o->console, "virtio") ? MAYFLY_MACHINE_VIRTIO_CONSOLE : 0) |
			   (o->plain_cmdline ? MAYFLY_MACHINE_PLAIN_CMDLINE : 0) |
			   (o->legacy_virtio ? MAYFLY_MACHINE_LEGACY_VIRTIO : 0) |
			   (o->trace ? MAYFLY_MACHINE_TIMELINE : 0) |
			   (is(o->acpi, "on") ? MAYFLY_MACHINE_ACPI : 0) |
			   (is(o->acpi, "off") ? MAYFLY_MACHINE_NO_ACPI : 0);
	return STATUS_OK;
}
