/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A (National Semiconductor, PC16550D data sheet, 1995; sections in comments are its). The
 * line behind it is as fast as the host takes bytes: what is written is out at once, and the
 * transmitter is empty again, unless the stream is full. Then up to a FIFO's worth of bytes waits
 * here, with THRE clear.
 *
 * Input is taken from the stream only when the guest is about to read: drivers clear the FIFO and
 * read a byte or two when they set the port up, which would swallow what was typed or piped in
 * ahead. So nothing is taken before receive interrupts are on, or the guest polls for input.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "core/clock.h"
#include "machine/platform.h"

#define PORTS 8
#define FIFO_SIZE 16

/* Registers by offset (8.0, table II); with the divisor latch open the first two are its. */
#define REG_DATA 0
#define REG_IER 1
#define REG_IIR 2 /* to write: the FIFO control register */
#define REG_LCR 3
#define REG_MCR 4
#define REG_LSR 5
#define REG_MSR 6
#define REG_SCRATCH 7

#define IER_RECEIVED 0x01
#define IER_EMPTY 0x02
#define IER_MODEM 0x08
#define IER_ALL 0x0f /* and line status, which has nothing to tell here */

#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_EMPTY 0x02
#define IIR_RECEIVED 0x04
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RECEIVER 0x02
#define FCR_CLEAR_TRANSMITTER 0x04
#define FCR_TRIGGER 0xc0
#define FCR_TRIGGER_SHIFT 6

#define LCR_LATCH 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_ALL 0x1f

#define LSR_RECEIVED 0x01
#define LSR_EMPTY 0x20 /* the holding register or FIFO, */
#define LSR_IDLE 0x40  /* and the shift register */

#define MSR_DCTS 0x01
#define MSR_DDSR 0x02
#define MSR_TERI 0x04
#define MSR_DDCD 0x08
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_LINES 0xf0

/* 9600 baud of 1.8432 MHz (table III): as after a PC's firmware. */
#define DIVISOR_DEFAULT 12

/* So many reads of LSR in a row, with nothing there and nothing sent: the guest waits for input. */
#define POLLING 64
/*
 * How long a read of LSR may take while the transmitter is full: a guest that waits for it then
 * does that with few exits, and drivers that count their polls do not give up early.
 */
#define BUSY_NS 1000000

struct fifo {
	uint8_t bytes[FIFO_SIZE];
	uint32_t head, used;
};

struct serial {
	pthread_mutex_t lock;
	pthread_cond_t moved; /* the transmitter has room */
	struct stream *stream;
	struct irq_line irq;

	/* Under lock. */
	uint8_t ier, lcr, mcr, msr, scratch, trigger;
	uint8_t divisor[2];
	bool fifos;
	bool empty_pending; /* the transmitter's interrupt (8.5, 8.6) */
	struct fifo in, out;
	bool level;	/* of the interrupt line */
	bool starved;	/* the stream has more than was taken, or nothing was asked for yet */
	uint32_t polls; /* of LSR, in a row */
};

static void fifo_push(struct fifo *f, uint8_t byte)
{
	f->bytes[(f->head + f->used++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct fifo *f)
{
	uint8_t byte = f->bytes[f->head];

	f->head = (f->head + 1) % FIFO_SIZE;
	f->used--;
	return byte;
}

/* --- Interrupts ------------------------------------------------------------------------------- */

static uint32_t trigger_bytes(const struct serial *s)
{
	static const uint8_t bytes[] = {1, 4, 8, 14}; /* 8.4 */

	return s->fifos ? bytes[s->trigger] : 1;
}

/*
 * The most urgent one (table V). Bytes that have not reached the trigger level time out at once:
 * no more are on their way.
 */
static uint8_t identify(const struct serial *s)
{
	if ((s->ier & IER_RECEIVED) && s->in.used)
		return s->in.used >= trigger_bytes(s) ? IIR_RECEIVED : IIR_TIMEOUT;
	if ((s->ier & IER_EMPTY) && s->empty_pending)
		return IIR_EMPTY;
	if ((s->ier & IER_MODEM) && (s->msr & ~MSR_LINES))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_line(struct serial *s)
{
	bool level = identify(s) != IIR_NONE;

	if (level != s->level) {
		s->level = level;
		s->irq.set(s->irq.context, s->irq.irq, level);
	}
}

/* --- The receiver ----------------------------------------------------------------------------- */

static uint32_t receiver_room(const struct serial *s)
{
	/* The line is cut in loopback (8.7). */
	if ((s->mcr & MCR_LOOP) || !((s->ier & IER_RECEIVED) || s->polls >= POLLING))
		return 0;
	return (s->fifos ? FIFO_SIZE : 1) - s->in.used;
}

/* Not for each byte: when all are read. */
static void ask_for_input(struct serial *s)
{
	if (s->stream && s->starved && !s->in.used && receiver_room(s)) {
		s->starved = false;
		stream_want_input(s->stream);
	}
}

static size_t on_input(void *context, const uint8_t *data, size_t len)
{
	struct serial *s = context;
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = receiver_room(s);
	if (n < len)
		s->starved = true;
	else
		n = len;
	for (size_t i = 0; i < n; i++)
		fifo_push(&s->in, data[i]);
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* --- The transmitter -------------------------------------------------------------------------- */

static void send_waiting(struct serial *s)
{
	while (s->out.used && stream_write(s->stream, &s->out.bytes[s->out.head], 1) == 1)
		fifo_pop(&s->out);
	if (!s->out.used) {
		s->empty_pending = true;
		pthread_cond_broadcast(&s->moved);
	}
}

static void on_writable(void *context)
{
	struct serial *s = context;

	pthread_mutex_lock(&s->lock);
	if (s->out.used)
		send_waiting(s);
	update_line(s);
	pthread_mutex_unlock(&s->lock);
}

static void transmit(struct serial *s, uint8_t byte)
{
	s->empty_pending = false;
	if (s->mcr & MCR_LOOP) {
		if (s->in.used < (s->fifos ? FIFO_SIZE : 1))
			fifo_push(&s->in, byte);
		s->empty_pending = !s->out.used;
		return;
	}
	if (!s->stream) {
		s->empty_pending = true;
		return;
	}
	/* Who writes more than there is room for does not look at THRE, and loses it. */
	if (s->out.used < FIFO_SIZE)
		fifo_push(&s->out, byte);
	if (s->out.used == 1)
		send_waiting(s);
}

/* --- Registers -------------------------------------------------------------------------------- */

/* The modem's lines: a peer that is always there, or in loopback our own outputs (8.7). */
static void update_modem(struct serial *s)
{
	uint8_t lines = MSR_DCD | MSR_DSR | MSR_CTS, changed;

	if (s->mcr & MCR_LOOP)
		lines = (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) |
				  (s->mcr & MCR_DTR ? MSR_DSR : 0) |
				  (s->mcr & MCR_OUT1 ? MSR_RI : 0) |
				  (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
	changed = (uint8_t)((s->msr ^ lines) & MSR_LINES);
	s->msr = (uint8_t)(lines | (s->msr & ~MSR_LINES));
	if (changed & MSR_CTS)
		s->msr |= MSR_DCTS;
	if (changed & MSR_DSR)
		s->msr |= MSR_DDSR;
	if (changed & MSR_DCD)
		s->msr |= MSR_DDCD;
	/* The trailing edge only (8.8). */
	if ((changed & MSR_RI) && !(lines & MSR_RI))
		s->msr |= MSR_TERI;
}

static void wait_for_room(struct serial *s)
{
	struct timespec t = clock_timespec(clock_now() + BUSY_NS);

	while (s->out.used && pthread_cond_timedwait(&s->moved, &s->lock, &t) != ETIMEDOUT)
		;
}

static uint8_t read_lsr(struct serial *s)
{
	if (s->out.used)
		wait_for_room(s);
	if (!s->out.used && !s->in.used && s->polls < POLLING)
		s->polls++;
	ask_for_input(s);
	return (uint8_t)((s->in.used ? LSR_RECEIVED : 0) |
			 (s->out.used ? 0 : LSR_EMPTY | LSR_IDLE));
}

static uint8_t read_data(struct serial *s)
{
	uint8_t byte = s->in.used ? fifo_pop(&s->in) : 0;

	ask_for_input(s);
	return byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t iir = identify(s);

	if (iir == IIR_EMPTY)
		s->empty_pending = false;
	return (uint8_t)(iir | (s->fifos ? IIR_FIFOS : 0));
}

static uint8_t read_register(struct serial *s, uint64_t reg)
{
	uint8_t value;

	if ((s->lcr & LCR_LATCH) && reg <= REG_IER)
		return s->divisor[reg];
	switch (reg) {
	case REG_DATA:
		return read_data(s);
	case REG_IER:
		return s->ier;
	case REG_IIR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		value = s->msr;
		s->msr &= MSR_LINES;
		return value;
	default:
		return s->scratch;
	}
}

static void write_ier(struct serial *s, uint8_t value)
{
	value &= IER_ALL;
	/* Enabling it interrupts if the transmitter is empty, however that was told before. */
	if (value & ~s->ier & IER_EMPTY)
		s->empty_pending = !s->out.used;
	s->ier = value;
	ask_for_input(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
	bool fifos = value & FCR_ENABLE;

	/* Changing the mode clears both; other bits count only together with this one (8.4). */
	if (fifos != s->fifos || (fifos && (value & FCR_CLEAR_RECEIVER)))
		s->in.used = 0;
	s->fifos = fifos;
	s->trigger = fifos ? (uint8_t)((value & FCR_TRIGGER) >> FCR_TRIGGER_SHIFT) : 0;
	/*
	 * What waits in the transmitter would have been out long ago on a line that does not stall:
	 * FCR_CLEAR_TRANSMITTER loses nothing of it.
	 */
	ask_for_input(s);
}

static void write_register(struct serial *s, uint64_t reg, uint8_t value)
{
	if ((s->lcr & LCR_LATCH) && reg <= REG_IER) {
		s->divisor[reg] = value;
		return;
	}
	switch (reg) {
	case REG_DATA:
		transmit(s, value);
		break;
	case REG_IER:
		write_ier(s, value);
		break;
	case REG_IIR:
		write_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value; /* a break goes nowhere */
		break;
	case REG_MCR:
		s->mcr = value & MCR_ALL;
		update_modem(s);
		ask_for_input(s);
		break;
	case REG_SCRATCH:
		s->scratch = value;
		break;
	default: /* LSR and MSR are for reading (8.3; 8.8) */
		break;
	}
}

/* Wider accesses are several of a byte, as an 8-bit bus makes them. */

static uint64_t serial_read(void *device, uint64_t offset, uint32_t len)
{
	struct serial *s = device;
	uint64_t value = 0;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < len; i++) {
		if (offset + i != REG_LSR)
			s->polls = 0;
		value |= (uint64_t)read_register(s, offset + i) << (8 * i);
	}
	update_line(s);
	pthread_mutex_unlock(&s->lock);
	return value;
}

static void serial_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct serial *s = device;

	pthread_mutex_lock(&s->lock);
	s->polls = 0;
	for (uint32_t i = 0; i < len; i++)
		write_register(s, offset + i, (uint8_t)(value >> (8 * i)));
	update_line(s);
	pthread_mutex_unlock(&s->lock);
}

/* --- Life ------------------------------------------------------------------------------------- */

static const struct bus_ops bus_ops = {.read = serial_read, .write = serial_write};
static const struct stream_ops stream_ops = {.input = on_input, .writable = on_writable};

int serial_new(struct bus *ports, struct stream *stream, const struct irq_line *irq,
	       struct serial **out, mayfly_error *err)
{
	struct serial *s = calloc(1, sizeof(*s));
	struct bus_range range = {.base = SERIAL_PORT,
				  .len = PORTS,
				  .ops = &bus_ops,
				  .device = s,
				  .name = "serial"};
	pthread_condattr_t attr;
	int r;

	if (!s)
		return fail(err, MAYFLY_E_NOMEM, "no memory");
	r = bus_add(ports, &range, err);
	if (r != MAYFLY_OK) {
		free(s);
		return r;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->moved, &attr);
	pthread_condattr_destroy(&attr);
	s->stream = stream;
	s->irq = *irq;
	s->divisor[0] = DIVISOR_DEFAULT;
	s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
	s->empty_pending = true;
	s->starved = true;
	if (stream)
		stream_set_user(stream, &stream_ops, s);
	*out = s;
	return MAYFLY_OK;
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	if (s->stream)
		stream_set_user(s->stream, NULL, NULL);
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void save_fifo(const struct fifo *f, struct writer *w)
{
	put_u64(w, f->used);
	for (uint32_t i = 0; i < f->used; i++)
		put_bytes(w, &f->bytes[(f->head + i) % FIFO_SIZE], 1);
}

static void load_fifo(struct fifo *f, struct reader *r)
{
	f->head = 0;
	f->used = (uint32_t)get_count(r, FIFO_SIZE);
	get_bytes(r, f->bytes, f->used);
}

void serial_save(struct serial *s, struct writer *w)
{
	pthread_mutex_lock(&s->lock);
	put_u64(w, s->ier);
	put_u64(w, s->lcr);
	put_u64(w, s->mcr);
	put_u64(w, s->msr);
	put_u64(w, s->scratch);
	put_u64(w, s->trigger);
	put_bytes(w, s->divisor, sizeof(s->divisor));
	put_u64(w, s->fifos);
	put_u64(w, s->empty_pending);
	save_fifo(&s->in, w);
	save_fifo(&s->out, w);
	pthread_mutex_unlock(&s->lock);
}

bool serial_load(struct serial *s, struct reader *r)
{
	pthread_mutex_lock(&s->lock);
	s->ier = (uint8_t)get_count(r, IER_ALL);
	s->lcr = (uint8_t)get_count(r, UINT8_MAX);
	s->mcr = (uint8_t)get_count(r, MCR_ALL);
	s->msr = (uint8_t)get_count(r, UINT8_MAX);
	s->scratch = (uint8_t)get_count(r, UINT8_MAX);
	s->trigger = (uint8_t)get_count(r, FCR_TRIGGER >> FCR_TRIGGER_SHIFT);
	get_bytes(r, s->divisor, sizeof(s->divisor));
	s->fifos = get_count(r, 1);
	s->empty_pending = get_count(r, 1);
	load_fifo(&s->in, r);
	/* receiver_room() relies on it. */
	r->bad = r->bad || (!s->fifos && s->in.used > 1);
	if (r->bad)
		s->in.used = 0;
	load_fifo(&s->out, r);
	if (s->stream && s->out.used)
		send_waiting(s);
	else
		s->out.used = 0;
	update_line(s);
	ask_for_input(s);
	pthread_mutex_unlock(&s->lock);
	return !r->bad;
}
