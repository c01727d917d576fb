/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyboard controller (IBM PC/AT Technical Reference, 1-40 ff.) without keyboard and mouse, which
 * answers whatever it is asked at once: a driver that waits for an answer waits half a second.
 * Bytes for a keyboard or mouse are answered with "resend", which drivers take for "not there".
 * No interrupts. And the two other ports by which PCs are reset.
 */
#include <pthread.h>

#include "machine/machine.h"
#include "machine/platform.h"

#define DATA_PORT 0x60
#define COMMAND_PORT 0x64
#define FAST_RESET_PORT 0x92	 /* PS/2's "system control port A" */
#define RESET_CONTROL_PORT 0xcf9 /* of Intel's chip sets */

#define STATUS_OUTPUT 0x01  /* a byte waits to be read */
#define STATUS_SYSTEM 0x04  /* the self-test passed */
#define STATUS_COMMAND 0x08 /* the last byte came to the command port */
#define STATUS_UNLOCKED 0x10
#define STATUS_MOUSE 0x20 /* the waiting byte is the mouse's */

#define COMMAND_BYTE_START 0x30 /* clocks of keyboard and mouse off */
#define OUTPUT_PORT 0xcf	/* A20 on, no reset */
#define RESEND 0xfe

#define A20 0x02
#define FAST_RESET 0x01
#define RESET_CPU 0x04

enum command {
	READ_RAM = 0x20,  /* to 0x3f */
	WRITE_RAM = 0x60, /* to 0x7f */
	TEST_MOUSE = 0xa9,
	SELF_TEST = 0xaa,
	TEST_KEYBOARD = 0xab,
	READ_INPUT_PORT = 0xc0,
	READ_OUTPUT_PORT = 0xd0,
	WRITE_OUTPUT_PORT = 0xd1,
	ECHO_KEYBOARD = 0xd2,
	ECHO_MOUSE = 0xd3,
	WRITE_MOUSE = 0xd4,
	PULSE = 0xf0 /* to 0xff: the bits that are 0; bit 0 is reset */
};

struct i8042 {
	struct machine *machine;
	pthread_mutex_t lock;
	uint8_t ram[32]; /* the first is the command byte */
	uint8_t command; /* that waits for a byte of data; 0: none */
	uint8_t output, status;
	uint8_t fast_reset, reset_control; /* as written */
};

static void answer(struct i8042 *k, uint8_t v, uint8_t mouse)
{
	k->output = v;
	k->status = (uint8_t)((k->status & ~STATUS_MOUSE) | STATUS_OUTPUT | mouse);
}

static void reset(struct i8042 *k)
{
	machine_stop(k->machine, STOP_RESET);
}

static void take_command(struct i8042 *k, uint8_t v)
{
	k->command = 0;
	k->status |= STATUS_COMMAND;
	if (v >= PULSE) {
		if (!(v & 1))
			reset(k);
		return;
	}
	if (v >= READ_RAM && v < READ_RAM + sizeof(k->ram)) {
		answer(k, k->ram[v - READ_RAM], 0);
		return;
	}
	if (v >= WRITE_RAM && v < WRITE_RAM + sizeof(k->ram)) {
		k->command = v;
		return;
	}
	switch (v) {
	case SELF_TEST:
		answer(k, 0x55, 0);
		break;
	case TEST_KEYBOARD:
		answer(k, 0x00, 0);
		break;
	case TEST_MOUSE:
		answer(k, 0x01, 0); /* its clock line is stuck: there is none */
		break;
	case READ_INPUT_PORT:
		answer(k, 0x80, 0); /* not locked */
		break;
	case READ_OUTPUT_PORT:
		answer(k, OUTPUT_PORT, 0);
		break;
	case WRITE_OUTPUT_PORT:
	case ECHO_KEYBOARD:
	case ECHO_MOUSE:
	case WRITE_MOUSE:
		k->command = v;
		break;
	default: /* enabling and disabling, mostly: nothing to do, no answer */
		break;
	}
}

static void take_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->command;

	k->command = 0;
	k->status &= (uint8_t)~STATUS_COMMAND;
	switch (command) {
	case 0:
		answer(k, RESEND, 0);
		break;
	case WRITE_MOUSE:
		answer(k, RESEND, STATUS_MOUSE);
		break;
	case WRITE_OUTPUT_PORT:
		if (!(v & 1))
			reset(k);
		break;
	case ECHO_KEYBOARD:
		answer(k, v, 0);
		break;
	case ECHO_MOUSE:
		answer(k, (uint8_t)~v, 0); /* no mouse's: that is how drivers find out */
		break;
	default:
		k->ram[command - WRITE_RAM] = v;
	}
}

static uint64_t data_read(void *device, uint64_t offset, uint32_t len)
{
	struct i8042 *k = device;
	uint8_t v;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	v = k->output;
	k->status &= (uint8_t) ~(STATUS_OUTPUT | STATUS_MOUSE);
	pthread_mutex_unlock(&k->lock);
	return v;
}

static void data_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct i8042 *k = device;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	take_data(k, (uint8_t)value);
	pthread_mutex_unlock(&k->lock);
}

static uint64_t status_read(void *device, uint64_t offset, uint32_t len)
{
	struct i8042 *k = device;
	uint8_t v;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	v = k->status;
	pthread_mutex_unlock(&k->lock);
	return v;
}

static void command_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct i8042 *k = device;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	take_command(k, (uint8_t)value);
	pthread_mutex_unlock(&k->lock);
}

static uint64_t fast_reset_read(void *device, uint64_t offset, uint32_t len)
{
	struct i8042 *k = device;
	uint8_t v;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	v = k->fast_reset;
	pthread_mutex_unlock(&k->lock);
	return v;
}

static void fast_reset_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct i8042 *k = device;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	k->fast_reset = (uint8_t)value & A20;
	if (value & FAST_RESET)
		reset(k);
	pthread_mutex_unlock(&k->lock);
}

static uint64_t reset_control_read(void *device, uint64_t offset, uint32_t len)
{
	struct i8042 *k = device;
	uint8_t v;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	v = k->reset_control;
	pthread_mutex_unlock(&k->lock);
	return v;
}

static void reset_control_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct i8042 *k = device;

	(void)offset;
	(void)len;
	pthread_mutex_lock(&k->lock);
	k->reset_control = (uint8_t)value & (uint8_t)~RESET_CPU;
	if (value & RESET_CPU)
		reset(k);
	pthread_mutex_unlock(&k->lock);
}

static const struct {
	uint64_t port;
	const char *name;
	struct bus_ops ops;
} parts[] = {
	{DATA_PORT, "i8042", {data_read, data_write}},
	{COMMAND_PORT, "i8042", {status_read, command_write}},
	{FAST_RESET_PORT, "fast reset", {fast_reset_read, fast_reset_write}},
	{RESET_CONTROL_PORT, "reset control", {reset_control_read, reset_control_write}},
};

int i8042_new(struct bus *ports, struct machine *m, struct i8042 **out, mayfly_error *err)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int r = MAYFLY_OK;

	if (!k)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the keyboard controller");
	k->machine = m;
	pthread_mutex_init(&k->lock, NULL);
	k->status = STATUS_SYSTEM | STATUS_UNLOCKED;
	k->ram[0] = COMMAND_BYTE_START;
	k->fast_reset = A20;
	for (size_t i = 0; i < ARRAY_SIZE(parts) && r == MAYFLY_OK; i++)
		r = bus_add(ports,
			    &(struct bus_range){.base = parts[i].port,
						.len = 1,
						.ops = &parts[i].ops,
						.device = k,
						.name = parts[i].name},
			    err);
	if (r) {
		i8042_free(k);
		return r;
	}
	*out = k;
	return MAYFLY_OK;
}

void i8042_free(struct i8042 *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->lock);
	free(k);
}

void i8042_save(const struct i8042 *k, struct writer *w)
{
	put_bytes(w, k->ram, sizeof(k->ram));
	put_u64(w, k->command);
	put_u64(w, k->output);
	put_u64(w, k->status);
	put_u64(w, k->fast_reset);
	put_u64(w, k->reset_control);
}

/* take_data() relies on `command` being one that waits. */
static bool waits(uint64_t command)
{
	return command == 0 || (command >= WRITE_RAM && command < WRITE_RAM + 32) ||
	       (command >= WRITE_OUTPUT_PORT && command <= WRITE_MOUSE);
}

bool i8042_load(struct i8042 *k, struct reader *r)
{
	uint64_t command;

	get_bytes(r, k->ram, sizeof(k->ram));
	command = get_u64(r);
	k->output = (uint8_t)get_count(r, 0xff);
	k->status = (uint8_t)get_count(r, 0xff);
	k->fast_reset = (uint8_t)get_count(r, A20);
	k->reset_control = (uint8_t)get_count(r, 0xff);
	if (r->bad || !waits(command))
		return false;
	k->command = (uint8_t)command;
	return true;
}
