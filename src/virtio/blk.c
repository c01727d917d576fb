/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request at a time, on the device thread, by the host's system calls on the guest's
 * memory. `lock` is held for the queue, and not while the disk is waited for.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/io.h"
#include "virtio/blk_overlay.h"
#include "virtio/iov.h"

#define SECTOR 512u /* 5.2.2: whatever the block size */

#define BLK_QUEUE_SIZE 256
/* Room for header and status in a chain without an indirect table. */
#define BLK_SEG_MAX (BLK_QUEUE_SIZE - 2)
#define BLK_SIZE_MAX (1u << 20)
/* What a driver can ask for at once; it bounds how long a request takes. */
#define BLK_MAX_REQUEST ((uint64_t)BLK_SEG_MAX * BLK_SIZE_MAX)
/* How long others wait for their turn, if there is more to do: requests, ns. */
#define BLK_MAX_BATCH 64u
#define BLK_MAX_TURN 5000000u

/* Of discard and write zeroes; where the host cannot zero, zeroes are written. */
#define BLK_DISCARD_SEGMENTS 16u
#define BLK_DISCARD_SECTORS ((128u << 20) / SECTOR)
#define BLK_ZERO_SECTORS ((16u << 20) / SECTOR)

struct blk {
	struct virtio_device dev;
	int fd;
	char *path; /* owned */
	uint32_t flags;
	uint64_t size;
	struct blk_overlay *overlay; /* or NULL */
	struct virtio_blk_config config;
	char id[BLK_ID_LEN];
};

static struct blk *to_blk(struct virtio_device *dev)
{
	return (struct blk *)dev;
}

/* --- what becomes of requests; each gives 0 or -errno ------------------------------------- */

/* Without the feature the driver knows of no cache: what is written must be safe (5.2.6.2). */
static int after_write(const struct blk *b)
{
	if (b->overlay || b->dev.features & ((uint64_t)1 << VIRTIO_BLK_F_FLUSH))
		return 0;
	return fdatasync(b->fd) < 0 ? -errno : 0;
}

static int read_disk(struct blk *b, struct iov *to, uint64_t offset)
{
	return b->overlay ? blk_overlay_read(b->overlay, to, offset)
			  : iov_read_file(to, b->fd, offset);
}

static int write_disk(struct blk *b, struct iov *from, uint64_t offset)
{
	int r = b->overlay ? blk_overlay_write(b->overlay, from, offset)
			   : iov_write_file(from, b->fd, offset);

	return r < 0 ? r : after_write(b);
}

static int write_zeroes_slowly(const struct blk *b, uint64_t offset, uint64_t len)
{
	static const uint8_t zeroes[PAGE_SIZE];
	int r = 0;

	while (len && r == 0) {
		struct iovec pieces[64];
		struct iov v = {pieces, 0};
		uint64_t n = 0;

		for (; v.n < ARRAY_SIZE(pieces) && n < len; v.n++) {
			uint64_t piece = len - n < PAGE_SIZE ? len - n : PAGE_SIZE;

			pieces[v.n] = (struct iovec){(void *)zeroes, piece};
			n += piece;
		}
		r = iov_write_file(&v, b->fd, offset);
		offset += n;
		len -= n;
	}
	return r;
}

/* Not on this kind of file, or not with this alignment. */
static bool cannot(int r)
{
	return r == -EOPNOTSUPP || r == -EINVAL || r == -ENOSYS || r == -ENODEV;
}

static int zero_disk(struct blk *b, uint64_t offset, uint64_t len, bool unmap)
{
	int mode = unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE, r;

	if (!len)
		return 0;
	if (b->overlay)
		return blk_overlay_zero(b->overlay, offset, len, false);
	r = allocate_file(b->fd, mode | FALLOC_FL_KEEP_SIZE, offset, len);
	if (cannot(r))
		r = write_zeroes_slowly(b, offset, len);
	return r < 0 ? r : after_write(b);
}

/* A hint: where it cannot be followed, nothing is lost. */
static int discard(struct blk *b, uint64_t offset, uint64_t len)
{
	int r;

	if (!len)
		return 0;
	if (b->overlay)
		return blk_overlay_zero(b->overlay, offset, len, true);
	r = allocate_file(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
	return cannot(r) ? 0 : r;
}

/* --- requests (5.2.6): hostile in all their parts; each gives the status ------------------ */

static bool on_disk(const struct blk *b, uint64_t sector, uint64_t len)
{
	return sector <= b->size / SECTOR && len % SECTOR == 0 &&
	       range_within(sector * SECTOR, len, b->size);
}

static uint8_t status_of(int r)
{
	if (r < 0)
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static bool readonly(const struct blk *b)
{
	return b->flags & BLK_READONLY;
}

static uint8_t serve_read(struct blk *b, uint64_t sector, struct iov *to)
{
	uint64_t len = iov_len(to);

	if (!on_disk(b, sector, len) || len > BLK_MAX_REQUEST)
		return VIRTIO_BLK_S_IOERR;
	return status_of(read_disk(b, to, sector * SECTOR));
}

static uint8_t serve_write(struct blk *b, uint64_t sector, struct iov *from)
{
	uint64_t len = iov_len(from);

	if (readonly(b) || !on_disk(b, sector, len) || len > BLK_MAX_REQUEST)
		return VIRTIO_BLK_S_IOERR;
	return status_of(write_disk(b, from, sector * SECTOR));
}

static uint8_t serve_flush(const struct blk *b)
{
	if (b->overlay || readonly(b))
		return VIRTIO_BLK_S_OK;
	return status_of(fdatasync(b->fd) < 0 ? -errno : 0);
}

static uint8_t serve_id(const struct blk *b, struct iov *to)
{
	uint64_t len = iov_len(to);

	return iov_put(to, b->id, len < BLK_ID_LEN ? (size_t)len : BLK_ID_LEN)
		       ? VIRTIO_BLK_S_OK
		       : VIRTIO_BLK_S_IOERR;
}

/* 5.2.6.2: what is said of discard and write zeroes commands. */
static uint8_t check_ranges(const struct blk *b, bool zero,
			    const struct virtio_blk_discard_write_zeroes *ranges, size_t n)
{
	uint32_t flags = zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	uint32_t most = zero ? BLK_ZERO_SECTORS : BLK_DISCARD_SECTORS;

	for (size_t i = 0; i < n; i++) {
		if (ranges[i].flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (ranges[i].num_sectors > most ||
		    !on_disk(b, ranges[i].sector, (uint64_t)ranges[i].num_sectors * SECTOR))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t serve_ranges(struct blk *b, bool zero, struct iov *from)
{
	struct virtio_blk_discard_write_zeroes ranges[BLK_DISCARD_SEGMENTS];
	uint64_t len = iov_len(from);
	size_t n = (size_t)(len / sizeof(ranges[0]));
	uint8_t status;

	if (readonly(b) || !n || len > sizeof(ranges) || len % sizeof(ranges[0]) ||
	    !iov_get(from, ranges, (size_t)len))
		return VIRTIO_BLK_S_IOERR;
	status = check_ranges(b, zero, ranges, n);
	for (size_t i = 0; i < n && status == VIRTIO_BLK_S_OK; i++) {
		uint64_t offset = ranges[i].sector * SECTOR;
		uint64_t bytes = (uint64_t)ranges[i].num_sectors * SECTOR;

		status = status_of(zero ? zero_disk(b, offset, bytes, ranges[i].flags != 0)
					: discard(b, offset, bytes));
	}
	return status;
}

static uint8_t serve_request(struct blk *b, struct iov *in, struct iov *out)
{
	struct virtio_blk_outhdr header;

	if (!iov_get(in, &header, sizeof(header)))
		return VIRTIO_BLK_S_IOERR;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return serve_read(b, header.sector, out);
	case VIRTIO_BLK_T_OUT:
		return serve_write(b, header.sector, in);
	case VIRTIO_BLK_T_FLUSH:
		return serve_flush(b);
	case VIRTIO_BLK_T_GET_ID:
		return serve_id(b, out);
	case VIRTIO_BLK_T_DISCARD:
		return serve_ranges(b, false, in);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return serve_ranges(b, true, in);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/*
 * Without `lock`. Gives how many bytes of the chain's `out`, from its beginning, were written.
 */
static uint32_t serve(struct blk *b, const struct virtq_chain *chain)
{
	struct iov in = {chain->in, chain->nin}, out = {chain->out, chain->nout};
	uint64_t len = chain->out_len;
	uint8_t *status = iov_last(&out);
	uint8_t result = serve_request(b, &in, &out);

	__atomic_store_n(status, result, __ATOMIC_RELAXED);
	/*
	 * The status lies at the end: it counts where everything before it was written (2.7.8).
	 */
	if (len > 1 && result != VIRTIO_BLK_S_OK)
		len = 0;
	else if (out.n)
		len -= 1 + iov_len(&out);
	return len < UINT32_MAX ? (uint32_t)len : UINT32_MAX;
}

static void blk_notify(struct virtio_device *dev, uint16_t queue)
{
	struct virtq *q = &dev->queues[queue];
	struct virtq_chain chain;
	uint64_t until = clock_now() + BLK_MAX_TURN;
	uint32_t left = BLK_MAX_BATCH;

	pthread_mutex_lock(&dev->lock);
	virtq_set_notify(q, false);
	do {
		while (left && virtq_pop(q, &chain)) {
			uint32_t len = 0;

			virtio_device_requested(dev);
			if (chain.nout) {
				/*
				 * Only this thread resets or disables a queue that is in use.
				 */
				pthread_mutex_unlock(&dev->lock);
				len = serve(to_blk(dev), &chain);
				pthread_mutex_lock(&dev->lock);
			}
			virtq_push(q, chain.head, len);
			if (!chain.nout)
				virtq_break(q, "a block request has no room for its status");
			/* For each: the next one may take long. */
			virtio_device_signal(dev, queue);
			left = clock_now() < until ? left - 1 : 0;
		}
	} while (left && virtq_set_notify(q, true));
	virtio_device_signal(dev, queue);
	if (!left)
		virtio_device_again(dev, queue);
	pthread_mutex_unlock(&dev->lock);
}

static void blk_config_read(struct virtio_device *dev, uint32_t offset, uint8_t *to,
			    uint32_t len)
{
	memcpy(to, (const uint8_t *)&to_blk(dev)->config + offset, len);
}

static void blk_start_stop(struct virtio_device *dev)
{
	(void)dev; /* nothing is in flight between two notifications */
}

static void blk_free(struct virtio_device *dev)
{
	struct blk *b = to_blk(dev);

	blk_overlay_free(b->overlay);
	if (b->fd >= 0)
		close(b->fd);
	free(b->path);
	virtio_device_fini(dev);
	free(b);
}

/* --- snapshots ---------------------------------------------------------------------------- */

/* What tells disks apart, and whether they were written. */
struct identity {
	uint64_t device, inode, size, seconds, nanoseconds, flags;
};

static bool identify(const struct blk *b, struct identity *id)
{
	struct stat st;

	if (fstat(b->fd, &st) < 0)
		return false;
	*id = (struct identity){st.st_dev,
				st.st_ino,
				b->size,
				(uint64_t)st.st_mtim.tv_sec,
				(uint64_t)st.st_mtim.tv_nsec,
				b->flags};
	/* The times of a device's node say nothing of what is on it. */
	if (S_ISBLK(st.st_mode)) {
		id->device = st.st_rdev;
		id->inode = id->seconds = id->nanoseconds = 0;
	}
	return true;
}

static void blk_save(const struct virtio_device *dev, struct writer *w)
{
	const struct blk *b = (const struct blk *)dev;
	struct identity id;

	if (!identify(b, &id)) {
		w->failed = true;
		return;
	}
	put_bytes(w, &id, sizeof(id));
	if (b->overlay)
		blk_overlay_save(b->overlay, w);
}

static int blk_load(struct virtio_device *dev, struct reader *r, mayfly_error *err)
{
	struct blk *b = to_blk(dev);
	struct identity saved, now;

	get_bytes(r, &saved, sizeof(saved));
	if (r->bad)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot's part of the disk %s is cut",
			    b->path);
	if (!identify(b, &now))
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", b->path);
	if (saved.flags != now.flags)
		return fail(err, MAYFLY_E_INVALID,
			    "%s: the snapshot was taken of a disk that was%s read-only and "
			    "had%s an "
			    "overlay; it goes on with the same only",
			    b->path, saved.flags & BLK_READONLY ? "" : " not",
			    saved.flags & BLK_OVERLAY ? "" : " not");
	if (saved.device != now.device || saved.inode != now.inode || saved.size != now.size)
		return fail(
			err, MAYFLY_E_INVALID,
			"%s is not the disk that the snapshot was taken with (by device, inode "
			"and size)",
			b->path);
	if (saved.seconds != now.seconds || saved.nanoseconds != now.nanoseconds)
		return fail(
			err, MAYFLY_E_INVALID,
			"%s was written to after the snapshot was taken: what the guest has in "
			"memory would not fit; use a disk that is read-only or has an overlay",
			b->path);
	return b->overlay ? blk_overlay_load(b->overlay, r, err) : 0;
}

/* --- opening ------------------------------------------------------------------------------ */

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.type = VIRTIO_BLK,
	.nqueues = 1,
	.config_read = blk_config_read,
	.start = blk_start_stop,
	.stop = blk_start_stop,
	.notify = blk_notify,
	.save = blk_save,
	.load = blk_load,
	.free = blk_free,
};

static bool written(const struct blk *b)
{
	return !(b->flags & (BLK_READONLY | BLK_OVERLAY));
}

static int lock_disk(const struct blk *b, mayfly_error *err)
{
	struct flock lock = {.l_type = written(b) ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};

	if (fcntl(b->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return fail(err, MAYFLY_E_BUSY,
			    written(b) ? "%s is used by another machine, which this one would "
					 "disturb; "
					 "use it read-only in both, or with an overlay"
				       : "%s is being written by another machine",
			    b->path);
	/* There are file systems without locks; who only reads does no harm there. */
	if (!written(b))
		return 0;
	return fail_errno(err, MAYFLY_E_IO, errno,
			  "%s cannot be locked against a second machine that writes to it",
			  b->path);
}

static int measure(struct blk *b, uint32_t *logical, uint32_t *physical, mayfly_error *err)
{
	unsigned int block = 0;
	int sector = 0;
	struct stat st;

	*logical = SECTOR;
	*physical = 4096;
	if (fstat(b->fd, &st) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", b->path);
	b->size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(b->fd, BLKGETSIZE64, &b->size) < 0 ||
		    ioctl(b->fd, BLKSSZGET, &sector) < 0 ||
		    ioctl(b->fd, BLKPBSZGET, &block) < 0)
			return fail_errno(err, MAYFLY_E_IO, errno, "the size of %s", b->path);
		*logical = (uint32_t)sector;
		*physical = block;
	} else if (!S_ISREG(st.st_mode)) {
		return fail(
			err, MAYFLY_E_INVALID,
			"%s is neither a file nor a block device: a disk needs one of these",
			b->path);
	}
	if (!b->size || b->size % SECTOR || b->size > INT64_MAX - PAGE_SIZE)
		return fail(err, MAYFLY_E_INVALID,
			    "%s is %llu bytes long: a disk is a multiple of 512, and not empty",
			    b->path, (unsigned long long)b->size);
	return 0;
}

static int open_disk(struct blk *b, mayfly_error *err)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (written(b) ? O_RDWR : O_RDONLY);
	struct stat st;

	/* open(2): a device that is mounted is not opened then. */
	if (written(b) && stat(b->path, &st) == 0 && S_ISBLK(st.st_mode))
		flags |= O_EXCL;
	b->fd = open(b->path, flags);
	if (b->fd >= 0)
		/* Not blocking was for what is no disk, a FIFO. */
		return fcntl(b->fd, F_SETFL, 0) < 0
			       ? fail_errno(err, MAYFLY_E_IO, errno, "%s", b->path)
			       : 0;
	if (errno == EISDIR)
		return fail(err, MAYFLY_E_INVALID, "%s is a directory: a disk is a file",
			    b->path);
	if (errno == EBUSY)
		return fail(
			err, MAYFLY_E_BUSY,
			"%s is in use on this host, mounted perhaps: use it read-only or with "
			"an overlay",
			b->path);
	return fail_errno(err, MAYFLY_E_IO, errno, "opening the disk %s", b->path);
}

/* 5.2.3, 5.2.4. */
static void describe(struct blk *b, uint32_t logical, uint32_t physical)
{
	uint8_t exponent = 0;

	while (exponent < 16 && ((uint64_t)logical << exponent) < physical)
		exponent++;
	b->dev.offered =
		(uint64_t)1 << VIRTIO_BLK_F_SIZE_MAX | (uint64_t)1 << VIRTIO_BLK_F_SEG_MAX |
		(uint64_t)1 << VIRTIO_BLK_F_BLK_SIZE | (uint64_t)1 << VIRTIO_BLK_F_FLUSH |
		(uint64_t)1 << VIRTIO_BLK_F_TOPOLOGY;
	if (readonly(b))
		b->dev.offered |= (uint64_t)1 << VIRTIO_BLK_F_RO;
	else
		b->dev.offered |= (uint64_t)1 << VIRTIO_BLK_F_DISCARD |
				  (uint64_t)1 << VIRTIO_BLK_F_WRITE_ZEROES;
	b->config = (struct virtio_blk_config){
		.capacity = b->size / SECTOR,
		.size_max = BLK_SIZE_MAX,
		.seg_max = BLK_SEG_MAX,
		.blk_size = logical,
		.physical_block_exp = exponent,
		.min_io_size = (uint16_t)(1u << exponent),
		.max_discard_sectors = BLK_DISCARD_SECTORS,
		.max_discard_seg = BLK_DISCARD_SEGMENTS,
		.discard_sector_alignment = physical / SECTOR,
		.max_write_zeroes_sectors = BLK_ZERO_SECTORS,
		.max_write_zeroes_seg = BLK_DISCARD_SEGMENTS,
		.write_zeroes_may_unmap = 1,
	};
	b->dev.config_len = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4;
}

static int prepare(struct blk *b, const struct blk_config *config, mayfly_error *err)
{
	const char *id = config->id ? config->id : "mayfly";
	uint32_t logical, physical;
	int r;

	b->flags = config->flags;
	if (readonly(b))
		b->flags &= ~BLK_OVERLAY;
	memcpy(b->id, id, strnlen(id, BLK_ID_LEN));
	b->path = strdup(config->path);
	if (!b->path)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	r = open_disk(b, err);
	if (r == 0)
		r = lock_disk(b, err);
	if (r == 0)
		r = measure(b, &logical, &physical, err);
	if (r < 0)
		return r;
	describe(b, logical, physical);
	if (!(b->flags & BLK_OVERLAY))
		return 0;
	return blk_overlay_new(b->fd, b->size, config->overlay_limit, &b->overlay, err);
}

int blk_new(const struct blk_config *config, struct virtio_device **out, mayfly_error *err)
{
	static const uint16_t size = BLK_QUEUE_SIZE;
	struct blk *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	b->fd = -1;
	r = virtio_device_init(&b->dev, &blk_ops, &size, 1, err);
	if (r < 0) {
		free(b);
		return r;
	}
	r = prepare(b, config, err);
	if (r < 0) {
		blk_free(&b->dev);
		return r;
	}
	*out = &b->dev;
	return 0;
}
