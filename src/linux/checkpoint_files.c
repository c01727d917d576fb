/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process has open, as bytes and back. Files are opened again by their guest paths, within
 * what the new process was granted, and must still be the same; pipes, events and timers are made
 * anew with what they held.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "linux/checkpoint.h"
#include "core/codec.h"
#include "linux/process.h"

/* Descriptors are counted before anything is made of a number in the file. */
#define MAX_OPEN (1u << 20)
#define MAX_PIPE ((uint64_t)1 << 20)
/* Flags that say how it was opened, not how it is. */
#define OPENING (O_CREAT | O_EXCL | O_TRUNC)

struct table {
	struct file **files; /* unique; borrowed when saving, counted when loading */
	uint64_t *other; /* loading: the other end of a pipe, waiting: inode and descriptor */
	uint32_t count;
};

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

static int save_regular(struct process *p, const struct file *file, struct writer *w,
			mayfly_error *err)
{
	struct stat now, named;

	if (vfs_fstat(p->vfs, (struct file *)(uintptr_t)file, &now) < 0)
		return cannot(err, file, "what it is cannot be told");
	if (vfs_stat(p->vfs, NULL, file->path, 0, &named) < 0 ||
	    (named.st_ino != now.st_ino && strncmp(file->path, "/proc/", 6) != 0))
		return cannot(err, file, "the file was removed or renamed while it is open");
	put_u64(w, (uint64_t)lseek(file->fd, 0, SEEK_CUR));
	put_u64(w, now.st_ino);
	put_u64(w, (uint64_t)now.st_size);
	put_u64(w, (uint64_t)now.st_mtim.tv_sec);
	put_u64(w, (uint64_t)now.st_mtim.tv_nsec);
	return 0;
}

/* What waits in a pipe, taken out and put back. */
static int save_pipe(const struct file *file, struct writer *w, mayfly_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	int waiting = 0;

	put_u64(w, file->inode);
	if (!file_readable(file)) {
		put_u64(w, 0);
		return 0;
	}
	if (ioctl(file->fd, FIONREAD, &waiting) < 0 || waiting < 0)
		return cannot(err, file, "what waits in it cannot be told");
	put_u64(w, (uint64_t)waiting);
	if (!waiting)
		return 0;
	data = malloc((size_t)waiting);
	if (!data)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	/* A copy: tee(2) into a pipe of our own leaves the data where it is. */
	int fds[2];
	ssize_t n = -1;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0) {
		fcntl(fds[1], F_SETPIPE_SZ, waiting);
		n = tee(file->fd, fds[1], (size_t)waiting, SPLICE_F_NONBLOCK);
		if (n == waiting)
			n = read(fds[0], data, (size_t)waiting);
		close(fds[0]);
		close(fds[1]);
	}
	if (n != waiting)
		return cannot(err, file, "what waits in it cannot be copied");
	put_bytes(w, data, (size_t)waiting);
	return 0;
}

static int save_event(const struct file *file, struct writer *w, mayfly_error *err)
{
	uint64_t value = 0, part;
	ssize_t r;

	/* A semaphore gives one at a time. */
	while ((r = read(file->fd, &part, sizeof(part))) == (ssize_t)sizeof(part))
		value += part;
	if (r < 0 && errno != EAGAIN)
		return cannot(err, file, "its value cannot be read");
	if (value && write(file->fd, &value, sizeof(value)) < 0)
		return cannot(err, file, "its value cannot be written back");
	put_u64(w, value);
	put_u64(w, (uint64_t)file->type);
	return 0;
}

static int save_timer(const struct file *file, struct writer *w, mayfly_error *err)
{
	struct itimerspec left;

	if (timerfd_gettime(file->fd, &left) < 0)
		return cannot(err, file, "its time cannot be told");
	put_u64(w, (uint64_t)file->type);
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
		return save_regular(p, file, w, err);
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
		break;
	}
	return cannot(err, file, "it is a socket, whose other end would not know");
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

static int load_regular(struct process *p, const char *path, int flags, struct reader *r,
			struct file **out, mayfly_error *err)
{
	uint64_t offset = get_u64(r), inode = get_u64(r), size = get_u64(r);
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
	if (offset <= INT64_MAX && lseek((*out)->fd, (off_t)offset, SEEK_SET) < 0)
		return changed(err, path, "cannot be positioned");
	return 0;
}

/* Ends of pipes wait for each other in table->other. */
static int load_pipe(struct process *p, struct table *table, int flags, struct reader *r,
		     struct file **out)
{
	uint64_t inode = get_u64(r), waiting = get_count(r, MAX_PIPE);
	_cleanup_free_ uint8_t *data = malloc(waiting + 1);
	int fds[2] = {-1, -1}, mine = (flags & O_ACCMODE) == O_WRONLY;

	if (!data)
		return -ENOMEM;
	get_bytes(r, data, waiting);
	if (r->bad)
		return 0;
	for (uint32_t i = 0; i < table->count; i++) {
		/* inode, and 2 * descriptor + which end it is; 0: none waits */
		if (table->other[2 * (size_t)i] != inode ||
		    (int)(table->other[2 * (size_t)i + 1] & 1) != mine ||
		    !table->other[2 * (size_t)i + 1])
			continue;
		fds[mine] = (int)(table->other[2 * (size_t)i + 1] >> 1);
		table->other[2 * (size_t)i + 1] = 0;
		break;
	}
	if (fds[mine] < 0) {
		uint32_t i = 0;

		if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
			return -errno;
		while (i < table->count && table->other[2 * (size_t)i + 1])
			i++;
		if (i == table->count) {
			close(fds[!mine]);
		} else {
			table->other[2 * (size_t)i] = inode;
			table->other[2 * (size_t)i + 1] =
				(uint64_t)fds[!mine] << 1 | (uint64_t)!mine;
		}
		/* What waited goes in by the other end, while it is at hand. */
		if (waiting && !mine) {
			fcntl(fds[1], F_SETPIPE_SZ, (int)waiting);
			if (write(fds[1], data, waiting) < 0)
				r->bad = true;
		}
	} else if (waiting && !mine) {
		r->bad = true; /* the reading end is always made first: see order_pipes() */
	}
	*out = file_new_numbered(&p->files, FILE_PIPE, fds[mine], flags, "pipe");
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
	struct itimerspec left;

	get_bytes(r, &left, sizeof(left));
	if (r->bad)
		return 0;
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

static int load_file(struct process *p, struct table *table, struct reader *r,
		     struct watch_list *list, struct file **out, mayfly_error *err)
{
	enum file_kind kind = (enum file_kind)get_count(r, FILE_PATH);
	int flags = (int)get_count(r, UINT32_MAX), e = 0;
	char path[VFS_PATH_MAX];

	get_string(r, path, sizeof(path));
	if (r->bad)
		return 0;
	switch (kind) {
	case FILE_REGULAR:
		return load_regular(p, path, flags, r, out, err);
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
		e = load_pipe(p, table, flags, r, out);
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
		r->bad = true;
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

int checkpoint_load_files(struct process *p, struct reader *r, mayfly_error *err)
{
	uint32_t count = (uint32_t)get_count(r, MAX_OPEN);
	struct table table = {.count = count};
	struct watch_list *lists;
	int e = 0;

	/* Each takes bytes, so the count cannot be much larger than the snapshot. */
	if (r->bad || count > r->left / 16)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot's list of files is damaged");
	table.files = calloc(count + 1, sizeof(*table.files));
	table.other = calloc(count + 1, 2 * sizeof(*table.other));
	lists = calloc(count + 1, sizeof(*lists));
	if (!table.files || !table.other || !lists)
		e = fail(err, MAYFLY_E_NOMEM, "no memory for a table of files");
	for (uint32_t i = 0; e == 0 && !r->bad && i < count; i++)
		e = load_file(p, &table, r, &lists[i], &table.files[i], err);
	if (e == 0 && !r->bad)
		e = load_slots(p, &table, r, err);
	for (uint32_t i = 0; e == 0 && !r->bad && i < count; i++)
		load_watches(p, &table, &lists[i]);
	for (uint32_t i = 0; table.files && i < count; i++)
		file_put(table.files[i]);
	for (uint32_t i = 0; table.other && i < count; i++)
		if (table.other[2 * (size_t)i + 1])
			close((int)(table.other[2 * (size_t)i + 1] >> 1));
	free(table.files);
	free(table.other);
	free(lists);
	if (e == 0 && r->bad)
		e = fail(err, MAYFLY_E_FORMAT, "the snapshot's list of files is damaged");
	return e;
}
