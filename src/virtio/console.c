/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes go between the guest's buffers and sockets without a copy; the console's go through its
 * stream. Nothing is read from the host's side before there is a buffer for it in the guest, and
 * what the host's side does not take stays in the guest's queue: of a chain that went out in part
 * the offset is kept, and the chain is put back.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "virtio/console_socket.h"
#include "virtio/iov.h"

/* Feature bits (virtio 1.2, 5.3.3). */
#define F_SIZE ((uint64_t)1 << 0)
#define F_MULTIPORT ((uint64_t)1 << 1)
#define F_EMERG_WRITE ((uint64_t)1 << 2)

/* Queues (5.3.2). */
#define CONTROL_RX 2
#define CONTROL_TX 3
#define QUEUE_SIZE 64
/* Bytes in one go, before others have their turn; a chain counts as at least so many. */
#define BUDGET (256u << 10)
#define CHAIN_COST 1024u
#define BOUNCE 4096
/* Until somebody who connects is accepted, where that failed: there may be descriptors again. */
#define REST_NS 100000000u

#define MAX_PORTS (CONSOLE_MAX_PORTS + 1)
#define MAX_NAME 63

/* The configuration (5.3.4). */
struct config {
	uint16_t columns, rows;
	uint32_t max_ports;
	uint32_t emergency_write;
};

/* Control messages (5.3.6.2). */
struct control {
	uint32_t id;
	uint16_t event;
	uint16_t value;
};

enum event {
	EVENT_DEVICE_READY = 0,
	EVENT_DEVICE_ADD = 1,
	EVENT_PORT_READY = 3,
	EVENT_CONSOLE_PORT = 4,
	EVENT_RESIZE = 5,
	EVENT_PORT_OPEN = 6,
	EVENT_PORT_NAME = 7
};

/* What is still to be told to the driver about a port: bits of these, in the order of EVENT_. */
#define TELL(event) (1u << (event))
#define TELL_ALL                                                                               \
	(TELL(EVENT_DEVICE_ADD) | TELL(EVENT_CONSOLE_PORT) | TELL(EVENT_RESIZE) |              \
	 TELL(EVENT_PORT_OPEN) | TELL(EVENT_PORT_NAME))

struct port {
	struct console *console;
	uint32_t id;
	char *name;	 /* NULL: the console */
	uint64_t offset; /* so much of the first chain to be put out is out already */
	uint32_t tell;
	bool ready; /* the driver knows it */
	bool guest_open;
	bool told_open; /* the driver believes that somebody is at the host's end */
	bool starved;	/* input waits for a buffer */
	bool blocked;	/* output waits for the host */
	/* A socket's. */
	struct console_socket socket; /* .fd < 0: the console */
	int client;
	struct loop_source *listening, *connected;
	uint32_t watched;
};

struct console {
	struct virtio_device dev; /* first */
	struct stream *stream;
	struct config config;
	struct port ports[MAX_PORTS];
	uint32_t nports;
	struct loop_source *rest; /* with ports: a timer until which listeners are left alone */
	bool resting;
};

static struct console *console_of(struct virtio_device *dev)
{
	return (struct console *)dev;
}

static uint16_t rx_queue(const struct port *p)
{
	return (uint16_t)(p->id ? 2 * p->id + 2 : 0);
}

static uint16_t tx_queue(const struct port *p)
{
	return (uint16_t)(rx_queue(p) + 1);
}

static bool is_multiport(const struct console *c)
{
	return c->dev.features & F_MULTIPORT;
}

/* Whether somebody is at the host's end. */
static bool host_open(const struct port *p)
{
	return p->id ? p->client >= 0 : p->console->stream != NULL;
}

/* --- Control messages, `lock` held ------------------------------------------------------------ */

struct message {
	struct control control;
	uint8_t rest[MAX_NAME];
	size_t len; /* of both */
};

static void make_message(const struct port *p, enum event event, struct message *m)
{
	const struct config *config = &p->console->config;
	size_t rest = 0;

	m->control = (struct control){.id = p->id, .event = (uint16_t)event, .value = 1};
	if (event == EVENT_PORT_OPEN)
		m->control.value = host_open(p);
	if (event == EVENT_RESIZE) {
		const uint16_t size[2] = {config->columns, config->rows};

		rest = sizeof(size);
		memcpy(m->rest, size, rest);
	}
	if (event == EVENT_PORT_NAME) {
		rest = strlen(p->name); /* without a NUL */
		memcpy(m->rest, p->name, rest);
	}
	m->len = sizeof(m->control) + rest;
}

/* False: there is no buffer. */
static bool send_message(struct port *p, enum event event)
{
	struct virtio_device *dev = &p->console->dev;
	struct virtq *q = &dev->queues[CONTROL_RX];
	struct virtq_chain chain;
	struct message m;
	struct iov out;

	if (!virtq_pop(q, &chain))
		return false;
	make_message(p, event, &m);
	out = (struct iov){chain.out, chain.nout};
	/* A driver whose buffers are too small gets nothing in them. */
	if (chain.out_len < m.len) {
		virtq_push(q, chain.head, 0);
		return true;
	}
	iov_put(&out, &m.control, sizeof(m.control));
	iov_put(&out, m.rest, m.len - sizeof(m.control));
	virtq_push(q, chain.head, (uint32_t)m.len);
	return true;
}

/* Of one port; false: there is no buffer for all. */
static bool tell_port(struct port *p)
{
	for (uint32_t event = 0; p->tell; event++) {
		if (!(p->tell & TELL(event)))
			continue;
		if (!send_message(p, (enum event)event))
			return false;
		p->tell &= ~TELL(event);
		if (event == EVENT_PORT_OPEN)
			p->told_open = host_open(p);
	}
	return true;
}

/* Bounded: by what there is to tell. */
static void tell(struct console *c)
{
	struct virtq *q = &c->dev.queues[CONTROL_RX];
	uint32_t i = 0;

	if (!c->dev.started || !is_multiport(c))
		return;
	virtq_set_notify(q, false);
	while (i < c->nports) {
		if (tell_port(&c->ports[i]))
			i++;
		else if (!virtq_set_notify(q, true))
			break;
	}
	virtio_device_signal(&c->dev, CONTROL_RX);
}

/* --- From the guest, `lock` held -------------------------------------------------------------- */

static void port_watch(struct port *p);
static void port_hang_up(struct port *p);
static void buffers_there(struct port *p);

/* Somebody came or went at the host's end. */
static void tell_open(struct port *p)
{
	if (p->ready)
		p->tell |= TELL(EVENT_PORT_OPEN);
}

/* Put out what there is of a chain; gives how much was taken. The offset is skipped already. */
static uint64_t write_stream(struct port *p, struct iov *from, uint64_t len)
{
	uint8_t bounce[BOUNCE];
	uint64_t done = 0;

	while (done < len) {
		size_t n = len - done < BOUNCE ? (size_t)(len - done) : BOUNCE;
		size_t taken;

		if (!iov_get(from, bounce, n))
			break;
		taken = p->console->stream ? stream_write(p->console->stream, bounce, n) : n;
		done += taken;
		if (taken < n)
			break;
	}
	return done;
}

static uint64_t write_socket(struct port *p, struct iov *from, uint64_t len)
{
	struct msghdr msg = {.msg_iov = from->at, .msg_iovlen = from->n};
	ssize_t n;

	/* As with any cable that is not plugged in. */
	if (p->client < 0)
		return len;
	do {
		n = sendmsg(p->client, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (uint64_t)n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	port_hang_up(p);
	return len;
}

/*
 * One chain, up to `budget` bytes of it; gives what that cost, 0: nothing more for now. The guest
 * may have changed a chain that was put back: the offset is nothing to rely on.
 */
static uint64_t put_out(struct port *p, uint64_t budget)
{
	struct virtq *q = &p->console->dev.queues[tx_queue(p)];
	struct virtq_chain chain;
	uint64_t len, done;
	struct iov from;

	if (!virtq_pop(q, &chain))
		return 0;
	virtio_device_requested(&p->console->dev);
	from = (struct iov){chain.in, chain.nin};
	iov_skip(&from, p->offset);
	len = p->offset < chain.in_len ? chain.in_len - p->offset : 0;
	done = len < budget ? len : budget;
	if (len)
		done = p->id ? write_socket(p, &from, len) : write_stream(p, &from, done);
	if (done < len) {
		p->blocked = done < budget;
		p->offset += done;
		virtq_unpop(q);
		return p->blocked ? 0 : done;
	}
	p->offset = 0;
	virtq_push(q, chain.head, 0);
	return done + CHAIN_COST;
}

static void port_output(struct port *p)
{
	struct virtio_device *dev = &p->console->dev;
	uint16_t queue = tx_queue(p);
	struct virtq *q = &dev->queues[queue];
	uint64_t left = BUDGET, cost;

	p->blocked = false;
	virtq_set_notify(q, false);
	do {
		while (left && (cost = put_out(p, left)))
			left -= cost < left ? cost : left;
	} while (left && !p->blocked && virtq_set_notify(q, true));
	virtio_device_signal(dev, queue);
	if (!left)
		virtio_device_again(dev, queue);
	if (p->id)
		port_watch(p);
}

/* What the driver says (5.3.6.2); whatever else it says means nothing. */
static void heed(struct console *c, const struct control *m)
{
	struct port *p = m->id < c->nports ? &c->ports[m->id] : NULL;

	if (m->event == EVENT_DEVICE_READY && m->value == 1) {
		for (uint32_t i = 0; i < c->nports; i++) {
			c->ports[i].tell = TELL(EVENT_DEVICE_ADD);
			c->ports[i].ready = false;
		}
	} else if (p && m->event == EVENT_PORT_READY && m->value == 1) {
		p->ready = true;
		p->tell |= p->id ? TELL(EVENT_PORT_NAME)
				 : TELL(EVENT_CONSOLE_PORT) | TELL(EVENT_RESIZE);
		if (host_open(p))
			p->tell |= TELL(EVENT_PORT_OPEN);
	} else if (p && m->event == EVENT_PORT_OPEN) {
		p->guest_open = m->value == 1;
		if (p->id)
			port_watch(p);
		else if (p->guest_open)
			buffers_there(p);
	}
}

static void control_output(struct console *c)
{
	struct virtq *q = &c->dev.queues[CONTROL_TX];
	struct virtq_chain chain;
	uint32_t left = QUEUE_SIZE;

	virtq_set_notify(q, false);
	do {
		while (left && virtq_pop(q, &chain)) {
			struct iov from = {chain.in, chain.nin};
			struct control m;

			left--;
			if (iov_get(&from, &m, sizeof(m)))
				heed(c, &m);
			virtq_push(q, chain.head, 0);
		}
	} while (left && virtq_set_notify(q, true));
	virtio_device_signal(&c->dev, CONTROL_TX);
	if (!left)
		virtio_device_again(&c->dev, CONTROL_TX);
	tell(c);
}

/* --- To the guest ----------------------------------------------------------------------------- */

/* A buffer to fill, or false, and the driver's notification is awaited. `lock` held. */
static bool input_buffer(struct port *p, struct virtq_chain *chain)
{
	struct virtq *q = &p->console->dev.queues[rx_queue(p)];

	while (!virtq_pop(q, chain))
		if (!virtq_set_notify(q, true))
			return false;
	virtq_set_notify(q, false);
	return true;
}

/*
 * Linux's driver drops what comes before its console is there, though it has given buffers for
 * it. Then it opens the port, as drivers must (5.3.6.2.1); those without control queues cannot.
 */
static bool console_takes_input(const struct console *c)
{
	return c->dev.started && (!is_multiport(c) || c->ports[0].guest_open);
}

/* Of the console. */
static size_t on_input(void *context, const uint8_t *data, size_t len)
{
	struct console *c = context;
	struct port *p = &c->ports[0];
	uint16_t queue = rx_queue(p);
	struct virtq_chain chain;
	uint32_t left = QUEUE_SIZE;
	size_t done = 0;

	pthread_mutex_lock(&c->dev.lock);
	while (console_takes_input(c) && done < len && left && input_buffer(p, &chain)) {
		struct iov to = {chain.out, chain.nout};
		size_t n = len - done < chain.out_len ? len - done : (size_t)chain.out_len;

		iov_put(&to, data + done, n);
		virtq_push(&c->dev.queues[queue], chain.head, (uint32_t)n);
		done += n;
		left--;
	}
	p->starved = done < len;
	if (c->dev.started)
		virtio_device_signal(&c->dev, queue);
	if (!left)
		virtio_device_again(&c->dev, queue);
	pthread_mutex_unlock(&c->dev.lock);
	return done;
}

/* Of a socket, `lock` held. One buffer; false: no more for now. */
static bool take_in(struct port *p)
{
	struct virtq *q = &p->console->dev.queues[rx_queue(p)];
	struct virtq_chain chain;
	struct msghdr msg;
	ssize_t n;
	int e;

	p->starved = !input_buffer(p, &chain);
	if (p->starved)
		return false;
	if (!chain.nout) {
		virtq_push(q, chain.head, 0);
		return true;
	}
	msg = (struct msghdr){.msg_iov = chain.out, .msg_iovlen = chain.nout};
	n = recvmsg(p->client, &msg, MSG_DONTWAIT);
	e = errno;
	if (n > 0) {
		virtq_push(q, chain.head, (uint32_t)n);
		return true;
	}
	virtq_unpop(q);
	if (n == 0 || (e != EAGAIN && e != EWOULDBLOCK && e != EINTR))
		port_hang_up(p);
	return false;
}

static void port_input(struct port *p)
{
	uint32_t left = QUEUE_SIZE;

	while (left && p->client >= 0 && p->guest_open && take_in(p))
		left--;
	virtio_device_signal(&p->console->dev, rx_queue(p));
	/* What was to go to a client that is gone is dropped. */
	if (p->client < 0)
		port_output(p);
	else
		port_watch(p);
}

/* --- Sockets, `lock` held --------------------------------------------------------------------- */

static void on_client(void *context, uint32_t events)
{
	struct port *p = context;
	struct console *c = p->console;

	pthread_mutex_lock(&c->dev.lock);
	if (c->dev.started && p->client >= 0) {
		/* Of a peer that is gone sending tells. */
		if (p->blocked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			port_output(p);
		port_input(p);
		tell(c);
	}
	pthread_mutex_unlock(&c->dev.lock);
}

/* accept(2): who came is gone again. After any other failure we would be told of him for ever. */
static bool nobody_came(int e)
{
	return e == EAGAIN || e == EWOULDBLOCK || e == ECONNABORTED || e == EINTR;
}

static void on_listener(void *context, uint32_t events)
{
	struct port *p = context;
	struct console *c = p->console;

	(void)events;
	pthread_mutex_lock(&c->dev.lock);
	if (c->dev.started && p->client < 0) {
		p->client = accept4(p->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (p->client >= 0) {
			tell_open(p);
		} else if (!nobody_came(errno)) {
			c->resting = true;
			loop_set_timer(c->rest, clock_now() + REST_NS);
		}
		port_watch(p);
		tell(c);
	}
	pthread_mutex_unlock(&c->dev.lock);
}

/*
 * Watch what can go on. A client that is not to be read or written now is not watched at all: of
 * one that has closed its end there would be no end of events.
 */
static void port_watch(struct port *p)
{
	struct loop *loop = p->console->dev.loop;
	bool listens = p->client < 0 && p->console->rest && !p->console->resting;
	uint32_t events = 0;
	int r = MAYFLY_OK;

	if (p->client >= 0)
		events = (p->guest_open && !p->starved ? EPOLLIN : 0) |
			 (p->blocked ? EPOLLOUT : 0u);
	if (p->connected && !events) {
		loop_remove(p->connected);
		p->connected = NULL;
	} else if (p->connected && events != p->watched) {
		loop_change(p->connected, events);
	} else if (!p->connected && events) {
		r = loop_add(loop, p->client, events, on_client, p, &p->connected, NULL);
	}
	p->watched = events;
	if (p->listening && !listens) {
		loop_remove(p->listening);
		p->listening = NULL;
	} else if (!p->listening && listens && r == MAYFLY_OK) {
		r = loop_add(loop, p->socket.fd, EPOLLIN, on_listener, p, &p->listening, NULL);
	}
	if (r != MAYFLY_OK)
		virtio_device_broken(&p->console->dev, "the host is out of memory");
}

static void on_rested(void *context, uint32_t events)
{
	struct console *c = context;

	(void)events;
	pthread_mutex_lock(&c->dev.lock);
	c->resting = false;
	for (uint32_t i = 1; c->dev.started && i < c->nports; i++)
		port_watch(&c->ports[i]);
	pthread_mutex_unlock(&c->dev.lock);
}

/* The client is gone; the driver is told later. */
static void port_hang_up(struct port *p)
{
	loop_remove(p->connected);
	p->connected = NULL;
	p->watched = 0;
	close(p->client);
	p->client = -1;
	p->blocked = false;
	p->starved = false;
	tell_open(p);
}

/* --- The device ------------------------------------------------------------------------------- */

static void on_writable(void *context)
{
	struct console *c = context;

	pthread_mutex_lock(&c->dev.lock);
	if (c->dev.started && c->ports[0].blocked)
		port_output(&c->ports[0]);
	pthread_mutex_unlock(&c->dev.lock);
}

/* A driver has filled a queue of input buffers. */
static void buffers_there(struct port *p)
{
	if (!p->starved) {
		virtq_set_notify(&p->console->dev.queues[rx_queue(p)], false);
		return;
	}
	p->starved = false;
	if (p->id)
		port_input(p);
	else if (p->console->stream)
		stream_want_input(p->console->stream);
}

static void console_notify(struct virtio_device *dev, uint16_t queue)
{
	struct console *c = console_of(dev);
	uint32_t id = queue < CONTROL_RX ? 0 : queue / 2u - 1;

	pthread_mutex_lock(&dev->lock);
	if (queue == CONTROL_TX)
		control_output(c);
	else if (queue == CONTROL_RX)
		tell(c);
	else if (id < c->nports && queue == tx_queue(&c->ports[id]))
		port_output(&c->ports[id]);
	else if (id < c->nports)
		buffers_there(&c->ports[id]);
	/* What a port went through may be news to the driver. */
	tell(c);
	pthread_mutex_unlock(&dev->lock);
}

static void console_start(struct virtio_device *dev)
{
	struct console *c = console_of(dev);

	if (c->stream)
		stream_want_input(c->stream);
	if (!is_multiport(c))
		return;
	if (loop_add_timer(dev->loop, on_rested, c, &c->rest, NULL) != MAYFLY_OK) {
		virtio_device_broken(dev, "the host is out of memory");
		return;
	}
	for (uint32_t i = 1; i < c->nports; i++) {
		struct port *p = &c->ports[i];

		/* Restored: the one that it was connected to is not there. */
		if (p->told_open)
			p->tell |= TELL(EVENT_PORT_OPEN);
		port_watch(p);
	}
	tell(c);
}

static void console_stop(struct virtio_device *dev)
{
	struct console *c = console_of(dev);

	loop_remove(c->rest);
	c->rest = NULL;
	c->resting = false;
	for (uint32_t i = 0; i < c->nports; i++) {
		struct port *p = &c->ports[i];

		if (p->client >= 0)
			port_hang_up(p);
		loop_remove(p->listening);
		p->listening = NULL;
		p->tell = 0;
		p->offset = 0;
		p->ready = p->guest_open = p->told_open = false;
		p->starved = p->blocked = false;
	}
}

static void console_config_read(struct virtio_device *dev, uint32_t offset, uint8_t *to,
				uint32_t len)
{
	const struct console *c = console_of(dev);

	if (range_within(offset, len, sizeof(c->config)))
		memcpy(to, (const uint8_t *)&c->config + offset, len);
}

/* The one byte that a kernel can put out before it has queues (5.3.4). What is full loses it. */
static void console_config_write(struct virtio_device *dev, uint32_t offset,
				 const uint8_t *from, uint32_t len)
{
	struct console *c = console_of(dev);

	if (offset != offsetof(struct config, emergency_write) || !len || !c->stream)
		return;
	virtio_device_requested(dev);
	stream_write(c->stream, from, 1);
}

void console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows)
{
	struct console *c = console_of(dev);

	pthread_mutex_lock(&dev->lock);
	if (c->config.columns != columns || c->config.rows != rows) {
		c->config.columns = columns;
		c->config.rows = rows;
		if (dev->started && is_multiport(c)) {
			if (c->ports[0].ready)
				c->ports[0].tell |= TELL(EVENT_RESIZE);
			tell(c);
		} else if (dev->started) {
			dev->transport->interrupt_config(dev);
		}
	}
	pthread_mutex_unlock(&dev->lock);
}

/* --- Snapshots -------------------------------------------------------------------------------- */

static void console_save(const struct virtio_device *dev, struct writer *w)
{
	const struct console *c = (const struct console *)dev;

	put_bytes(w, &c->config, sizeof(c->config));
	put_u64(w, c->nports);
	for (uint32_t i = 0; i < c->nports; i++) {
		const struct port *p = &c->ports[i];

		put_string(w, p->name);
		put_u64(w, p->offset);
		put_u64(w, p->tell);
		put_u64(w, p->ready);
		put_u64(w, p->guest_open);
		put_u64(w, p->told_open);
	}
}

static int console_load(struct virtio_device *dev, struct reader *r, mayfly_error *err)
{
	struct console *c = console_of(dev);
	uint64_t nports;

	get_bytes(r, &c->config, sizeof(c->config));
	c->config.max_ports = c->nports;
	nports = get_count(r, MAX_PORTS);
	if (!r->bad && nports != c->nports)
		return fail(err, MAYFLY_E_INVALID,
			    "the snapshot has %u ports of the virtio console, not %u: give the "
			    "same ports as when it was taken",
			    (unsigned int)nports - 1, c->nports - 1);
	for (uint32_t i = 0; i < nports; i++) {
		struct port *p = &c->ports[i];
		char name[MAX_NAME + 1], shown[4 * MAX_NAME + 1];

		get_string(r, name, sizeof(name));
		p->offset = get_u64(r);
		p->tell = (uint32_t)get_count(r, TELL_ALL) & TELL_ALL;
		p->ready = get_count(r, 1);
		p->guest_open = get_count(r, 1);
		p->told_open = get_count(r, 1);
		if (!r->bad && strcmp(name, p->name ? p->name : "") != 0)
			return fail(err, MAYFLY_E_INVALID,
				    "port %u of the virtio console is called '%s' in the "
				    "snapshot: give the same ports, in the same order",
				    i,
				    error_printable(shown, sizeof(shown), name, strlen(name)));
		if (!p->name)
			p->tell &= ~TELL(EVENT_PORT_NAME);
	}
	return r->bad ? fail(err, MAYFLY_E_FORMAT, "the state of the virtio console is damaged")
		      : MAYFLY_OK;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void console_free(struct virtio_device *dev)
{
	struct console *c = console_of(dev);

	console_stop(dev);
	if (c->stream)
		stream_set_user(c->stream, NULL, NULL);
	for (uint32_t i = 1; i < c->nports; i++) {
		console_socket_close(&c->ports[i].socket);
		free(c->ports[i].name);
	}
	virtio_device_fini(dev);
	free(c);
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.type = VIRTIO_CONSOLE,
	.nqueues = VIRTIO_MAX_QUEUES,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.start = console_start,
	.stop = console_stop,
	.notify = console_notify,
	.save = console_save,
	.load = console_load,
	.free = console_free,
};

static const struct stream_ops stream_ops = {.input = on_input, .writable = on_writable};

static int check_name(const struct console *c, const char *name, mayfly_error *err)
{
	char shown[4 * MAX_NAME + 1];

	if (!name || !*name || strlen(name) > MAX_NAME || strchr(name, '/'))
		return fail(err, MAYFLY_E_INVALID,
			    "'%s' is no name for a port: 1 to %d characters without '/'",
			    error_printable(shown, sizeof(shown), name ? name : "",
					    name ? strlen(name) : 0),
			    MAX_NAME);
	for (uint32_t i = 1; i < c->nports; i++)
		if (strcmp(c->ports[i].name, name) == 0)
			return fail(err, MAYFLY_E_INVALID, "there are two ports called '%s'",
				    error_printable(shown, sizeof(shown), name, strlen(name)));
	return MAYFLY_OK;
}

static int add_port(struct console *c, const struct console_port *from, mayfly_error *err)
{
	struct port *p = &c->ports[c->nports];
	int r = check_name(c, from->name, err);

	if (r != MAYFLY_OK)
		return r;
	r = console_socket_open(&p->socket, from->path, err);
	if (r != MAYFLY_OK)
		return r;
	p->name = strdup(from->name);
	if (!p->name) {
		console_socket_close(&p->socket);
		return fail(err, MAYFLY_E_NOMEM, "no memory");
	}
	*p = (struct port){.console = c,
			   .id = c->nports++,
			   .name = p->name,
			   .socket = p->socket,
			   .client = -1};
	return MAYFLY_OK;
}

int console_new(const struct console_config *config, struct virtio_device **out,
		mayfly_error *err)
{
	uint16_t sizes[VIRTIO_MAX_QUEUES], nqueues = (uint16_t)(4 + 2 * config->nports);
	struct console *c;
	int r;

	if (config->nports > CONSOLE_MAX_PORTS)
		return fail(err, MAYFLY_E_INVALID, "%zu ports of a console: %d are possible",
			    config->nports, CONSOLE_MAX_PORTS);
	for (uint16_t i = 0; i < nqueues; i++)
		sizes[i] = QUEUE_SIZE;
	c = calloc(1, sizeof(*c));
	if (!c)
		return fail(err, MAYFLY_E_NOMEM, "no memory");
	r = virtio_device_init(&c->dev, &console_ops, sizes, nqueues, err);
	if (r != MAYFLY_OK) {
		free(c);
		return r;
	}
	c->ports[0] = (struct port){.console = c, .socket.fd = -1, .client = -1};
	c->nports = 1;
	for (size_t i = 0; i < config->nports && r == MAYFLY_OK; i++)
		r = add_port(c, &config->ports[i], err);
	if (r != MAYFLY_OK) {
		console_free(&c->dev);
		return r;
	}
	c->dev.offered = F_SIZE | F_EMERG_WRITE | F_MULTIPORT;
	c->dev.config_len = sizeof(c->config);
	c->config.max_ports = c->nports;
	c->stream = config->stream;
	if (c->stream)
		stream_set_user(c->stream, &stream_ops, c);
	*out = &c->dev;
	return MAYFLY_OK;
}
