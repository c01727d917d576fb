/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames go between the guest's buffers and the descriptor without a copy; just the header that
 * virtio puts before each (5.1.6) is taken apart, since no bit of it may be passed on unchecked.
 * A frame is read only when there is a buffer for it: until then it stays in the host's kernel,
 * which knows how to make a sender wait. A frame that the descriptor does not take yet stays in
 * its queue.
 */
#include "virtio/net.h"

#include <errno.h>
#include <limits.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/random.h"
#include "virtio/iov.h"
#include "virtio/net_tap.h"

/* Feature bits (virtio 1.2, 5.1.3). */
#define F(bit) ((uint64_t)1 << VIRTIO_NET_F_##bit)
#define HOST_OFFLOADS (F(CSUM) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN))
#define GUEST_OFFLOADS (F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN))

#define RX 0
#define TX 1
#define QUEUE_SIZE 256
/* Frames at a time, before others have their turn on the device thread. */
#define BUDGET 256

#define SHORT_HEADER 10u /* of legacy drivers that did not agree on MRG_RXBUF (5.1.6.1) */
#define LONG_HEADER 12u
#define TAP_HEADER                                                                             \
	SHORT_HEADER	 /* what a tap device puts before a frame: net_tap.c sees to it */
#define MIN_FRAME 14u	 /* an Ethernet header */
#define MAX_FRAME 65550u /* with the largest offload (5.1.6.3.1) */
#define MAX_MERGED 64u	 /* buffers for one frame: of 1 KiB at least, then */
#define CONFIG_LEN 12u	 /* up to and with the MTU (5.1.4) */
#define STANDARD_MTU 1500

struct net {
	struct virtio_device dev; /* first */
	int fd;			  /* owned */
	bool tap;
	bool gone; /* the other end is: nothing comes or goes any more */
	uint8_t mac[6];
	uint16_t mtu; /* 0: not told */
	/* While started. */
	uint32_t header_len; /* the guest's */
	bool merge;	     /* MRG_RXBUF */
	bool announce;	     /* a restored guest still believes that the link is down */
	struct loop_source *source;
	uint32_t watched;
	bool input, output; /* what is waited for */
	/* For one frame. */
	union {
		struct virtio_net_hdr_mrg_rxbuf fields;
		uint8_t bytes[LONG_HEADER];
	} header;
	struct iovec iov[IOV_MAX];
	uint8_t spill[MAX_FRAME + 1]; /* what does not fit a frame's first buffer */
};

static struct net *net_of(struct virtio_device *dev)
{
	return (struct net *)dev;
}

/* What became of one frame. */
enum outcome {
	DONE,  /* it went, or was dropped */
	EMPTY, /* there is none in the queue, or no buffer */
	WAIT   /* not now: the descriptor is not ready */
};

/* --- headers ------------------------------------------------------------------------------------ */

/* Whether a header asks for nothing but what was agreed on, `frame` being the bytes after it. */
static bool header_is_fair(const struct virtio_net_hdr *h, uint64_t frame, bool csum, bool tso4,
			   bool tso6, bool ecn)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (!csum || (uint64_t)h->csum_start + h->csum_offset + 2 > frame))
		return false;
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if ((h->gso_type & VIRTIO_NET_HDR_GSO_ECN && !ecn) || h->gso_size == 0 ||
	    h->hdr_len > frame)
		return false;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return tso4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return tso6;
	default:
		return false;
	}
}

static bool from_guest_is_fair(const struct net *n, uint64_t frame)
{
	const struct virtio_net_hdr *h = &n->header.fields.hdr;
	uint64_t agreed = n->dev.features;

	/* 5.1.6.2.1: who leaves the segments to us leaves their checksums, too. */
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE && !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return false;
	return header_is_fair(h, frame, agreed & F(CSUM), agreed & F(HOST_TSO4),
			      agreed & F(HOST_TSO6), agreed & F(HOST_ECN));
}

/* A tap's queue may still hold frames for the driver that was there before. */
static bool to_guest_is_fair(const struct net *n, uint64_t frame)
{
	uint64_t agreed = n->dev.features;

	return header_is_fair(&n->header.fields.hdr, frame, agreed & F(GUEST_CSUM),
			      agreed & F(GUEST_TSO4), agreed & F(GUEST_TSO6),
			      agreed & F(GUEST_ECN));
}

/* --- to the guest ------------------------------------------------------------------------------- */

/* A chain to fill, after the place of its header was cut off it. */
struct target {
	uint16_t head;
	struct iovec pieces[LONG_HEADER];
	struct iov header;
	uint64_t room; /* for the frame */
};

/*
 * Have n->iov receive a frame: a tap's header, the chain's buffers, and the spill, which takes
 * what is too much. Gives the number of pieces.
 */
static uint32_t rx_pieces(struct net *n, const struct virtq_chain *chain, struct target *to)
{
	struct iov frame = {chain->out, chain->nout};
	uint32_t pieces = 0;

	to->head = chain->head;
	to->header = (struct iov){to->pieces, 0};
	to->room = 0;
	iov_split(&frame, n->header_len, &to->header);
	if (n->tap)
		n->iov[pieces++] = (struct iovec){n->header.bytes, TAP_HEADER};
	for (uint32_t i = 0; i < frame.n && pieces < IOV_MAX - 1; i++) {
		n->iov[pieces++] = frame.at[i];
		to->room += frame.at[i].iov_len;
	}
	n->iov[pieces++] = (struct iovec){n->spill, sizeof(n->spill)};
	return pieces;
}

/* Bytes, the tap's header included, or -errno. */
static ssize_t receive(const struct net *n, struct iovec *iov, uint32_t pieces)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = pieces};
	ssize_t got;

	do {
		if (n->tap)
			got = readv(n->fd, iov, (int)pieces);
		else
			got = recvmsg(n->fd, &msg, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static void unpop(struct virtq *q, uint32_t count)
{
	while (count--)
		virtq_unpop(q);
}

/*
 * The rest of a frame, in the spill, into further buffers: their heads and lengths go to `used`,
 * after the first one's. Gives how many there are then; 0: not enough, all are given back.
 */
static uint32_t rx_merge(struct net *n, uint64_t rest, struct virtq_used *used)
{
	struct virtq *q = &n->dev.queues[RX];
	const uint8_t *from = n->spill;
	struct virtq_chain chain;
	uint32_t count = 1;

	while (rest) {
		uint64_t filled = 0;

		if (count == MAX_MERGED || !virtq_pop(q, &chain)) {
			unpop(q, count);
			return 0;
		}
		for (uint32_t i = 0; i < chain.nout && rest; i++) {
			size_t len = chain.out[i].iov_len;

			if (len > rest)
				len = (size_t)rest;
			memcpy(chain.out[i].iov_base, from, len);
			from += len;
			rest -= len;
			filled += len;
		}
		used[count++] = (struct virtq_used){chain.head, (uint32_t)filled};
	}
	return count;
}

/* Hand a frame of `len` bytes to the guest that lies in `to`, and, if it is longer, the spill. */
static void rx_deliver(struct net *n, struct target *to, uint64_t len)
{
	struct virtq *q = &n->dev.queues[RX];
	struct virtq_used used[MAX_MERGED];
	uint64_t first = len < to->room ? len : to->room;
	uint32_t count = 1;

	if (len > first) {
		count = n->merge ? rx_merge(n, len - first, used) : 0;
		if (!n->merge)
			virtq_unpop(q);
		if (!count)
			return;
	}
	used[0] = (struct virtq_used){to->head, (uint32_t)first + n->header_len};
	/* 5.1.6.4.1: 1 where it has no meaning. Little-endian, as we are. */
	n->header.fields.num_buffers = (uint16_t)count;
	(void)iov_put(&to->header, n->header.bytes, n->header_len);
	virtq_push_all(q, used, count);
}

static enum outcome rx_one(struct net *n)
{
	struct virtq *q = &n->dev.queues[RX];
	struct virtio_net_hdr *h = &n->header.fields.hdr;
	struct virtq_chain chain;
	struct target to;
	uint32_t pieces;
	ssize_t got;

	if (!virtq_pop(q, &chain))
		return EMPTY;
	if (chain.out_len <= n->header_len) {
		virtq_unpop(q);
		virtq_break(q, "a receive buffer is too small for any frame");
		return EMPTY;
	}
	pieces = rx_pieces(n, &chain, &to);
	memset(&n->header, 0, sizeof(n->header));
	got = receive(n, n->iov, pieces);
	if (got < 0) {
		virtq_unpop(q);
		/* Other errors are those of the past, which are over now. */
		return got == -EAGAIN ? WAIT : DONE;
	}
	if (n->tap)
		got -= TAP_HEADER;
	if (!(n->dev.features & F(GUEST_CSUM)))
		h->flags &= (uint8_t)~VIRTIO_NET_HDR_F_DATA_VALID;
	if (got < MIN_FRAME || got > MAX_FRAME || !to_guest_is_fair(n, (uint64_t)got)) {
		virtq_unpop(q);
		return DONE;
	}
	rx_deliver(n, &to, (uint64_t)got);
	virtio_device_requested(&n->dev);
	return DONE;
}

/* All that is there, for as many buffers as there are. */
static void rx(struct net *n)
{
	struct virtq *q = &n->dev.queues[RX];
	enum outcome last = DONE;

	n->input = false;
	if (n->gone)
		return;
	virtq_set_notify(q, false);
	for (int i = 0; i < BUDGET && last == DONE; i++) {
		last = rx_one(n);
		/* Without buffers we do not look for frames, but for buffers. */
		if (last == EMPTY && virtq_set_notify(q, true)) {
			virtq_set_notify(q, false);
			last = DONE;
		}
	}
	n->input = last != EMPTY;
	virtio_device_signal(&n->dev, RX);
}

/* --- from the guest ----------------------------------------------------------------------------- */

/*
 * A chain's header to n->header, the frame behind it, with a tap's header in front, to n->iov.
 * Gives the number of pieces; 0: more than the host takes.
 */
static uint32_t tx_pieces(struct net *n, const struct virtq_chain *chain)
{
	struct iov frame = {chain->in, chain->nin};
	uint32_t pieces = 0;

	memset(&n->header, 0, sizeof(n->header));
	(void)iov_get(&frame, n->header.bytes, n->header_len);
	if (n->tap)
		n->iov[pieces++] = (struct iovec){n->header.bytes, TAP_HEADER};
	if (frame.n > IOV_MAX - pieces)
		return 0;
	memcpy(&n->iov[pieces], frame.at, frame.n * sizeof(*frame.at));
	return pieces + frame.n;
}

/* 0, or -errno. */
static int transmit(const struct net *n, struct iovec *iov, uint32_t pieces)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = pieces};
	ssize_t put;

	do {
		if (n->tap)
			put = writev(n->fd, iov, (int)pieces);
		else
			put = sendmsg(n->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : 0;
}

static enum outcome tx_one(struct net *n)
{
	struct virtq *q = &n->dev.queues[TX];
	struct virtq_chain chain;
	uint64_t frame;
	uint32_t pieces;

	if (!virtq_pop(q, &chain))
		return EMPTY;
	if (chain.in_len < n->header_len) {
		virtq_unpop(q);
		virtq_break(q, "a frame to send has no header");
		return EMPTY;
	}
	frame = chain.in_len - n->header_len;
	pieces = tx_pieces(n, &chain);
	/* As a cable would: what cannot go is lost, and the driver need not know. */
	if (!n->gone && pieces && frame >= MIN_FRAME && frame <= MAX_FRAME &&
	    from_guest_is_fair(n, frame) && transmit(n, n->iov, pieces) == -EAGAIN) {
		virtq_unpop(q);
		return WAIT;
	}
	virtq_push(q, chain.head, 0);
	virtio_device_requested(&n->dev);
	return DONE;
}

static void tx(struct net *n)
{
	struct virtq *q = &n->dev.queues[TX];
	enum outcome last = DONE;

	virtq_set_notify(q, false);
	for (int i = 0; i < BUDGET && last == DONE; i++) {
		last = tx_one(n);
		if (last == EMPTY && virtq_set_notify(q, true)) {
			virtq_set_notify(q, false);
			last = DONE;
		}
	}
	n->output = last == WAIT;
	virtio_device_signal(&n->dev, TX);
	if (last == DONE)
		virtio_device_again(&n->dev, TX);
}

/* --- the descriptor ----------------------------------------------------------------------------- */

static void watch(struct net *n)
{
	uint32_t events = EPOLLRDHUP;

	if (n->input)
		events |= EPOLLIN;
	if (n->output)
		events |= EPOLLOUT;
	if (!n->source || events == n->watched)
		return;
	loop_change(n->source, events);
	n->watched = events;
}

/* The cable is pulled, for good. */
static void hang_up(struct net *n)
{
	loop_remove(n->source);
	n->source = NULL;
	n->gone = true;
	if (n->dev.features & F(STATUS))
		n->dev.transport->interrupt_config(&n->dev);
	/* What waits for the descriptor waits no more. */
	n->input = false;
	if (n->output)
		tx(n);
}

static void ready(void *context, uint32_t events)
{
	struct net *n = context;
	int error;
	socklen_t len = sizeof(error);

	pthread_mutex_lock(&n->dev.lock);
	if (n->input && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		rx(n);
	if (n->output && events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		tx(n);
	/*
	 * A tap reports an error once it was deleted. A socket's error is one datagram's, and
	 * would be reported until it was asked for.
	 */
	if (events & (EPOLLHUP | EPOLLRDHUP) || (n->tap && events & EPOLLERR))
		hang_up(n);
	else if (events & EPOLLERR)
		(void)getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	watch(n);
	pthread_mutex_unlock(&n->dev.lock);
}

/* --- the device --------------------------------------------------------------------------------- */

static void net_notify(struct virtio_device *dev, uint16_t queue)
{
	struct net *n = net_of(dev);

	pthread_mutex_lock(&dev->lock);
	if (queue == RX)
		rx(n);
	else
		tx(n);
	watch(n);
	pthread_mutex_unlock(&dev->lock);
}

static void net_start(struct virtio_device *dev)
{
	struct net *n = net_of(dev);

	n->merge = dev->features & F(MRG_RXBUF);
	n->header_len =
		n->merge || dev->features & VIRTIO_VERSION_1 ? LONG_HEADER : SHORT_HEADER;
	if (n->tap)
		net_tap_offload(n->fd, dev->features);
	if (!n->gone &&
	    loop_add(dev->loop, n->fd, EPOLLRDHUP, ready, n, &n->source, NULL) < 0) {
		virtio_device_broken(dev, "the host is out of memory");
		return;
	}
	n->watched = EPOLLRDHUP;
	if (n->announce && dev->features & F(STATUS))
		dev->transport->interrupt_config(dev);
	n->announce = false;
}

static void net_stop(struct virtio_device *dev)
{
	struct net *n = net_of(dev);

	loop_remove(n->source);
	n->source = NULL;
	n->input = n->output = false;
}

/* 5.1.4: all that there is, whether agreed on or not. */
static void net_config_read(struct virtio_device *dev, uint32_t offset, uint8_t *to,
			    uint32_t len)
{
	const struct net *n = net_of(dev);
	struct {
		uint8_t mac[6];
		uint16_t status;
		uint16_t pairs;
		uint16_t mtu;
	} config = {
		.status = n->gone ? 0 : VIRTIO_NET_S_LINK_UP,
		.pairs = 1,
		.mtu = n->mtu,
	};

	_Static_assert(sizeof(config) == CONFIG_LEN, "as on the wire");
	memcpy(config.mac, n->mac, sizeof(config.mac));
	memcpy(to, (const uint8_t *)&config + offset, len);
}

/* Legacy drivers set their address here (5.1.4.2.1); nothing is filtered by it. */
static void net_config_write(struct virtio_device *dev, uint32_t offset, const uint8_t *from,
			     uint32_t len)
{
	struct net *n = net_of(dev);

	if (!(dev->features & VIRTIO_VERSION_1) && range_within(offset, len, sizeof(n->mac)))
		memcpy(n->mac + offset, from, len);
}

static void net_save(const struct virtio_device *dev, struct writer *w)
{
	const struct net *n = (const struct net *)dev;

	put_u64(w, dev->offered);
	put_bytes(w, n->mac, sizeof(n->mac));
	put_u64(w, n->mtu);
	put_u64(w, n->gone);
}

static int net_load(struct virtio_device *dev, struct reader *r, mayfly_error *err)
{
	struct net *n = net_of(dev);
	uint64_t offered = get_u64(r), mtu;
	uint8_t mac[sizeof(n->mac)];
	bool gone;

	get_bytes(r, mac, sizeof(mac));
	mtu = get_count(r, UINT16_MAX);
	gone = get_count(r, 1);
	if (r->bad)
		return fail(err, MAYFLY_E_FORMAT, "a network card's state is damaged");
	if (offered != dev->offered)
		return fail(
			err, MAYFLY_E_INVALID,
			"a network card of the snapshot had other abilities (0x%llx) than the "
			"one given now (0x%llx): give it the same kind of network",
			(unsigned long long)offered, (unsigned long long)dev->offered);
	memcpy(n->mac, mac, sizeof(mac));
	n->mtu = (uint16_t)mtu;
	n->announce = gone && !n->gone;
	return 0;
}

static void net_free(struct virtio_device *dev)
{
	struct net *n = net_of(dev);

	virtio_device_fini(dev);
	if (n->fd >= 0)
		close(n->fd);
	free(n);
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.type = VIRTIO_NET,
	.nqueues = 2,
	.config_read = net_config_read,
	.config_write = net_config_write,
	.start = net_start,
	.stop = net_stop,
	.notify = net_notify,
	.save = net_save,
	.load = net_load,
	.free = net_free,
};

static void choose_mac(struct net *n, const uint8_t mac[6])
{
	static const uint8_t none[6];

	memcpy(n->mac, mac, sizeof(n->mac));
	if (memcmp(n->mac, none, sizeof(none)) != 0)
		return;
	random_bytes(n->mac, sizeof(n->mac));
	/* Of one station, and administered locally (IEEE 802, 8.2). */
	n->mac[0] = (uint8_t)((n->mac[0] & ~3u) | 2u);
}

int net_new(const struct net_config *config, struct virtio_device **out, mayfly_error *err)
{
	static const uint16_t sizes[] = {QUEUE_SIZE, QUEUE_SIZE};
	struct net *n = calloc(1, sizeof(*n));
	uint64_t guest_offloads = 0;
	int r;

	if (!n)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	n->fd = -1;
	r = virtio_device_init(&n->dev, &net_ops, sizes, ARRAY_SIZE(sizes), err);
	if (r < 0) {
		free(n);
		return r;
	}
	n->tap = config->tap;
	n->mtu = config->mtu;
	if (n->tap)
		guest_offloads = net_tap_prepare(config->fd, GUEST_OFFLOADS, &n->mtu);
	choose_mac(n, config->mac);
	n->dev.config_len = CONFIG_LEN;
	n->dev.offered = F(MAC) | F(STATUS) | guest_offloads;
	if (n->tap)
		n->dev.offered |= HOST_OFFLOADS;
	if (n->mtu)
		n->dev.offered |= F(MTU);
	/* Where all frames are small, a buffer each is the quicker way. */
	if (guest_offloads || n->mtu > STANDARD_MTU)
		n->dev.offered |= F(MRG_RXBUF);
	n->fd = config->fd;
	*out = &n->dev;
	return 0;
}
