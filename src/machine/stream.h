/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a console: bytes to one descriptor, bytes from another. Output is written at
 * once, but what follows within a millisecond is written together, at the latest when that has
 * passed, at a newline, or at some size. What the host does not take waits in a bounded buffer,
 * and when that is full the guest's device is busy until there is room. Input is read only when
 * the guest's device has asked for it.
 *
 * The master of a pseudoterminal that nobody has open at the other end is not written to: what
 * the buffer holds, the latest, is there for whoever opens it.
 */
#ifndef MAYFLY_MACHINE_STREAM_H
#define MAYFLY_MACHINE_STREAM_H

#include "machine/loop.h"

#define STREAM_BUFFER ((size_t)64 << 10)

struct stream;

/* The user: a device. Called on the loop's thread, without any lock. */
struct stream_ops {
	/*
	 * Input is there. Gives how many of the bytes were taken; the rest is kept, and comes
	 * after the next stream_want_input().
	 */
	size_t (*input)(void *context, const uint8_t *data, size_t len);
	/* After output was refused: there is room again. */
	void (*writable)(void *context);
};

/*
 * Descriptors are duplicated; -1: none (output goes nowhere, input never comes). Their flags are
 * not changed. Pipes, sockets, terminals and files will do. Errors: NOMEM, IO (a bad descriptor).
 */
int stream_new(struct loop *loop, int in, int out, struct stream **out_stream,
	       mayfly_error *err);
/* NULL is allowed. The loop does not run, and is not freed yet. What was not put out is lost. */
void stream_free(struct stream *stream);
/* One user at a time; ops NULL: nobody. Before the loop runs, or on its thread. */
void stream_set_user(struct stream *stream, const struct stream_ops *ops, void *context);
/* The user has room for input; nothing is read before the first time. Any thread. */
void stream_want_input(struct stream *stream);

/*
 * Put bytes out, in order. Any thread. Gives how many were taken: fewer than `len` when the
 * buffer is full; writable() then says when to go on.
 */
size_t stream_write(struct stream *stream, const uint8_t *data, size_t len);
/*
 * Wait until what was written is out, at most `timeout_ns`: at the machine's end, and before it
 * is paused for long. Any thread, whether the loop runs or not.
 */
void stream_drain(struct stream *stream, uint64_t timeout_ns);

/*
 * The errno of the first write that failed, by which output was lost, and all that came after it;
 * 0: none did. That a reader has left (EPIPE) is no loss. Any thread.
 */
int stream_lost(struct stream *stream);

/* ns of CLOCK_MONOTONIC when the first byte was put out; 0: none yet. */
uint64_t stream_first_output(const struct stream *stream);
/*
 * Call `fn` (on the writer's thread, which may hold its device's lock: quick) once, when the bytes
 * put out have contained `text` (copied, not empty; NULL: no more). For snapshots at a console
 * text. Errors: NOMEM.
 */
int stream_watch(struct stream *stream, const char *text, void (*fn)(void *context),
		 void *context, mayfly_error *err);

#endif
