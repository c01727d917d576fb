/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of the process and its tasks. Formats: proc(5) and the kernel's fs/proc. */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "linux/times.h"
#include "linux/vfs_internal.h"

#define COPY_MAX ((uint64_t)1 << 20) /* of arguments or environment, as the kernel's limit is */
#define AUXV_SEARCH 8192	     /* bytes below the arguments: the stack's beginning */
#define AUXV_MAX 64
#define TICKS_PER_SEC 100

/* --- Memory of the guest ------------------------------------------------------------------ */

static void guest_range(struct vfs *vfs, struct proc_text *text, uint64_t start, uint64_t end)
{
	uint8_t piece[4096];

	if (end < start || end - start > COPY_MAX)
		end = start;
	for (uint64_t at = start; at < end;) {
		size_t n = end - at < sizeof(piece) ? (size_t)(end - at) : sizeof(piece);

		if (mm_read(&vfs->p->mm, piece, at, n) < 0)
			break;
		proc_bytes(text, piece, n);
		at += n;
	}
}

void proc_cmdline(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	const struct process *p = vfs->p;

	(void)entry;
	if (p->mm.arg_end) {
		guest_range(vfs, text, p->mm.arg_start, p->mm.arg_end);
		return;
	}
	for (char **arg = p->argv; arg && *arg; arg++)
		proc_bytes(text, *arg, strlen(*arg) + 1);
}

void proc_environ(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	const struct process *p = vfs->p;

	(void)entry;
	if (p->mm.env_end) {
		guest_range(vfs, text, p->mm.env_start, p->mm.env_end);
		return;
	}
	for (char **env = p->envp; env && *env; env++)
		proc_bytes(text, *env, strlen(*env) + 1);
}

/* The vector that the program found on its stack: it begins with the vDSO's address. */
void proc_auxv(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	uint64_t words[AUXV_SEARCH / 8], start;
	struct mm *mm = &vfs->p->mm;

	(void)entry;
	start = (mm->arg_start & ~(uint64_t)15) - sizeof(words);
	if (mm->arg_start < sizeof(words) + 16 || mm_read(mm, words, start, sizeof(words)) < 0)
		return;
	for (size_t i = 0; i + 2 <= ARRAY_SIZE(words); i += 2) {
		if (words[i] != AT_SYSINFO_EHDR || words[i + 1] != PROG_VDSO_VA)
			continue;
		for (size_t n = 0; n < AUXV_MAX && i + 2 <= ARRAY_SIZE(words); n++, i += 2) {
			proc_bytes(text, &words[i], 16);
			if (words[i] == AT_NULL)
				return;
		}
	}
}

struct maps {
	struct proc_text *text;
};

static void map_line(void *context, const struct area *area)
{
	const struct maps *maps = context;
	const char *name = area->name ? area->name : "";
	unsigned major = 0, minor = 0;
	struct stat st = {0};

	if (area->file) {
		if (area->file->fd >= 0)
			(void)fstat(area->file->fd, &st);
		if (area->file->dir) {
			major = major(area->file->dir->mount->dev);
			minor = minor(area->file->dir->mount->dev);
		}
		name = area->file->path ? area->file->path : "";
	}
	/* The name begins in column 74, as the kernel pads it. */
	proc_printf(maps->text, "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %02x:%02x ",
		    area->start, area->end, area->prot & 1 ? 'r' : '-',
		    area->prot & 2 ? 'w' : '-', area->prot & 4 ? 'x' : '-',
		    (area->flags & 3) == 1 ? 's' : 'p', area->file ? area->offset : 0, major,
		    minor);
	if (*name)
		proc_printf(maps->text, "%-26ju %s\n", (uintmax_t)st.st_ino, name);
	else
		proc_printf(maps->text, "%ju \n", (uintmax_t)st.st_ino);
}

void proc_maps(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct maps maps = {text};

	(void)entry;
	mm_for_each(&vfs->p->mm, map_line, &maps);
}

/* --- status, stat, statm ------------------------------------------------------------------ */

/* What several files tell, collected under the locks. */
struct summary {
	char name[16];
	uint32_t ntasks;
	uint64_t user_ticks, system_ticks;
	uint64_t pending, shared_pending, blocked, ignored, caught;
	uint64_t total, peak, resident;
	uint64_t start_ticks;
	bool no_new_privs;
};

static uint64_t ticks(uint64_t ns)
{
	return ns / (NSEC_PER_SEC / TICKS_PER_SEC);
}

static void sum_signals(struct process *p, int tid, struct summary *s)
{
	pthread_mutex_lock(&p->tasks_lock);
	pthread_mutex_lock(&p->sig.lock);
	for (int n = 1; n <= SIG_COUNT; n++) {
		if (p->sig.actions[n].handler == 1)
			s->ignored |= SIG_BIT(n);
		else if (p->sig.actions[n].handler)
			s->caught |= SIG_BIT(n);
	}
	s->shared_pending = p->sig.pending.set;
	for (const struct task *t = p->tasks; t; t = t->next)
		if (t->tid == tid) {
			s->pending = t->sig.pending.set;
			s->blocked = t->sig.mask;
		}
	pthread_mutex_unlock(&p->sig.lock);
	pthread_mutex_unlock(&p->tasks_lock);
}

static void summarise(struct vfs *vfs, const struct proc_entry *entry, struct summary *s)
{
	struct process *p = vfs->p;
	uint64_t all = 0, user = 0;
	const char *exe = p->exe ? strrchr(p->exe, '/') : NULL;

	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%.15s", exe ? exe + 1 : "");
	if (!entry->in_group) {
		all = process_cpu_ns(p, false);
		user = process_cpu_ns(p, true);
	}
	pthread_mutex_lock(&p->tasks_lock);
	for (const struct task *t = p->tasks; t; t = t->next)
		if (t->tid == entry->tid) {
			memcpy(s->name, t->name, sizeof(s->name));
			s->name[sizeof(s->name) - 1] = '\0';
			if (entry->in_group) {
				all = task_cpu_ns(t, false);
				user = task_cpu_ns(t, true);
			}
		}
	s->ntasks = p->ntasks;
	s->no_new_privs = p->attr.no_new_privs;
	pthread_mutex_unlock(&p->tasks_lock);
	s->user_ticks = ticks(user);
	s->system_ticks = ticks(all > user ? all - user : 0);
	sum_signals(p, entry->tid, s);
	s->total = mm_total(&p->mm);
	s->resident = atomic_load(&p->mm.charged);
	if (s->resident > s->total)
		s->resident = s->total;
	s->peak = p->mm.peak > s->total ? p->mm.peak : s->total;
}

void proc_status(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct process *p = vfs->p;
	uint32_t cpus = process_cpus(p);
	struct summary s;

	summarise(vfs, entry, &s);
	proc_printf(text,
		    "Name:\t%s\nUmask:\t%04o\nState:\tR (running)\nTgid:\t%d\nNgid:\t0\n"
		    "Pid:\t%d\nPPid:\t%d\nTracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\n"
		    "Gid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t%u \nNStgid:\t%d\nNSpid:\t%d\n"
		    "NSpgid:\t%d\nNSsid:\t%d\n",
		    s.name, (unsigned)p->umask, PROCESS_PID, entry->tid, PROCESS_PPID, p->uid,
		    p->uid, p->uid, p->uid, p->gid, p->gid, p->gid, p->gid, p->files.count,
		    p->gid, PROCESS_PID, entry->tid, PROCESS_PID, PROCESS_PPID);
	proc_printf(text,
		    "VmPeak:\t%8" PRIu64 " kB\nVmSize:\t%8" PRIu64 " kB\nVmLck:\t       0 kB\n"
		    "VmPin:\t       0 kB\nVmHWM:\t%8" PRIu64 " kB\nVmRSS:\t%8" PRIu64 " kB\n"
		    "VmData:\t%8" PRIu64 " kB\nVmSwap:\t       0 kB\n",
		    s.peak >> 10, s.total >> 10, s.resident >> 10, s.resident >> 10,
		    s.resident >> 10);
	proc_printf(text,
		    "Threads:\t%u\nSigQ:\t%u/%u\nSigPnd:\t%016" PRIx64 "\nShdPnd:\t%016" PRIx64
		    "\nSigBlk:\t%016" PRIx64 "\nSigIgn:\t%016" PRIx64 "\nSigCgt:\t%016" PRIx64
		    "\n",
		    s.ntasks, p->sig.queued, SIG_QUEUE_MAX, s.pending, s.shared_pending,
		    s.blocked, s.ignored, s.caught);
	proc_printf(text,
		    "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n"
		    "CapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n",
		    0, 0, 0, 0, 0, s.no_new_privs);
	proc_printf(text,
		    "Cpus_allowed:\t%" PRIx64 "\nCpus_allowed_list:\t0-%u\nMems_allowed:\t1\n"
		    "Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\n"
		    "nonvoluntary_ctxt_switches:\t0\n",
		    cpus >= 64 ? UINT64_MAX : ((uint64_t)1 << cpus) - 1, cpus - 1);
}

/* Ticks from the system's start, which is the process's here, but for a moment. */
void proc_task_stat(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct process *p = vfs->p;
	struct summary s;

	summarise(vfs, entry, &s);
	proc_printf(text, "%d (%s) R %d %d %d 0 -1 4194304 0 0 0 0 ", entry->tid, s.name,
		    PROCESS_PPID, PROCESS_PID, PROCESS_PPID);
	proc_printf(text, "%" PRIu64 " %" PRIu64 " 0 0 20 0 %u 0 %" PRIu64 " ", s.user_ticks,
		    s.system_ticks, s.ntasks, s.start_ticks);
	proc_printf(text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " 0 0 %" PRIu64 " 0 0 ", s.total,
		    s.resident / PAGE_SIZE, limits_soft(p, RLIMIT_RSS), p->mm.stack_top);
	proc_printf(text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " ",
		    s.pending & 0x7fffffff, s.blocked & 0x7fffffff, s.ignored & 0x7fffffff,
		    s.caught & 0x7fffffff);
	proc_printf(text,
		    "0 0 0 17 0 0 0 0 0 0 0 0 %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		    " %" PRIu64 " 0\n",
		    p->mm.brk_start, p->mm.arg_start, p->mm.arg_end, p->mm.env_start,
		    p->mm.env_end);
}

void proc_statm(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct summary s;

	summarise(vfs, entry, &s);
	proc_printf(text, "%" PRIu64 " %" PRIu64 " 0 0 0 %" PRIu64 " 0\n", s.total / PAGE_SIZE,
		    s.resident / PAGE_SIZE, s.resident / PAGE_SIZE);
}

void proc_comm(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct summary s;

	summarise(vfs, entry, &s);
	proc_printf(text, "%s\n", s.name);
}

/* --- limits ------------------------------------------------------------------------------- */

static void limit_value(struct proc_text *text, rlim_t limit)
{
	if (limit == RLIM_INFINITY)
		proc_printf(text, "%-20s ", "unlimited");
	else
		proc_printf(text, "%-20ju ", (uintmax_t)limit);
}

void proc_limits(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	/* In the order of RLIMIT_ numbers, as fs/proc/base.c has them. */
	static const struct {
		const char *name, *unit;
	} names[RLIM_NLIMITS] = {
		[RLIMIT_CPU] = {"Max cpu time", "seconds"},
		[RLIMIT_FSIZE] = {"Max file size", "bytes"},
		[RLIMIT_DATA] = {"Max data size", "bytes"},
		[RLIMIT_STACK] = {"Max stack size", "bytes"},
		[RLIMIT_CORE] = {"Max core file size", "bytes"},
		[RLIMIT_RSS] = {"Max resident set", "bytes"},
		[RLIMIT_NPROC] = {"Max processes", "processes"},
		[RLIMIT_NOFILE] = {"Max open files", "files"},
		[RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
		[RLIMIT_AS] = {"Max address space", "bytes"},
		[RLIMIT_LOCKS] = {"Max file locks", "locks"},
		[RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
		[RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
		[RLIMIT_NICE] = {"Max nice priority", ""},
		[RLIMIT_RTPRIO] = {"Max realtime priority", ""},
		[RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
	};
	struct rlimit limits[RLIM_NLIMITS];

	(void)entry;
	pthread_mutex_lock(&vfs->p->tasks_lock);
	memcpy(limits, vfs->p->rlimits, sizeof(limits));
	pthread_mutex_unlock(&vfs->p->tasks_lock);
	proc_printf(text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit",
		    "Units");
	for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
		proc_printf(text, "%-25s ", names[i].name);
		limit_value(text, limits[i].rlim_cur);
		limit_value(text, limits[i].rlim_max);
		proc_printf(text, "%-10s\n", names[i].unit);
	}
}

/* --- Mounts ------------------------------------------------------------------------------- */

static const char *kind_name(enum vfs_mount_kind kind)
{
	switch (kind) {
	case VFS_HOST:
		return "mayfly";
	case VFS_OVERLAY:
		return "overlay";
	case VFS_MEMORY:
		return "tmpfs";
	case VFS_DEV:
		return "devtmpfs";
	case VFS_PROC:
		return "proc";
	}
	return "none";
}

/* Blanks and the like as octal: fs/proc_namespace.c. */
static void mangled(struct proc_text *text, const char *path)
{
	if (!*path)
		proc_printf(text, "/");
	for (; *path; path++) {
		if (strchr(" \t\n\\#", *path))
			proc_printf(text, "\\%03o", (unsigned char)*path);
		else
			proc_bytes(text, path, 1);
	}
}

/* Of those with the same place only the last is seen; the first root is not seen any more. */
static bool is_covered(const struct vfs *vfs, const struct vfs_mount *m)
{
	const struct vfs_mount *c = m->parent ? m->parent->children : vfs->root;

	while (c && m->parent && strcmp(c->guest, m->guest) != 0)
		c = c->next;
	return c != m;
}

void proc_mounts(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	for (size_t i = 0; i < vfs->nmounts; i++) {
		const struct vfs_mount *m = vfs->mounts[i];

		if (is_covered(vfs, m))
			continue;
		proc_printf(text, "%s ", kind_name(m->kind));
		mangled(text, m->guest);
		proc_printf(text, " %s %s,nosuid,nodev 0 0\n", kind_name(m->kind),
			    m->writable ? "rw" : "ro");
	}
}

void proc_mountinfo(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	for (size_t i = 0; i < vfs->nmounts; i++) {
		const struct vfs_mount *m = vfs->mounts[i];

		if (is_covered(vfs, m))
			continue;
		proc_printf(text, "%u %u %u:%u / ", m->id, m->parent ? m->parent->id : 0,
			    major(m->dev), minor(m->dev));
		mangled(text, m->guest);
		proc_printf(text, " %s,nosuid,nodev - %s %s %s\n", m->writable ? "rw" : "ro",
			    kind_name(m->kind), kind_name(m->kind), m->writable ? "rw" : "ro");
	}
}

/* --- Links, fdinfo ------------------------------------------------------------------------ */

void proc_cwd(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	char path[VFS_PATH_MAX];

	(void)entry;
	proc_printf(text, "%s", vfs_getcwd(vfs, path) > 0 ? path : "/ (deleted)");
}

void proc_exe(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	proc_printf(text, "%s", vfs->p->exe ? vfs->p->exe : "");
}

void proc_cgroup(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)vfs;
	(void)entry;
	proc_printf(text, "0::/\n");
}

void proc_fdinfo(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	struct file *file = files_get_any(&vfs->p->files, entry->fd);
	struct stat st = {0};
	off_t at = 0;

	if (!file)
		return;
	if (file->kind == FILE_DIRECTORY)
		at = (off_t)vfs_seek(file, 0, SEEK_CUR);
	else if (file->fd >= 0 && file->kind != FILE_PATH)
		at = lseek(file->fd, 0, SEEK_CUR);
	(void)vfs_fstat(vfs, file, &st);
	proc_printf(text, "pos:\t%jd\nflags:\t0%o\nmnt_id:\t%u\nino:\t%ju\n",
		    (intmax_t)(at < 0 ? 0 : at), (unsigned)file_flags(file),
		    file->dir ? file->dir->mount->id : 0, (uintmax_t)st.st_ino);
	file_put(file);
}
