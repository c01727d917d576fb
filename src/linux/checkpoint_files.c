/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process has open, as bytes and back. Files are opened again by their guest paths, within
 * what the new process was granted, and must still be the same; pipes, events and timers are made
 * anew with what they held.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "linux/checkpoint.h"
#include "core/codec.h"
#include "linux/process.h"

/* Descriptors are counted before anything is made of a number in the file. */
#define MAX_OPEN (1u << 20)
#define MAX_PIPE ((uint64_t)PIPE_SIZE_MAX)
/* Flags that say how it was opened, not how it is. */
#define OPENING (O_CREAT | O_EXCL | O_TRUNC)

struct table {
	struct file **files; /* unique; borrowed when saving, counted when loading */
	uint32_t count;
};

/* What a regular file is. */
enum { FORM_NAMED, FORM_UNNAMED, FORM_SAME /* as another, opened once more */ };

/* --- Saving ------------------------------------------------------------------------------- */

static uint32_t index_of(const struct table *table, const struct file *file)
{
	for (uint32_t i = 0; i < table->count; i++)
		if (table->files[i] == file)
			return i;
	return UINT32_MAX;
}

static int cannot(mayfly_error *err, const struct file *file, const char *why)
{
	return fail(err, MAYFLY_E_INVALID, "a snapshot cannot keep %s: %s",
		    file->path ? file->path : "a descriptor", why);
}

/* The place in the table of one before `file` that is open on the same node. */
static uint32_t earlier_of(const struct table *table, const struct file *file)
{
	for (uint32_t i = 0; i < table->count && table->files[i] != file; i++)
		if (table->files[i]->kind == FILE_REGULAR &&
		    table->files[i]->node == file->node)
			return i;
	return UINT32_MAX;
}

static int save_unnamed(const struct table *table, struct file *file, struct writer *w,
			mayfly_error *err)
{
	uint32_t earlier = earlier_of(table, file);
	int r;

	if (earlier != UINT32_MAX) {
		put_u64(w, FORM_SAME);
		put_u64(w, earlier);
		return 0;
	}
	put_u64(w, FORM_UNNAMED);
	r = vfs_save_unnamed(file, w);
	if (r == -ENOMEM)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	return r < 0 ? cannot(err, file, "what it holds cannot be read") : 0;
}

static int save_regular(struct process *p, const struct table *table, struct file *file,
			struct writer *w, mayfly_error *err)
{
	struct stat now, named;

	put_u64(w, (uint64_t)lseek(file->fd, 0, SEEK_CUR));
	if (vfs_is_unnamed(file))
		return save_unnamed(table, file, w, err);
	put_u64(w, FORM_NAMED);
	if (vfs_fstat(p->vfs, file, &now) < 0)
		return cannot(err, file, "what it is cannot be told");
	if (vfs_stat(p->vfs, NULL, file->path, 0, &named) < 0 ||
	    (named.st_ino != now.st_ino && strncmp(file->path, "/proc/", 6) != 0))
		return cannot(err, file, "the file was removed or renamed while it is open");
	put_u64(w, now.st_ino);
	put_u64(w, (uint64_t)now.st_size);
	put_u64(w, (uint64_t)now.st_mtim.tv_sec);
	put_u64(w, (uint64_t)now.st_mtim.tv_nsec);
	return 0;
}

/* A copy of what waits in a pipe: tee(2) into one of our own leaves it where it is. */
static bool copy_waiting(int fd, uint8_t *data, size_t waiting)
{
	ssize_t n = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	fcntl(fds[1], F_SETPIPE_SZ, (int)waiting);
	n = tee(fd, fds[1], waiting, SPLICE_F_NONBLOCK);
	if (n == (ssize_t)waiting)
		n = read(fds[0], data, waiting);
	close(fds[0]);
	close(fds[1]);
	return n == (ssize_t)waiting;
}

static int save_pipe(const struct file *file, struct writer *w, mayfly_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	int waiting = 0, size = fcntl(file->fd, F_GETPIPE_SZ);

	if (!file->inode)
		return cannot(err, file, "it is a pipe with a name");
	if (ioctl(file->fd, FIONREAD, &waiting) < 0 || waiting < 0)
		return cannot(err, file, "what waits in it cannot be told");
	/* Once is enough. */
	if (!file_readable(file))
		waiting = 0;
	put_u64(w, file->inode);
	put_u64(w, size > 0 ? (uint64_t)size : 0);
	put_u64(w, (uint64_t)waiting);
	if (!waiting)
		return 0;
	data = malloc((size_t)waiting);
	if (!data)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	if (!copy_waiting(file->fd, data, (size_t)waiting))
		return cannot(err, file, "what waits in it cannot be copied");
	put_bytes(w, data, (size_t)waiting);
	return 0;
}

/*
 * Its value, which cannot be read without changing it (eventfd(2)), of a semaphore not even
 * quickly: the kernel tells it in /proc (proc(5), fdinfo).
 */
static bool event_value(int fd, uint64_t *value)
{
	static const char label[] = "eventfd-count:";
	char path[48], text[512];
	const char *at;
	ssize_t n;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return false;
	n = read(info, text, sizeof(text) - 1);
	close(info);
	if (n < 0)
		return false;
	text[n] = '\0';
	at = strstr(text, label);
	if (at)
		*value = strtoull(at + sizeof(label) - 1, NULL, 16);
	return at != NULL;
}

static int save_event(const struct file *file, struct writer *w, mayfly_error *err)
{
	uint64_t value;

	if (!event_value(file->fd, &value))
		return cannot(err, file, "the host does not tell its value");
	put_u64(w, value);
	put_u64(w, (uint64_t)file->type);
	return 0;
}

static int save_timer(const struct file *file, struct writer *w, mayfly_error *err)
{
	struct pollfd poll_fd = {.fd = file->fd, .events = POLLIN};
	struct itimerspec left;

	if (timerfd_gettime(file->fd, &left) < 0)
		return cannot(err, file, "its time cannot be told");
	put_u64(w, (uint64_t)file->type);
	/* It went off, and nobody has read how often. */
	put_u64(w, poll(&poll_fd, 1, 0) == 1);
	put_bytes(w, &left, sizeof(left));
	return 0;
}

struct watching {
	const struct table *table;
	struct writer *w;
	uint64_t count;
};

static int count_watch(void *context, const struct epoll_watch_info *info)
{
	struct watching *c = context;

	(void)info;
	c->count++;
	return 0;
}

static int save_watch(void *context, const struct epoll_watch_info *info)
{
	struct watching *c = context;

	put_u64(c->w, (uint64_t)info->fd);
	put_u64(c->w, index_of(c->table, info->file));
	put_u64(c->w, info->events);
	put_u64(c->w, info->data);
	return 0;
}

static int save_file(struct process *p, const struct table *table, struct file *file,
		     struct writer *w, mayfly_error *err)
{
	struct watching c = {table, w, 0};

	put_u64(w, file->kind);
	put_u64(w, (uint64_t)(uint32_t)file->flags);
	put_string(w, file->path);
	switch (file->kind) {
	case FILE_REGULAR:
		return save_regular(p, table, file, w, err);
	case FILE_DIRECTORY:
		put_u64(w, (uint64_t)vfs_seek(file, 0, SEEK_CUR));
		return 0;
	case FILE_STREAM:
	case FILE_DEVICE:
	case FILE_PATH:
		return 0;
	case FILE_PIPE:
		return save_pipe(file, w, err);
	case FILE_EVENT:
		return save_event(file, w, err);
	case FILE_TIMER:
		return save_timer(file, w, err);
	case FILE_SIGNAL:
		put_u64(w, file->sigmask);
		return 0;
	case FILE_EPOLL:
		epoll_each(file, count_watch, &c);
		put_u64(w, c.count);
		epoll_each(file, save_watch, &c);
		return 0;
	case FILE_SOCKET:
		return checkpoint_save_socket(file, w, err);
	}
	return cannot(err, file, "its kind is unknown");
}

int checkpoint_save_files(struct process *p, struct writer *w, mayfly_error *err)
{
	struct files *files = &p->files;
	_cleanup_free_ struct file **unique = calloc(files->count + 1, sizeof(struct file *));
	struct table table = {.files = unique};
	int r = 0;

	if (!unique)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	for (uint32_t fd = 0; fd < files->count; fd++) {
		struct file *file = files->slots[fd].file;

		if (file && index_of(&table, file) == UINT32_MAX)
			unique[table.count++] = file;
	}
	put_u64(w, table.count);
	for (uint32_t i = 0; r == 0 && i < table.count; i++)
		r = save_file(p, &table, unique[i], w, err);
	put_u64(w, files->open);
	for (uint32_t fd = 0; fd < files->count; fd++) {
		if (!files->slots[fd].file)
			continue;
		put_u64(w, fd);
		put_u64(w, index_of(&table, files->slots[fd].file));
		put_u64(w, files->slots[fd].cloexec);
	}
	return r;
}

/* --- Loading ------------------------------------------------------------------------------ */

/* A pipe, of which each file has got, or will get, a descriptor of its own. */
struct pipe_ends {
	uint64_t inode; /* in the snapshot */
	int fds[2];
	bool given[2];
	bool filled;
};

struct loading {
	struct process *process;
	struct table table;
	struct pipe_ends *pipes;
	uint32_t npipes; /* at most one for each file */
	struct socket_pairs pairs;
};

static int changed(mayfly_error *err, const char *path, const char *how)
{
	return fail(err, MAYFLY_E_IO, "%s, which the program had open, %s", path, how);
}

static int load_named(struct process *p, const char *path, int flags, struct file **out,
		      mayfly_error *err)
{
	int r = vfs_open(p->vfs, NULL, path, flags & ~OPENING, 0, out);

	if (r < 0)
		return fail_errno(
			err, MAYFLY_E_IO, -r,
			"%s, which the program had open, cannot be opened within what "
			"is granted now",
			path);
	return 0;
}

static int load_named_regular(struct process *p, const char *path, int flags, struct reader *r,
			      struct file **out, mayfly_error *err)
{
	uint64_t inode = get_u64(r), size = get_u64(r);
	uint64_t seconds = get_u64(r), nanoseconds = get_u64(r);
	struct stat st;
	int e = r->bad ? 0 : load_named(p, path, flags, out, err);

	if (r->bad || e < 0)
		return e;
	if (vfs_fstat(p->vfs, *out, &st) < 0)
		return changed(err, path, "cannot be looked at");
	if (!(*out)->node && strncmp(path, "/proc/", 6) != 0) {
		if (st.st_ino != inode)
			return changed(err, path, "is another file now");
		if (!file_writable(*out) &&
		    ((uint64_t)st.st_size != size || (uint64_t)st.st_mtim.tv_sec != seconds ||
		     (uint64_t)st.st_mtim.tv_nsec != nanoseconds))
			return changed(err, path, "was changed since");
	}
	return 0;
}

static int load_same(const struct table *table, struct reader *r, const char *path, int flags,
		     struct file **out)
{
	uint64_t earlier = get_count(r, table->count - 1);
	struct file *file = r->bad ? NULL : table->files[earlier];

	if (!file || file->kind != FILE_REGULAR || !vfs_is_unnamed(file)) {
		r->bad = true;
		return 0;
	}
	return vfs_open_same(file, flags & ~OPENING, path, out);
}

static int load_regular(const struct loading *l, const char *path, int flags, struct reader *r,
			struct file **out, mayfly_error *err)
{
	struct process *p = l->process;
	uint64_t offset = get_u64(r), form = get_count(r, FORM_SAME);
	int e = 0;

	if (r->bad)
		return 0;
	if (form == FORM_NAMED)
		e = load_named_regular(p, path, flags, r, out, err);
	else if (form == FORM_SAME)
		e = load_same(&l->table, r, path, flags, out);
	else
		e = vfs_load_unnamed(p->vfs, r, flags & ~OPENING, path, out);
	if (e < 0 && form != FORM_NAMED)
		return fail_errno(err, MAYFLY_E_NOMEM, -e, "making %s anew", path);
	if (e < 0 || r->bad)
		return e;
	if (offset <= INT64_MAX && lseek((*out)->fd, (off_t)offset, SEEK_SET) < 0)
		return changed(err, path, "cannot be positioned");
	return 0;
}

/* NULL, and errno: it cannot be made. */
static struct pipe_ends *find_pipe(struct loading *l, uint64_t inode)
{
	struct pipe_ends *pipe = l->pipes;

	for (; pipe < l->pipes + l->npipes; pipe++)
		if (pipe->inode == inode)
			return pipe;
	*pipe = (struct pipe_ends){.inode = inode};
	if (pipe2(pipe->fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return NULL;
	l->npipes++;
	return pipe;
}

/* Ends that nobody has got had been closed. */
static void close_pipes(struct loading *l)
{
	for (uint32_t i = 0; i < l->npipes; i++) {
		close(l->pipes[i].fds[0]);
		close(l->pipes[i].fds[1]);
	}
}

/* A descriptor of that end: the first, or one that was opened by /proc/self/fd. */
static int take_end(struct pipe_ends *pipe, int flags)
{
	bool writes = (flags & O_ACCMODE) == O_WRONLY;
	char path[32];

	if ((flags & O_ACCMODE) != O_RDWR && !pipe->given[writes]) {
		pipe->given[writes] = true;
		return fcntl(pipe->fds[writes], F_DUPFD_CLOEXEC, 0);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pipe->fds[0]);
	return open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
}

static int load_pipe(struct loading *l, int flags, struct reader *r, struct file **out)
{
	uint64_t inode = get_u64(r), size = get_count(r, PIPE_SIZE_MAX);
	uint64_t waiting = get_count(r, MAX_PIPE);
	const uint8_t *data = r->data;
	struct pipe_ends *pipe;
	int fd;

	if (r->bad || waiting > r->left) {
		r->bad = true;
		return 0;
	}
	r->data += waiting;
	r->left -= waiting;
	pipe = find_pipe(l, inode);
	if (!pipe)
		return -errno;
	if (size)
		fcntl(pipe->fds[1], F_SETPIPE_SZ, (int)size);
	/* Each that reads it tells the same. */
	if (waiting && !pipe->filled) {
		pipe->filled = true;
		if (write(pipe->fds[1], data, waiting) != (ssize_t)waiting)
			return -ENOBUFS;
	}
	fd = take_end(pipe, flags);
	if (fd < 0)
		return -errno;
	*out = file_new_numbered(&l->process->files, FILE_PIPE, fd, flags, "pipe");
	return *out ? 0 : -ENOMEM;
}

static int load_event(struct process *p, int flags, struct reader *r, struct file **out)
{
	uint64_t value = get_u64(r);
	int type = (int)get_count(r, INT32_MAX);
	int fd;

	if (r->bad)
		return 0;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (type & EFD_SEMAPHORE));
	if (fd < 0)
		return -errno;
	if (value && value != UINT64_MAX && write(fd, &value, sizeof(value)) < 0)
		r->bad = true;
	*out = file_new(FILE_EVENT, fd, flags, "anon_inode:[eventfd]");
	if (!*out)
		return -ENOMEM;
	(*out)->type = type & EFD_SEMAPHORE;
	(void)p;
	return 0;
}

static int load_timer(struct process *p, int flags, struct reader *r, struct file **out)
{
	int clock = (int)get_count(r, CLOCK_BOOTTIME), fd;
	bool went_off = get_count(r, 1);
	struct itimerspec left;

	get_bytes(r, &left, sizeof(left));
	if (r->bad)
		return 0;
	/* It is to be readable at once; what repeats does so from now on. */
	if (went_off)
		left.it_value = (struct timespec){.tv_nsec = 1};
	fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (timerfd_settime(fd, 0, &left, NULL) < 0)
		r->bad = true;
	*out = file_new(FILE_TIMER, fd, flags, "anon_inode:[timerfd]");
	if (!*out)
		return -ENOMEM;
	(*out)->type = clock;
	(void)p;
	return 0;
}

struct watch_list {
	struct file *epoll;
	const uint8_t *data; /* 4 u64 each */
	uint64_t count;
};

static int load_epoll(struct process *p, struct reader *r, struct watch_list *list,
		      struct file **out)
{
	uint64_t bytes;

	list->count = get_count(r, MAX_OPEN);
	bytes = list->count * 4 * sizeof(uint64_t);
	if (r->bad || bytes > r->left) {
		r->bad = true;
		return 0;
	}
	list->data = r->data;
	r->data += bytes;
	r->left -= bytes;
	*out = epoll_new(&p->files);
	list->epoll = *out;
	return *out ? 0 : -ENOMEM;
}

/* Once all files are there. */
static void load_watches(struct process *p, const struct table *table,
			 const struct watch_list *list)
{
	for (uint64_t i = 0; i < list->count; i++) {
		uint64_t v[4];
		struct epoll_watch_info info;

		memcpy(v, list->data + i * sizeof(v), sizeof(v));
		if (v[1] >= table->count || !table->files[v[1]])
			continue;
		info = (struct epoll_watch_info){.fd = (int)(v[0] & INT32_MAX),
						 .file = table->files[v[1]],
						 .events = (uint32_t)v[2],
						 .data = v[3]};
		epoll_add(&p->files, list->epoll, &info);
	}
}

static struct file *stream_of(struct process *p, const char *path)
{
	static const char *const names[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};

	for (uint64_t fd = 0; fd < 3; fd++)
		if (!strcmp(path, names[fd]))
			return files_get_any(&p->files, fd);
	return NULL;
}

static int load_socket(struct loading *l, int flags, struct reader *r, struct file **out,
		       mayfly_error *err)
{
	int e = checkpoint_load_socket(l->process, &l->pairs, r, out, err);

	if (*out)
		(*out)->flags = flags;
	return e;
}

static int load_file(struct loading *l, struct reader *r, struct watch_list *list,
		     struct file **out, mayfly_error *err)
{
	enum file_kind kind = (enum file_kind)get_count(r, FILE_PATH);
	int flags = (int)get_count(r, UINT32_MAX), e = 0;
	struct process *p = l->process;
	char path[VFS_PATH_MAX];

	get_string(r, path, sizeof(path));
	if (r->bad)
		return 0;
	switch (kind) {
	case FILE_REGULAR:
		return load_regular(l, path, flags, r, out, err);
	case FILE_DIRECTORY:
		e = load_named(p, path, flags | O_DIRECTORY, out, err);
		if (e == 0)
			vfs_seek(*out, (int64_t)get_count(r, INT64_MAX), SEEK_SET);
		return e;
	case FILE_STREAM:
		*out = stream_of(p, path);
		r->bad = r->bad || !*out;
		return 0;
	case FILE_DEVICE:
		*out = stream_of(p, path);
		return *out ? 0 : load_named(p, path, flags, out, err);
	case FILE_PATH:
		return load_named(p, path, flags | O_PATH, out, err);
	case FILE_PIPE:
		e = load_pipe(l, flags, r, out);
		break;
	case FILE_EVENT:
		e = load_event(p, flags, r, out);
		break;
	case FILE_TIMER:
		e = load_timer(p, flags, r, out);
		break;
	case FILE_SIGNAL:
		*out = signalfd_new(p, get_u64(r), flags);
		e = *out ? 0 : -ENOMEM;
		break;
	case FILE_EPOLL:
		e = load_epoll(p, r, list, out);
		break;
	case FILE_SOCKET:
		return load_socket(l, flags, r, out, err);
	}
	return e < 0 ? fail_errno(err, MAYFLY_E_NOMEM, -e, "making %s anew", path) : 0;
}

static int load_slots(struct process *p, struct table *table, struct reader *r,
		      mayfly_error *err)
{
	uint64_t open = get_count(r, MAX_OPEN);
	bool streams[3] = {false, false, false};

	for (uint64_t i = 0; i < open && !r->bad; i++) {
		uint64_t fd = get_count(r, MAX_OPEN), index = get_u64(r);
		bool cloexec = get_count(r, 1);

		if (r->bad || index >= table->count || !table->files[index]) {
			r->bad = true;
			break;
		}
		if (fd < 3)
			streams[fd] = true;
		if (files_replace(&p->files, fd, file_get(table->files[index]), cloexec) < 0)
			return fail(err, MAYFLY_E_LIMIT,
				    "the program has descriptor %llu open; it may have %u",
				    (unsigned long long)fd, p->files.max);
	}
	/* The program had closed those. */
	for (uint64_t fd = 0; fd < 3; fd++)
		if (!streams[fd] && !r->bad)
			files_close(&p->files, fd);
	return 0;
}

static int load_all(struct loading *l, struct watch_list *lists, struct reader *r,
		    mayfly_error *err)
{
	struct process *p = l->process;
	uint32_t count = l->table.count;
	int e = 0;

	for (uint32_t i = 0; e == 0 && !r->bad && i < count; i++)
		e = load_file(l, r, &lists[i], &l->table.files[i], err);
	if (e == 0 && !r->bad)
		e = load_slots(p, &l->table, r, err);
	for (uint32_t i = 0; e == 0 && !r->bad && i < count; i++)
		load_watches(p, &l->table, &lists[i]);
	return e;
}

int checkpoint_load_files(struct process *p, struct reader *r, mayfly_error *err)
{
	uint32_t count = (uint32_t)get_count(r, MAX_OPEN);
	struct loading l = {.process = p, .table.count = count};
	struct watch_list *lists;
	int e = 0;

	/* Each takes bytes, so the count cannot be much larger than the snapshot. */
	if (r->bad || count > r->left / 16)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot's list of files is damaged");
	/* Each has a descriptor, and the three streams are there. */
	if (count > p->files.max + 3)
		return fail(err, MAYFLY_E_LIMIT,
			    "the program has %u files open; it may have %u", count,
			    p->files.max);
	l.table.files = calloc(count + 1, sizeof(*l.table.files));
	l.pipes = calloc(count + 1, sizeof(*l.pipes));
	lists = calloc(count + 1, sizeof(*lists));
	if (!l.table.files || !l.pipes || !lists)
		e = fail(err, MAYFLY_E_NOMEM, "no memory for a table of files");
	else
		e = load_all(&l, lists, r, err);
	for (uint32_t i = 0; l.table.files && i < count; i++)
		file_put(l.table.files[i]);
	close_pipes(&l);
	socket_pairs_fini(&l.pairs);
	free(l.table.files);
	free(l.pipes);
	free(lists);
	if (e == 0 && r->bad)
		e = fail(err, MAYFLY_E_FORMAT, "the snapshot's list of files is damaged");
	return e;
}
