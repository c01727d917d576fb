/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc, of the guest: its one process, its tasks, and what it is to know of the system. There
 * are no nodes: what a path means is found each time. A file's contents are written when it is
 * opened.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "linux/vfs_internal.h"

#define TEXT_MAX ((size_t)64 << 20)

static void self_link(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)vfs;
	(void)entry;
	proc_printf(text, "%d", PROCESS_PID);
}

/* The task on whose thread this runs. */
static int current_tid(struct vfs *vfs)
{
	struct process *p = vfs->p;
	int tid = PROCESS_PID;

	pthread_mutex_lock(&p->tasks_lock);
	for (const struct task *t = p->tasks; t; t = t->next)
		if (pthread_equal(t->host, pthread_self()))
			tid = t->tid;
	pthread_mutex_unlock(&p->tasks_lock);
	return tid;
}

static void thread_self_link(struct vfs *vfs, struct proc_text *text,
			     const struct proc_entry *entry)
{
	(void)entry;
	proc_printf(text, "%d/task/%d", PROCESS_PID, current_tid(vfs));
}

#define TEXT_RENDER(name, string)                                                              \
	static void name(struct vfs *vfs, struct proc_text *text,                              \
			 const struct proc_entry *entry)                                       \
	{                                                                                      \
		(void)vfs;                                                                     \
		(void)entry;                                                                   \
		proc_printf(text, "%s", string);                                               \
	}

#define DIGITS_(number) #number
#define DIGITS(number) DIGITS_(number)

TEXT_RENDER(root_link, "/")
TEXT_RENDER(mounts_link, "self/mounts")
TEXT_RENDER(zero_file, "0\n")
TEXT_RENDER(osrelease_file, PROC_OSRELEASE "\n")
TEXT_RENDER(ostype_file, "Linux\n")
TEXT_RENDER(osversion_file, PROC_OSVERSION "\n")
TEXT_RENDER(domainname_file, "(none)\n")
TEXT_RENDER(pid_max_file, DIGITS(PROC_PID_MAX) "\n")
TEXT_RENDER(max_map_count_file, DIGITS(MM_MAX_AREAS) "\n")
TEXT_RENDER(cap_last_cap_file, "40\n") /* CAP_CHECKPOINT_RESTORE */
TEXT_RENDER(ngroups_max_file, "65536\n")
TEXT_RENDER(somaxconn_file, "4096\n") /* Linux's defaults, here and below */
TEXT_RENDER(pipe_max_file, "1048576\n")
TEXT_RENDER(file_max_file, "1048576\n")

static const struct proc_name system_names[] = {
	{"", PROC_DIR, NULL},
	{"cpuinfo", PROC_FILE, proc_cpuinfo},
	{"filesystems", PROC_FILE, proc_filesystems},
	{"loadavg", PROC_FILE, proc_loadavg},
	{"meminfo", PROC_FILE, proc_meminfo},
	{"mounts", PROC_LINK, mounts_link},
	{"self", PROC_LINK, self_link},
	{"stat", PROC_FILE, proc_system_stat},
	{"sys", PROC_DIR, NULL},
	{"sys/fs", PROC_DIR, NULL},
	{"sys/fs/file-max", PROC_FILE, file_max_file},
	{"sys/fs/nr_open", PROC_FILE, file_max_file},
	{"sys/fs/pipe-max-size", PROC_FILE, pipe_max_file},
	{"sys/kernel", PROC_DIR, NULL},
	{"sys/kernel/cap_last_cap", PROC_FILE, cap_last_cap_file},
	{"sys/kernel/domainname", PROC_FILE, domainname_file},
	{"sys/kernel/hostname", PROC_FILE, proc_hostname},
	{"sys/kernel/ngroups_max", PROC_FILE, ngroups_max_file},
	{"sys/kernel/osrelease", PROC_FILE, osrelease_file},
	{"sys/kernel/ostype", PROC_FILE, ostype_file},
	{"sys/kernel/pid_max", PROC_FILE, pid_max_file},
	{"sys/kernel/random", PROC_DIR, NULL},
	{"sys/kernel/random/boot_id", PROC_FILE, proc_boot_id},
	{"sys/kernel/random/uuid", PROC_FILE, proc_uuid},
	{"sys/kernel/threads-max", PROC_FILE, pid_max_file},
	{"sys/kernel/version", PROC_FILE, osversion_file},
	{"sys/net", PROC_DIR, NULL},
	{"sys/net/core", PROC_DIR, NULL},
	{"sys/net/core/somaxconn", PROC_FILE, somaxconn_file},
	{"sys/vm", PROC_DIR, NULL},
	{"sys/vm/max_map_count", PROC_FILE, max_map_count_file},
	{"sys/vm/overcommit_memory", PROC_FILE, zero_file},
	{"thread-self", PROC_LINK, thread_self_link},
	{"uptime", PROC_FILE, proc_uptime},
	{"version", PROC_FILE, proc_version},
};

static const struct proc_name task_names[] = {
	{"", PROC_DIR, NULL},
	{"auxv", PROC_FILE, proc_auxv},
	{"cgroup", PROC_FILE, proc_cgroup},
	{"cmdline", PROC_FILE, proc_cmdline},
	{"comm", PROC_FILE, proc_comm},
	{"cwd", PROC_LINK, proc_cwd},
	{"environ", PROC_FILE, proc_environ},
	{"exe", PROC_LINK, proc_exe},
	{"fd", PROC_DIR, NULL},
	{"fdinfo", PROC_DIR, NULL},
	{"limits", PROC_FILE, proc_limits},
	{"maps", PROC_FILE, proc_maps},
	{"mountinfo", PROC_FILE, proc_mountinfo},
	{"mounts", PROC_FILE, proc_mounts},
	{"oom_score", PROC_FILE, zero_file},
	{"oom_score_adj", PROC_FILE, zero_file},
	{"root", PROC_LINK, root_link},
	{"stat", PROC_FILE, proc_task_stat},
	{"statm", PROC_FILE, proc_statm},
	{"status", PROC_FILE, proc_status},
	{"task", PROC_DIR, NULL},
};

/* Names that stand for descriptors. */
static const struct proc_name fd_name = {"fd", PROC_FD, NULL};
static const struct proc_name fdinfo_name = {"fdinfo", PROC_FILE, proc_fdinfo};

static mode_t entry_mode(enum proc_type type)
{
	switch (type) {
	case PROC_DIR:
		return 0555;
	case PROC_FILE:
		return 0444;
	default:
		return 0777;
	}
}

/* Below a file there is nothing: -ENOTDIR. */
static int find_in(const struct proc_name *names, size_t n, const char *path,
		   struct proc_entry *entry)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i].path);

		if (strcmp(names[i].path, path) == 0) {
			entry->name = &names[i];
			entry->type = names[i].type;
			entry->mode = entry_mode(entry->type);
			return 0;
		}
		if (names[i].type == PROC_FILE && strncmp(names[i].path, path, len) == 0 &&
		    path[len] == '/')
			return -ENOTDIR;
	}
	return -ENOENT;
}

/* A number without leading zeros, at the start of *path, which moves behind it and a slash. */
static bool take_number(const char **path, uint32_t *number)
{
	const char *s = *path;
	uint64_t n = 0;

	if (!isdigit((unsigned char)*s) || (*s == '0' && isdigit((unsigned char)s[1])))
		return false;
	while (isdigit((unsigned char)*s) && n <= INT32_MAX)
		n = n * 10 + (uint64_t)(*s++ - '0');
	if ((*s != '/' && *s != '\0') || n > INT32_MAX)
		return false;
	*number = (uint32_t)n;
	*path = *s ? s + 1 : s;
	return true;
}

static bool is_task(struct vfs *vfs, int tid)
{
	struct process *p = vfs->p;
	bool found;

	if (tid == PROCESS_PID)
		return true;
	pthread_mutex_lock(&p->tasks_lock);
	found = process_task(p, tid) != NULL;
	pthread_mutex_unlock(&p->tasks_lock);
	return found;
}

/* fd/N and fdinfo/N. */
static int find_fd(struct vfs *vfs, const char *path, bool info, struct proc_entry *entry)
{
	struct file *file;

	if (!take_number(&path, &entry->fd))
		return -ENOENT;
	file = files_get_any(&vfs->p->files, entry->fd);
	if (!file)
		return -ENOENT;
	entry->name = info ? &fdinfo_name : &fd_name;
	entry->type = entry->name->type;
	/* As the kernel shows them: what may be done with the descriptor. */
	entry->mode = info ? 0444
			   : 0100 | (file_readable(file) ? 0400 : 0) |
				      (file_writable(file) ? 0200 : 0);
	file_put(file);
	return *path ? -ENOTDIR : 0;
}

static int find_of_task(struct vfs *vfs, const char *path, struct proc_entry *entry)
{
	uint32_t tid;

	entry->of_task = true;
	if (strncmp(path, "task/", 5) == 0 && !entry->in_group) {
		path += 5;
		if (!take_number(&path, &tid) || !is_task(vfs, (int)tid))
			return -ENOENT;
		entry->tid = (int)tid;
		entry->in_group = true;
		return find_of_task(vfs, path, entry);
	}
	if (strncmp(path, "fd/", 3) == 0)
		return find_fd(vfs, path + 3, false, entry);
	if (strncmp(path, "fdinfo/", 7) == 0)
		return find_fd(vfs, path + 7, true, entry);
	if (entry->in_group && strcmp(path, "task") == 0)
		return -ENOENT;
	return find_in(task_names, ARRAY_SIZE(task_names), path, entry);
}

int proc_find(struct vfs *vfs, const char *path, struct proc_entry *entry)
{
	uint32_t pid;

	memset(entry, 0, sizeof(*entry));
	if (!vfs->p)
		return -ENOENT;
	if (!take_number(&path, &pid))
		return find_in(system_names, ARRAY_SIZE(system_names), path, entry);
	if (!is_task(vfs, (int)pid))
		return -ENOENT;
	entry->tid = (int)pid;
	return find_of_task(vfs, path, entry);
}

static uint64_t path_ino(const char *path)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (; *path; path++)
		h = (h ^ (uint8_t)*path) * 0x100000001b3;
	return (h & 0xffffffff) | 1;
}

void proc_stat(struct vfs *vfs, const char *path, const struct proc_entry *entry,
	       struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = path_ino(path);
	st->st_mode = entry->mode | (entry->type == PROC_DIR	? S_IFDIR
				     : entry->type == PROC_FILE ? S_IFREG
								: S_IFLNK);
	st->st_nlink = entry->type == PROC_DIR ? 2 : 1;
	st->st_uid = entry->of_task ? vfs->p->uid : 0;
	st->st_gid = entry->of_task ? vfs->p->gid : 0;
	st->st_size = entry->type == PROC_FD ? 64 : 0;
	st->st_blksize = 1024;
	clock_gettime(CLOCK_REALTIME, &st->st_mtim);
	st->st_atim = st->st_ctim = st->st_mtim;
}

/* --- Listings ----------------------------------------------------------------------------- */

static int list_number(struct vfs_list *list, uint32_t number, unsigned char type)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	return vfs_list_add(list, name, (uint64_t)number + 1, type);
}

static int list_names(struct vfs_list *list, const struct proc_name *names, size_t n,
		      const struct proc_entry *dir)
{
	size_t len = strlen(dir->name->path);

	for (size_t i = 1; i < n; i++) {
		const char *name = names[i].path + (len ? len + 1 : 0);

		if (strncmp(names[i].path, dir->name->path, len) != 0 ||
		    strlen(names[i].path) <= len || (len && names[i].path[len] != '/') ||
		    strchr(name, '/') || (dir->in_group && strcmp(name, "task") == 0))
			continue;
		if (vfs_list_add(list, name, path_ino(names[i].path),
				 names[i].type == PROC_DIR    ? DT_DIR
				 : names[i].type == PROC_FILE ? DT_REG
							      : DT_LNK) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int list_tasks(struct vfs *vfs, struct vfs_list *list)
{
	struct process *p = vfs->p;
	int r = 0;

	pthread_mutex_lock(&p->tasks_lock);
	for (const struct task *t = p->tasks; t && r == 0; t = t->next)
		r = list_number(list, (uint32_t)t->tid, DT_DIR);
	pthread_mutex_unlock(&p->tasks_lock);
	return r;
}

static int list_fds(struct vfs *vfs, struct vfs_list *list, unsigned char type)
{
	struct files *files = &vfs->p->files;
	int r = 0;

	pthread_mutex_lock(&files->lock);
	for (uint32_t i = 0; i < files->count && r == 0; i++)
		if (files->slots[i].file)
			r = list_number(list, i, type);
	pthread_mutex_unlock(&files->lock);
	return r;
}

int proc_list(struct vfs *vfs, const struct proc_entry *entry, struct vfs_list *list)
{
	const char *path = entry->name->path;
	int r;

	if (entry->type != PROC_DIR)
		return -ENOTDIR;
	if (!entry->of_task) {
		r = list_names(list, system_names, ARRAY_SIZE(system_names), entry);
		return r == 0 && !path[0] ? list_number(list, PROCESS_PID, DT_DIR) : r;
	}
	if (strcmp(path, "task") == 0)
		return list_tasks(vfs, list);
	if (strcmp(path, "fd") == 0)
		return list_fds(vfs, list, DT_LNK);
	if (strcmp(path, "fdinfo") == 0)
		return list_fds(vfs, list, DT_REG);
	return list_names(list, task_names, ARRAY_SIZE(task_names), entry);
}

/* --- Texts -------------------------------------------------------------------------------- */

struct proc_text {
	struct vfs *vfs;
	char *text;
	size_t len, capacity;
	bool failed;
};

/* Room for `n` more bytes and a NUL. What is being written counts as the guest's. */
static bool text_room(struct proc_text *text, size_t n)
{
	size_t capacity = text->capacity ? text->capacity : 1024;
	char *grown;

	if (text->failed)
		return false;
	while (capacity - text->len <= n && capacity < TEXT_MAX)
		capacity *= 2;
	if (capacity - text->len <= n) {
		text->failed = true;
		return false;
	}
	if (capacity == text->capacity)
		return true;
	if (!vfs_charge(text->vfs, capacity - text->capacity)) {
		text->failed = true;
		return false;
	}
	grown = realloc(text->text, capacity);
	if (!grown) {
		vfs_uncharge(text->vfs, capacity - text->capacity);
		text->failed = true;
		return false;
	}
	text->text = grown;
	text->capacity = capacity;
	return true;
}

void proc_bytes(struct proc_text *text, const void *bytes, size_t len)
{
	if (!text_room(text, len))
		return;
	memcpy(text->text + text->len, bytes, len);
	text->len += len;
}

void proc_printf(struct proc_text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !text_room(text, (size_t)n))
		return;
	va_start(args, format);
	vsnprintf(text->text + text->len, (size_t)n + 1, format, args);
	va_end(args);
	text->len += (size_t)n;
}

int proc_read(struct vfs *vfs, const struct proc_entry *entry, char **out, size_t *len)
{
	struct proc_text text = {.vfs = vfs};

	if (!entry->name || !entry->name->render)
		return -EINVAL;
	entry->name->render(vfs, &text, entry);
	if (text_room(&text, 0))
		text.text[text.len] = '\0';
	vfs_uncharge(vfs, text.capacity);
	if (text.failed) {
		free(text.text);
		return -ENOMEM;
	}
	*out = text.text;
	*len = text.len;
	return 0;
}
