/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving for the host: its functions, random bytes, printing, and giving up. */
#include "guest/internal.h"

_Static_assert(FN_NOTE_ABI == 1 && FN_NOTE_EXPORT == 2 && FN_NOTE_IMPORT == 3,
	       "mayfly_guest.h writes the note types as numbers");
_Static_assert(FN_ABI_VERSION == 1, "mayfly_guest.h writes the version as a number");
_Static_assert(FN_MAX_ARGS == 16 && FN_MAX_SLOTS == 32,
	       "mayfly_guest.h counts to 16 arguments");

/* --- host functions ----------------------------------------------------------------------- */

/* Why the last one failed; an empty text if it did not. */
static char host_error[FN_ERROR_SIZE];

/* The block's error text is bounded here, whatever a careless write has made of it. */
static void keep_error(const struct fn_call *call)
{
	size_t n = strnlen(call->error, sizeof(host_error) - 1);

	if (!n) {
		memcpy(host_error, "the host function failed", 25);
		return;
	}
	memcpy(host_error, call->error, n);
	host_error[n] = '\0';
}

struct mayfly_p_words mayfly_p_hostcall(const void *note, const uint64_t *slots, size_t nslots)
{
	struct fn_call *call = call_block();
	struct mayfly_p_words words = {{0, 0}};

	call->arg[0] = (uintptr_t)note;
	for (size_t i = 0; i < nslots && i < FN_NEAR_SLOTS; i++)
		call->arg[1 + i] = slots[i];
	for (size_t i = FN_NEAR_SLOTS; i < nslots; i++)
		call->slots[i - FN_NEAR_SLOTS] = slots[i];
	call->op = FN_OP_HOSTCALL;
	gate();
	if (EXPECT_NOT(call->failed)) {
		keep_error(call);
		return words;
	}
	if (EXPECT_NOT(host_error[0]))
		host_error[0] = '\0'; /* not always written: that would dirty its page */
	words.word[0] = call->ret[0];
	words.word[1] = call->ret[1];
	return words;
}

const char *mayfly_host_error(void)
{
	return host_error[0] ? host_error : NULL;
}

/* --- randomness --------------------------------------------------------------------------- */

void mayfly_random(void *buffer, size_t len)
{
	struct fn_call *call = call_block();
	char *to = buffer;

	while (len) {
		size_t n = len < FN_MAX_RANDOM ? len : FN_MAX_RANDOM;

		call->arg[0] = n;
		call->op = FN_OP_RANDOM;
		gate();
		memcpy(to, call->stack, n);
		explicit_bzero(call->stack, n);
		to += n;
		len -= n;
	}
}

uint64_t mayfly_generation(void)
{
	return *(volatile uint64_t *)&call_block()->generation;
}

/* --- printing ----------------------------------------------------------------------------- */

bool mayfly_p_print(const char *text, size_t len)
{
	struct fn_call *call = call_block();

	if (!(*(volatile uint32_t *)&call->flags & FN_FLAG_PRINT))
		return false;
	if (!len)
		return true;
	call->arg[0] = (uintptr_t)text;
	call->arg[1] = len;
	call->op = FN_OP_PRINT;
	gate();
	return call->ret[0] != 0;
}

/* --- giving up ---------------------------------------------------------------------------- */

/* Not on the stack, which may be what is broken. */
static char abort_text[2048];

static MAYFLY_GUEST_NORETURN void leave_for_good(int32_t code, size_t len)
{
	struct fn_call *call = call_block();

	call->arg[0] = (uint64_t)(int64_t)code;
	call->arg[1] = (uintptr_t)abort_text;
	call->arg[2] = len;
	call->op = FN_OP_ABORT;
	gate();
	/* The host does not answer that one. */
	for (;;)
		__builtin_trap();
}

void mayfly_vabort(int32_t code, const char *format, va_list args)
{
	mayfly_vsnprintf(abort_text, sizeof(abort_text), format, args);
	leave_for_good(code, strnlen(abort_text, sizeof(abort_text)));
}

void mayfly_abort(int32_t code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	mayfly_vabort(code, format, args);
}

void mayfly_assert_failed(const char *expression, const char *file, unsigned int line,
			  const char *function)
{
	mayfly_abort(MAYFLY_ABORT_ASSERTION, "%s:%u: %s: assertion `%s' failed", file, line,
		     function, expression);
}

/* What glibc's and musl's <assert.h> call. */
MAYFLY_GUEST_NORETURN void __assert_fail(const char *expression, const char *file,
					 unsigned int line, const char *function);
void __assert_fail(const char *expression, const char *file, unsigned int line,
		   const char *function)
{
	mayfly_assert_failed(expression, file, line, function ? function : "?");
}

void abort(void)
{
	mayfly_abort(MAYFLY_ABORT_CALLED, "abort() was called");
}

/* What -fstack-protector calls: the frame of its caller was overwritten. */
MAYFLY_GUEST_NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	mayfly_abort(MAYFLY_ABORT_STACK,
		     "stack smashing detected: a function wrote past its stack frame, called "
		     "from %p",
		     __builtin_return_address(0));
}
