/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks: fcntl(2)'s, of the process and of open files, and flock(2).
 *
 * All that reach the host are the host's own open-file-description locks. Those of F_SETLK belong
 * to a process and an inode, whichever descriptor they were made by; the host process may run
 * several guests, so its own F_SETLK would mix them up. Instead each inode with such locks has
 * one description more, on which they all are; it goes when any descriptor of that inode is
 * closed, which is when Linux drops them.
 *
 * A grant whose files may not be written, an overlay's too, keeps the guest from disturbing others
 * who use them, so locks there do not reach the host: with nothing to write, there is nothing they
 * protect.
 *
 * The ranges are kept here a second time, for their number is the guest's choice and each costs
 * the host's kernel memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "linux/process.h"

#define MAX_RECORDS 4096 /* in a process */
#define FIRST_PAUSE_NS 1000000
#define LAST_PAUSE_NS 32000000

struct lock_range {
	int64_t first, last; /* inclusive */
	short type;	     /* F_RDLCK, F_WRLCK */
};

/* Ascending, not overlapping, neighbours of one type joined, as the kernel keeps them. */
struct lock_ranges {
	uint32_t count;
	struct lock_range range[];
};

struct locked_inode {
	struct locked_inode *next;
	dev_t dev;
	ino_t ino;
	int fd;
	struct lock_ranges *ranges;
};

bool file_is_hosts(const struct file *file)
{
	if (file->kind != FILE_REGULAR && file->kind != FILE_DIRECTORY)
		return false;
	return file->node == NULL && file->fd >= 0 &&
	       (file->writable_mount || (file->kind == FILE_REGULAR && file_writable(file)));
}

/* --- Ranges ------------------------------------------------------------------------------- */

static void range_push(struct lock_ranges *to, struct lock_range r)
{
	if (to->count > 0) {
		struct lock_range *prior = &to->range[to->count - 1];
		if (prior->type == r.type && prior->last + 1 == r.first) {
			prior->last = r.last;
			return;
		}
	}
	to->range[to->count++] = r;
}

/* What `from` (may be NULL) becomes by r, whose type may be F_UNLCK. NULL: memory is out. */
static struct lock_ranges *ranges_apply(const struct lock_ranges *from, struct lock_range r)
{
	uint32_t count = from == NULL ? 0 : from->count;
	struct lock_ranges *to =
		calloc(1, sizeof(*to) + ((size_t)count + 2) * sizeof(to->range[0]));
	if (to == NULL)
		return NULL;

	bool placed = r.type == F_UNLCK;
	for (uint32_t i = 0; i < count; i++) {
		struct lock_range old = from->range[i];
		if (old.first < r.first) {
			struct lock_range left = old;
			if (left.last >= r.first)
				left.last = r.first - 1;
			range_push(to, left);
		}
		if (!placed && old.last >= r.first) {
			range_push(to, r);
			placed = true;
		}
		if (old.last > r.last) {
			if (old.first <= r.last)
				old.first = r.last + 1;
			range_push(to, old);
		}
	}
	if (!placed)
		range_push(to, r);
	return to;
}

/*
 * Set or drop a lock by the host's kernel on fd, and in *ranges. Under record_lock. `command`:
 * F_OFD_SETLK.
 */
static int ranges_set(struct files *files, int fd, struct lock_ranges **ranges,
		      const struct flock *lock)
{
	struct lock_range r = {
		.first = lock->l_start,
		.last = lock->l_len == 0 ? INT64_MAX : lock->l_start + lock->l_len - 1,
		.type = lock->l_type,
	};
	struct lock_ranges *now = ranges_apply(*ranges, r);
	if (now == NULL)
		return -ENOLCK;
	uint32_t before = *ranges == NULL ? 0 : (*ranges)->count;
	if (now->count > before && now->count - before > MAX_RECORDS - files->lock_records) {
		free(now);
		return -ENOLCK;
	}
	if (fcntl(fd, F_OFD_SETLK, lock) < 0) {
		int e = errno;
		free(now);
		return -e;
	}
	files->lock_records = files->lock_records - before + now->count;
	free(*ranges);
	*ranges = now;
	return 0;
}

static void ranges_free(struct files *files, struct lock_ranges *ranges)
{
	if (ranges == NULL)
		return;
	files->lock_records -= ranges->count;
	free(ranges);
}

/* --- Inodes with locks of the process ----------------------------------------------------- */

/* Another description of the same inode, for its locks alone. */
static int inode_open(int fd)
{
	static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int lock_fd = open(path, modes[i] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (lock_fd >= 0)
			return lock_fd;
	}
	return -1;
}

/* The link that points to the file's entry, or to NULL. Under record_lock. */
static struct locked_inode **inode_link(struct locked_inode **first, const struct stat *st)
{
	struct locked_inode **link = first;
	while (*link != NULL && ((*link)->dev != st->st_dev || (*link)->ino != st->st_ino))
		link = &(*link)->next;
	return link;
}

static struct locked_inode *inode_find(struct files *files, const struct stat *st)
{
	struct locked_inode *first = atomic_load(&files->locked_inodes);
	return *inode_link(&first, st);
}

/* Find, or make, the entry of a file. Under record_lock. NULL: ENOLCK. */
static struct locked_inode *inode_get(struct files *files, struct file *file)
{
	struct stat st;
	if (fstat(file->fd, &st) < 0)
		return NULL;
	struct locked_inode *inode = inode_find(files, &st);
	if (inode != NULL)
		return inode;

	/* One that is made while another thread closes the file stays. */
	if (files->locked_count >= files->max)
		return NULL;
	inode = calloc(1, sizeof(*inode));
	if (inode == NULL)
		return NULL;
	inode->fd = inode_open(file->fd);
	if (inode->fd < 0) {
		free(inode);
		return NULL;
	}
	inode->dev = st.st_dev;
	inode->ino = st.st_ino;
	inode->next = atomic_load(&files->locked_inodes);
	atomic_store(&files->locked_inodes, inode);
	files->locked_count++;
	return inode;
}

static void inode_free(struct files *files, struct locked_inode *inode)
{
	ranges_free(files, inode->ranges);
	files->locked_count--;
	close(inode->fd);
	free(inode);
}

void record_locks_closed(struct files *files, struct file *file)
{
	struct stat st;
	if (atomic_load(&files->locked_inodes) == NULL || !file_is_hosts(file) ||
	    fstat(file->fd, &st) < 0)
		return;

	pthread_mutex_lock(&files->record_lock);
	struct locked_inode *first = atomic_load(&files->locked_inodes);
	struct locked_inode **link = inode_link(&first, &st);
	struct locked_inode *inode = *link;
	if (inode != NULL) {
		*link = inode->next;
		atomic_store(&files->locked_inodes, first);
		inode_free(files, inode);
	}
	pthread_mutex_unlock(&files->record_lock);
}

void record_locks_free(struct files *files)
{
	struct locked_inode *inode = atomic_exchange(&files->locked_inodes, NULL);
	while (inode != NULL) {
		struct locked_inode *next = inode->next;
		inode_free(files, inode);
		inode = next;
	}
}

void file_locks_free(struct file *file)
{
	struct files *files = atomic_load(&file->owner);
	if (file->locks == NULL || files == NULL)
		return;
	pthread_mutex_lock(&files->record_lock);
	ranges_free(files, file->locks);
	file->locks = NULL;
	pthread_mutex_unlock(&files->record_lock);
}

/* --- fcntl(2) ----------------------------------------------------------------------------- */

static bool is_ofd(int command)
{
	return command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

static bool is_query(int command)
{
	return command == F_GETLK || command == F_OFD_GETLK;
}

/* Have it count from the file's start, with a length that is not negative: flock64_to_posix_lock()
 * of the kernel. */
static int lock_normalise(struct file *file, struct flock *lock)
{
	int64_t base = 0;
	struct stat st;
	switch (lock->l_whence) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = lseek(file->fd, 0, SEEK_CUR);
		if (base < 0)
			return -errno;
		break;
	case SEEK_END:
		if (fstat(file->fd, &st) < 0)
			return -errno;
		base = st.st_size;
		break;
	default:
		return -EINVAL;
	}

	int64_t start, end;
	if (__builtin_add_overflow(base, lock->l_start, &start))
		return -EOVERFLOW;
	if (lock->l_len < 0) {
		if (__builtin_add_overflow(start, lock->l_len, &start) || start < 0)
			return -EINVAL;
		lock->l_len = -lock->l_len;
	} else if (lock->l_len > 0 && __builtin_add_overflow(start, lock->l_len - 1, &end)) {
		return -EOVERFLOW;
	}
	if (start < 0)
		return -EINVAL;
	lock->l_start = start;
	lock->l_whence = SEEK_SET;
	return 0;
}

static int lock_check(struct file *file, int command, struct flock *lock)
{
	if (is_ofd(command) && lock->l_pid != 0)
		return -EINVAL;
	if (lock->l_type != F_RDLCK && lock->l_type != F_WRLCK &&
	    (lock->l_type != F_UNLCK || is_query(command)))
		return -EINVAL;
	if (!is_query(command) && ((lock->l_type == F_RDLCK && !file_readable(file)) ||
				   (lock->l_type == F_WRLCK && !file_writable(file))))
		return -EBADF;
	return lock_normalise(file, lock);
}

/* Who holds what is in the way is a matter of the host's: another process, so 0 or -1. */
static int lock_query(struct files *files, struct file *file, bool ofd, struct flock *lock)
{
	int fd = file->fd;
	lock->l_pid = 0;
	pthread_mutex_lock(&files->record_lock);
	struct stat st;
	if (!ofd && fstat(fd, &st) == 0) {
		const struct locked_inode *inode = inode_find(files, &st);
		if (inode != NULL)
			fd = inode->fd;
	}
	int r = fcntl(fd, F_OFD_GETLK, lock) < 0 ? -errno : 0;
	pthread_mutex_unlock(&files->record_lock);
	if (r == 0 && lock->l_type != F_UNLCK && lock->l_pid > 0)
		lock->l_pid = 0;
	return r;
}

/* Once, without waiting. */
static int lock_set(struct files *files, struct file *file, bool ofd, const struct flock *lock)
{
	int r;
	struct flock host = *lock;
	host.l_pid = 0;
	pthread_mutex_lock(&files->record_lock);
	if (ofd) {
		atomic_store(&file->owner, files);
		r = ranges_set(files, file->fd, &file->locks, &host);
	} else {
		struct locked_inode *inode = inode_get(files, file);
		r = inode == NULL ? -ENOLCK
				  : ranges_set(files, inode->fd, &inode->ranges, &host);
	}
	pthread_mutex_unlock(&files->record_lock);
	/* The inode's own description could not be opened for writing: as if it were taken. */
	return r == -EBADF || r == -EACCES ? -EAGAIN : r;
}

/* Wait before another attempt, longer each time: the host tells no one that a lock is free. */
static int pause_longer(struct task *t, uint64_t *ns)
{
	return task_pause_longer(t, ns, LAST_PAUSE_NS) < 0 ? -ERESTARTSYS : 0;
}

int64_t fcntl_lock(struct task *t, struct file *file, int command, uint64_t va)
{
	struct flock lock;
	struct files *files = &t->process->files;
	int r = mm_get(&t->process->mm, &lock, va);
	if (r < 0)
		return r;
	r = lock_check(file, command, &lock);
	if (r < 0)
		return r;

	bool ofd = is_ofd(command);
	/* In a file that no one else has, only open files exclude each other. */
	bool real = file_is_hosts(file) || (ofd && vfs_is_in_memory(file));
	if (is_query(command)) {
		if (!real)
			lock.l_type = F_UNLCK;
		else
			r = lock_query(files, file, ofd, &lock);
		return r < 0 ? r : mm_put(&t->process->mm, va, &lock);
	}
	if (!real)
		return 0;

	uint64_t pause = FIRST_PAUSE_NS;
	for (;;) {
		r = lock_set(files, file, ofd, &lock);
		if (r != -EAGAIN || command == F_SETLK || command == F_OFD_SETLK)
			return r;
		r = pause_longer(t, &pause);
		if (r < 0)
			return r;
	}
}

/* --- flock(2) ----------------------------------------------------------------------------- */

int64_t sys_flock(struct task *t, const uint64_t a[6])
{
	int operation = (int)a[1];
	int kind = operation & ~LOCK_NB;
	if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
		return -EINVAL;
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;

	int r = 0;
	uint64_t pause = FIRST_PAUSE_NS;
	while (file->fd >= 0 && (file_is_hosts(file) || vfs_is_in_memory(file)) &&
	       flock(file->fd, kind | LOCK_NB) < 0) {
		r = -errno;
		if (r == -EBADF) /* a directory that is open by O_PATH on the host */
			r = 0;
		if (r != -EWOULDBLOCK || (operation & LOCK_NB) != 0)
			break;
		r = pause_longer(t, &pause);
		if (r < 0)
			break;
	}
	file_put(file);
	return r;
}
