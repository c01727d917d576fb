/* SPDX-License-Identifier: Apache-2.0 */
/* Making a process: VM, address space, file system, streams, the program itself; and its end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "linux/checkpoint.h"
#include "linux/exec.h"
#include "linux/functions.h"
#include "linux/mm_areas.h"
#include "linux/netpolicy.h"
#include "linux/task.h"
#include "linux/trace.h"

#define DEFAULT_MEMORY ((uint64_t)1 << 30)
#define DEFAULT_FILES 256
#define DEFAULT_THREADS 64
#define MAX_THREADS 200
#define MAX_FILES (1u << 20)
#define MAX_LIMIT_NS ((uint64_t)1 << 62)

/* --- What it sees of the host -------------------------------------------------------------- */

/*
 * MAYFLY_PROCESS_SYSTEM: what installed programs need to start, nothing that is a user's or a
 * secret. What the host does not have is left out.
 */
static const char *const system_paths[] = {
	"/usr",
	"/bin",
	"/sbin",
	"/lib",
	"/lib32",
	"/lib64",
	"/libx32",
	"/etc/alternatives",
	"/etc/passwd", /* names of users, no secrets: those are in shadow */
	"/etc/group",
	"/etc/ld.so.cache",
	"/etc/ld.so.conf",
	"/etc/ld.so.conf.d",
	"/etc/ssl/certs",
	"/etc/ssl/openssl.cnf",
	"/etc/ca-certificates",
	"/etc/localtime",
	"/etc/timezone",
	"/etc/mime.types",
	"/etc/services",
	"/etc/protocols",
	"/etc/magic",
	"/etc/terminfo",
	"/etc/python3",
	"/etc/perl",
	"/etc/fonts",
	"/etc/inputrc",
	"/etc/os-release",
	"/etc/debian_version",
};

static int mount_system(struct process *p, mayfly_error *err)
{
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(system_paths); i++) {
		int r;

		if (lstat(system_paths[i], &st) < 0)
			continue;
		r = vfs_mount(p->vfs, VFS_HOST, system_paths[i], system_paths[i], false, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * What the C libraries look up the names of loopback by, which is there without any grant: hosts(5),
 * and nsswitch.conf(5), without which glibc before 2.35 asks name servers first, and only those.
 */
static const struct {
	const char *path, *text;
} name_files[] = {
	{"/etc/hosts", "127.0.0.1 localhost\n"
		       "::1 localhost ip6-localhost ip6-loopback\n"},
	{"/etc/nsswitch.conf", "hosts: files dns\n"},
};

/* After all that is granted: what that has is not replaced, whatever it is. */
static int mount_name_files(struct process *p, mayfly_error *err)
{
	struct stat st;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(name_files); i++) {
		const char *path = name_files[i].path;

		if (vfs_stat(p->vfs, NULL, path, AT_SYMLINK_NOFOLLOW, &st) == -ENOENT)
			r = vfs_mount_text(p->vfs, name_files[i].text, path, err);
	}
	return r;
}

static bool is_root(const mayfly_grant *grant)
{
	return !strcmp(grant->guest ? grant->guest : grant->host, "/");
}

static int mount_grant(struct process *p, const mayfly_grant *grant, mayfly_error *err)
{
	const char *guest = grant->guest ? grant->guest : grant->host;
	bool overlay = grant->flags & MAYFLY_GRANT_OVERLAY;

	if (!grant->host)
		return fail(err, MAYFLY_E_INVALID, "a grant without a path of the host");
	if (grant->flags & ~(MAYFLY_GRANT_WRITE | MAYFLY_GRANT_OVERLAY))
		return fail(err, MAYFLY_E_INVALID, "the grant of %s: unknown flags 0x%x",
			    grant->host, grant->flags);
	return vfs_mount(p->vfs, overlay ? VFS_OVERLAY : VFS_HOST, grant->host, guest,
			 overlay || (grant->flags & MAYFLY_GRANT_WRITE), err);
}

static int mount_all(struct process *p, const mayfly_process_options *o, mayfly_error *err)
{
	int r = vfs_new(p, &p->vfs, err);

	/* The root first, whatever the order, since it covers what is there. */
	for (size_t i = 0; r == 0 && i < o->ngrants; i++)
		if (o->grants[i].host && is_root(&o->grants[i]))
			r = mount_grant(p, &o->grants[i], err);
	if (r == 0 && (o->flags & MAYFLY_PROCESS_SYSTEM))
		r = mount_system(p, err);
	for (size_t i = 0; r == 0 && i < o->ngrants; i++)
		if (!o->grants[i].host || !is_root(&o->grants[i]))
			r = mount_grant(p, &o->grants[i], err);
	if (r == 0 && (o->flags & MAYFLY_PROCESS_SYSTEM))
		r = mount_name_files(p, err);
	return r;
}

/* --- Streams ------------------------------------------------------------------------------- */

static struct file *open_stream(int fd, int number)
{
	static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
	struct file *file;
	int copy, flags;

	if (fd < 0) {
		copy = open("/dev/null", (number ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
		file = copy < 0 ? NULL
				: file_new(FILE_DEVICE, copy, number ? O_WRONLY : O_RDONLY,
					   names[number]);
		if (file)
			file->standard_input = number == 0;
		return file;
	}
	flags = fcntl(fd, F_GETFL);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (flags < 0 || copy < 0)
		return NULL;
	file = file_new(FILE_STREAM, copy, flags & (O_ACCMODE | O_APPEND), names[number]);
	if (file) {
		file->standard_input = number == 0;
		file->counts_output = number != 0;
	}
	return file;
}

int process_set_streams(struct process *p, const int fds[3], mayfly_error *err)
{
	for (int i = 0; i < 3; i++) {
		struct file *file = open_stream(fds[i], i);
		int r;

		if (!file)
			return fail_errno(err, MAYFLY_E_IO, errno,
					  "standard stream %d (descriptor %d)", i, fds[i]);
		r = files_replace(&p->files, (uint64_t)i, file, false);
		if (r < 0)
			return fail_errno(err, MAYFLY_E_NOMEM, -r, "standard stream %d", i);
	}
	return 0;
}

/* --- Finding the program ------------------------------------------------------------------- */

static const char *path_variable(const char *const *envp)
{
	for (; envp && *envp; envp++)
		if (!strncmp(*envp, "PATH=", 5))
			return *envp + 5;
	return "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
}

static bool is_program(struct process *p, const char *path, bool *found)
{
	struct stat st;

	if (vfs_stat(p->vfs, NULL, path, 0, &st) < 0)
		return false;
	*found = true;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

static int search_path(struct process *p, const char *name, const char *const *envp, char *out,
		       mayfly_error *err)
{
	const char *list = path_variable(envp);
	bool found = false;

	while (*list) {
		size_t len = strcspn(list, ":");

		if (len && len < VFS_PATH_MAX &&
		    snprintf(out, VFS_PATH_MAX, "%.*s/%s", (int)len, list, name) <
			    VFS_PATH_MAX &&
		    is_program(p, out, &found))
			return 0;
		list += len + (list[len] == ':');
	}
	if (found)
		return fail(err, MAYFLY_E_FORMAT, "%s: found, but not executable", name);
	return fail(err, MAYFLY_E_NO_PROGRAM,
		    "%s: no such program in the PATH within what was granted", name);
}

/* Without "." and "..", against the host's current directory. */
static int absolute_on_host(const char *path, char *out, mayfly_error *err)
{
	char joined[2 * VFS_PATH_MAX];
	char cwd[VFS_PATH_MAX] = "";
	size_t len = 0;

	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return fail_errno(err, MAYFLY_E_IO, errno, "the current directory");
	if (snprintf(joined, sizeof(joined), "%s/%s", cwd, path) >= VFS_PATH_MAX)
		return fail_errno(err, MAYFLY_E_INVALID, ENAMETOOLONG, "%s", path);
	for (char *at = joined; *at;) {
		size_t n;

		at += strspn(at, "/");
		n = strcspn(at, "/");
		if (n == 2 && at[0] == '.' && at[1] == '.') {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && at[0] == '.')) {
			out[len++] = '/';
			memcpy(out + len, at, n);
			len += n;
		}
		at += n;
	}
	out[len] = '\0';
	return 0;
}

/*
 * A path: in the guest, if it is there; else the host's file of that name, which is then granted,
 * it alone and read-only.
 */
static int take_path(struct process *p, const char *path, char *out, mayfly_error *err)
{
	struct stat st;
	bool found = false;
	int r;

	if (is_program(p, path, &found) || found) {
		if (strlen(path) >= VFS_PATH_MAX)
			return fail_errno(err, MAYFLY_E_INVALID, ENAMETOOLONG, "%s", path);
		snprintf(out, VFS_PATH_MAX, "%s", path);
		return 0;
	}
	r = absolute_on_host(path, out, err);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return fail_errno(err, MAYFLY_E_NO_PROGRAM, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return fail(err, MAYFLY_E_FORMAT, "%s: not a regular file", path);
	return vfs_mount(p->vfs, VFS_HOST, path, out, false, err);
}

static int load_program(struct process *p, const mayfly_process_options *o, mayfly_error *err)
{
	char path[VFS_PATH_MAX];
	struct task *t;
	int r;

	if (!o->program[0])
		return fail(err, MAYFLY_E_INVALID, "the program's name is empty");
	if (o->cwd && vfs_chdir(p->vfs, o->cwd) < 0)
		return fail(err, MAYFLY_E_INVALID, "the directory %s is not there in the guest",
			    o->cwd);
	if (strchr(o->program, '/'))
		r = take_path(p, o->program, path, err);
	else
		r = search_path(p, o->program, o->envp, path, err);
	if (r < 0)
		return r;
	if (task_new(p, 0, &t, err) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no room for the program's first thread");
	return exec_load(p, t, path, o->argv, o->envp, err);
}

/* --- All together -------------------------------------------------------------------------- */

static int check_options(const mayfly_process_options *o, mayfly_error *err)
{
	const uint32_t known = MAYFLY_PROCESS_SYSTEM | MAYFLY_PROCESS_TRACE |
			       MAYFLY_PROCESS_STATS | MAYFLY_PROCESS_RESTORABLE |
			       MAYFLY_PROCESS_FIXED_LAYOUT;

	if (!o->program == !o->snapshot)
		return fail(err, MAYFLY_E_INVALID,
			    "either a program or a snapshot is needed, not both");
	if (o->flags & ~known)
		return fail(err, MAYFLY_E_INVALID, "unknown flags 0x%x", o->flags & ~known);
	if ((o->flags & MAYFLY_PROCESS_TRACE) && !o->trace_write)
		return fail(err, MAYFLY_E_INVALID, "a trace needs a trace_write");
	if (o->max_threads > MAX_THREADS)
		return fail(err, MAYFLY_E_INVALID, "%u threads; at most %d", o->max_threads,
			    MAX_THREADS);
	if (o->max_files && o->max_files < 3)
		return fail(err, MAYFLY_E_INVALID,
			    "%u descriptors; the standard streams alone are 3", o->max_files);
	if (o->max_files > MAX_FILES)
		return fail(err, MAYFLY_E_INVALID, "%u descriptors; at most %u", o->max_files,
			    MAX_FILES);
	if (o->timeout_ns > MAX_LIMIT_NS || o->cpu_time_ns > MAX_LIMIT_NS)
		return fail(err, MAYFLY_E_INVALID, "a time limit of more than 146 years");
	if ((!o->grants && o->ngrants) || (!o->net && o->nnet) || (!o->publish && o->npublish))
		return fail(err, MAYFLY_E_INVALID, "a count without a list");
	if (o->snapshot && o->envp)
		return fail(err, MAYFLY_E_INVALID,
			    "a snapshot has its environment: envp must be NULL");
	return 0;
}

static void take_options(struct process *p, const mayfly_process_options *o)
{
	p->max_tasks = o->max_threads ? o->max_threads : DEFAULT_THREADS;
	p->timeout_ns = o->timeout_ns;
	p->cpu_limit_ns = o->cpu_time_ns;
	p->max_output = o->max_output;
	p->policy = o->policy;
	p->policy_context = o->policy_context;
	p->notice = o->notice;
	p->notice_context = o->notice_context;
	p->fixed_layout = o->flags & MAYFLY_PROCESS_FIXED_LAYOUT;
	p->restorable = o->flags & MAYFLY_PROCESS_RESTORABLE;
	p->from_snapshot = o->snapshot;
	p->umask = 022;
	p->uid = (uint32_t)geteuid();
	p->gid = (uint32_t)getegid();
	p->next_tid = PROCESS_PID;
	snprintf(p->hostname, sizeof(p->hostname), "mayfly");
	p->started = clock_now();
}

/* A snapshot of nothing, for a guest of so much memory. */
static int empty_snapshot(uint64_t memory, struct mayfly_snapshot **out, mayfly_error *err)
{
	struct snapshot_builder b;
	struct guest *guest;
	int r = program_guest_new(memory, &guest, err);

	if (r < 0)
		return r;
	r = snapshot_builder_init(&b, guest, err);
	if (r == 0)
		r = snapshot_builder_finish(&b, out, err);
	snapshot_builder_fini(&b);
	guest_put(guest);
	return r;
}

static int make_vm(struct process *p, const mayfly_process_options *o, mayfly_error *err)
{
	uint64_t memory = o->memory ? o->memory : DEFAULT_MEMORY;
	struct mayfly_snapshot *snap = mayfly_snapshot_ref(o->snapshot);
	struct cpu_setup setup;
	int r = hv_host(p->hv, &p->host, err);

	if (r == 0 && !snap)
		r = empty_snapshot(memory, &snap, err);
	if (r != 0)
		return r;
	p->guest = guest_get(snap->guest);
	p->syscall_ring0 = p->host->ring0_native;
	setup = program_cpu_setup(p->guest, 0, p->host);
	p->inst.logs = p->restorable;
	r = instance_new(p->hv, snap, &setup, &p->inst, err);
	mayfly_snapshot_unref(snap);
	if (r < 0)
		return r;
	p->vcpus[0] = p->inst.vcpu;
	if (!o->memory || o->memory > ((struct program_guest *)p->guest)->memory)
		memory = ((struct program_guest *)p->guest)->memory;
	r = mm_init(&p->mm, &p->inst, memory, err);
	if (r < 0)
		return r;
	if (o->snapshot && mm_track(&p->mm) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no memory for an address space");
	p->mm.tables_used = program_build_tables(p->guest, p->mm.base);
	vdso_clock_init(&p->clock);
	vdso_clock_start(&p->clock, (struct vvar *)(void *)(p->mm.base + PROG_VVAR_GPA),
			 p->host->host_tsc, process_cpus(p), 0);
	return 0;
}

/*
 * What is granted is found once: the program may have write access where the path leads along,
 * and would have the next life be granted something else. NULL: no memory.
 */
static char *keep_root(struct process *p, const char *host)
{
	int fd = open(host, O_PATH | O_CLOEXEC);
	char path[32];

	p->kept.roots[p->kept.ngrants] = fd;
	if (fd < 0)
		return strdup(host); /* mount_grant() complains */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return strdup(path);
}

/* What the surroundings are made of again at each restore. */
static int keep_grants(struct process *p, const mayfly_process_options *o, mayfly_error *err)
{
	p->kept.flags = o->flags;
	p->kept.max_files = o->max_files;
	p->kept.grants = calloc(o->ngrants + 1, sizeof(*p->kept.grants));
	p->kept.roots = calloc(o->ngrants + 1, sizeof(*p->kept.roots));
	if (!p->kept.grants || !p->kept.roots)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	for (size_t i = 0; i < o->ngrants; i++) {
		const mayfly_grant *from = &o->grants[i];
		mayfly_grant *to = &p->kept.grants[p->kept.ngrants];

		if (!from->host)
			continue; /* mount_grant() complains */
		to->host = keep_root(p, from->host);
		to->guest = strdup(from->guest ? from->guest : from->host);
		to->flags = from->flags;
		p->kept.ngrants++;
		if (!to->host || !to->guest)
			return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	}
	return 0;
}

/* What was given with the snapshot is given with each restore. */
static int keep_arguments(struct process *p, const char *const *argv, mayfly_error *err)
{
	size_t count = 0;

	while (argv && argv[count])
		count++;
	if (!count)
		return 0;
	p->kept.argv = calloc(count + 1, sizeof(*p->kept.argv));
	for (size_t i = 0; p->kept.argv && i < count; i++) {
		p->kept.argv[i] = strdup(argv[i]);
		if (!p->kept.argv[i])
			return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	}
	return p->kept.argv ? 0 : fail(err, MAYFLY_E_NOMEM, "no memory for a process");
}

static void free_kept(struct process *p)
{
	for (char **arg = p->kept.argv; arg && *arg; arg++)
		free(*arg);
	free(p->kept.argv);
	for (size_t i = 0; i < p->kept.ngrants; i++) {
		free((char *)(uintptr_t)p->kept.grants[i].host);
		free((char *)(uintptr_t)p->kept.grants[i].guest);
		if (p->kept.roots[i] >= 0)
			close(p->kept.roots[i]);
	}
	free(p->kept.roots);
	free(p->kept.grants);
}

static int make_surroundings(struct process *p, const mayfly_process_options *o,
			     mayfly_error *err)
{
	int streams[3] = {-1, -1, -1};
	bool lines = o->flags & MAYFLY_PROCESS_TRACE;
	int r;

	if (files_init(&p->files, o->max_files ? o->max_files : DEFAULT_FILES) < 0 ||
	    signals_init(p) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	limits_init(p);
	if (lines || (o->flags & MAYFLY_PROCESS_STATS)) {
		p->trace = trace_new(lines, o->trace_write, o->trace_context);
		if (!p->trace)
			return fail(err, MAYFLY_E_NOMEM, "no memory for a trace");
	}
	if (o->nnet || o->npublish) {
		r = netpolicy_new(o->net, o->nnet, o->publish, o->npublish, &p->net, err);
		if (r < 0)
			return r;
	}
	r = p->restorable ? keep_grants(p, o, err) : 0;
	if (r == 0 && p->restorable && o->snapshot)
		r = keep_arguments(p, o->argv, err);
	if (r == 0)
		r = mount_all(p, o, err);
	if (r < 0)
		return r;
	if (o->streams) {
		streams[0] = o->stdin_fd;
		streams[1] = o->stdout_fd;
		streams[2] = o->stderr_fd;
	}
	return process_set_streams(p, streams, err);
}

static void free_surroundings(struct process *p)
{
	/* Files may be memfs's, which is the vfs's, and are charged to the address space. */
	if (p->files.slots)
		files_fini(&p->files);
	signals_reset(p);
	vfs_free(p->vfs);
	p->vfs = NULL;
}

int process_renew(struct process *p, const int fds[3], mayfly_error *err)
{
	const mayfly_process_options o = {
		.flags = p->kept.flags, .grants = p->kept.grants, .ngrants = p->kept.ngrants};
	int r;

	/* What only messages or mappings hold is charged, and watched, as other files are: first. */
	sockets_end(p);
	mm_forget_areas(&p->mm);
	free_surroundings(p);
	memset(&p->files, 0, sizeof(p->files));
	p->mm.peak = atomic_load(&p->mm.charged);
	p->attr = (struct process_attr){.personality = 0};
	p->wall_used = 0;
	p->ended_cpu_ns = 0;
	p->ended_user_ns = 0;
	p->ended_syscalls = 0;
	p->noticed = 0;
	atomic_store(&p->output, 0);
	p->interrupted = false;
	if (files_init(&p->files, p->kept.max_files ? p->kept.max_files : DEFAULT_FILES) < 0)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	limits_init(p);
	r = mount_all(p, &o, err);
	return r < 0 ? r : process_set_streams(p, fds, err);
}

int process_new(const struct hv_backend *hv, const mayfly_process_options *options,
		struct process **out, mayfly_error *err)
{
	struct process *p;
	int r = check_options(options, err);

	if (r == 0 && options->snapshot &&
	    options->snapshot->guest->kind != &program_guest_kind)
		r = fail(err, MAYFLY_E_INVALID,
			 "the snapshot is not one of a program: use mayfly_sandbox_new()");
	if (r < 0)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a process");
	p->hv = hv;
	pthread_mutex_init(&p->owners_lock, NULL);
	pthread_mutex_init(&p->tasks_lock, NULL);
	pthread_cond_init(&p->tasks_changed, NULL);
	take_options(p, options);
	r = make_vm(p, options, err);
	if (r == 0)
		r = make_surroundings(p, options, err);
	if (r == 0)
		r = options->snapshot
			    ? checkpoint_load(p, options->snapshot, options->argv, err)
			    : load_program(p, options, err);
	if (r < 0) {
		process_free(p);
		return r;
	}
	*out = p;
	return 0;
}

void process_free(struct process *p)
{
	if (!p)
		return;
	functions_fini(p);
	while (p->tasks)
		task_free(p->tasks);
	sockets_end(p);
	free_surroundings(p);
	signals_fini(p);
	free_kept(p);
	netpolicy_free(p->net);
	for (uint32_t n = 1; n < PROG_MAX_VCPUS; n++)
		hv_vcpu_free(p->vcpus[n]);
	populate_stop(&p->populate);
	mm_fini(&p->mm);
	if (p->guest)
		vdso_clock_fini(&p->clock);
	instance_fini(&p->inst);
	guest_put(p->guest);
	trace_free(p->trace);
	free(p->exe);
	pthread_cond_destroy(&p->tasks_changed);
	pthread_mutex_destroy(&p->tasks_lock);
	pthread_mutex_destroy(&p->owners_lock);
	free(p);
}
