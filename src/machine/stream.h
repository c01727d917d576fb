/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a console: bytes to one descriptor, bytes from another. Output that the host
 * takes at once is written at once; else it waits in a bounded buffer, and when that is full the
 * guest's device is busy until there is room. Input is read only when the guest's device has room.
 */
#ifndef MAYFLY_MACHINE_STREAM_H
#define MAYFLY_MACHINE_STREAM_H

#include "machine/loop.h"

#define STREAM_BUFFER ((size_t)64 << 10)

struct stream;

/* The user: a device. Called on the loop's thread, without any lock. */
struct stream_ops {
	/* Input is there. Gives how many of the bytes were taken; the rest is kept. */
	size_t (*input)(void *context, const uint8_t *data, size_t len);
	/* After output was refused: there is room again. */
	void (*writable)(void *context);
};

/*
 * Descriptors are duplicated; -1: none (output goes nowhere, input never comes). Whatever their
 * flags are, they are not changed: readiness is asked for before each read and write.
 * Errors: NOMEM.
 */
int stream_new(struct loop *loop, int in, int out, struct stream **out_stream,
	       mayfly_error *err);
void stream_free(struct stream *stream);
/* One user at a time; ops NULL: nobody. Before the loop runs, or on its thread. */
void stream_set_user(struct stream *stream, const struct stream_ops *ops, void *context);
/* The user has room for input again. Any thread. */
void stream_want_input(struct stream *stream);

/*
 * Put bytes out, in order. Any thread. Gives how many were taken: fewer than `len` when the
 * buffer is full; writable() then says when to go on.
 */
size_t stream_write(struct stream *stream, const uint8_t *data, size_t len);
/* Wait until what was written is out, at most `timeout_ns`: at the machine's end. */
void stream_drain(struct stream *stream, uint64_t timeout_ns);

/* ns of CLOCK_MONOTONIC when the first byte was put out; 0: none yet. */
uint64_t stream_first_output(const struct stream *stream);
/*
 * Call `fn` (any thread, quick) once the bytes put out have contained `text` (copied; NULL: no
 * more). For snapshots at a console text.
 */
int stream_watch(struct stream *stream, const char *text, void (*fn)(void *context),
		 void *context, mayfly_error *err);

#endif
