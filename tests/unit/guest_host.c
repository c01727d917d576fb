/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_host.h"

struct fn_call guest_test_call_block;
struct guest_host guest_host;

void guest_host_reset(void)
{
	memset(&guest_test_call_block, 0, sizeof(guest_test_call_block));
	memset(&guest_host, 0, sizeof(guest_host));
	guest_test_call_block.flags = FN_FLAG_PRINT;
}

static void print(struct fn_call *call)
{
	const char *text = (const char *)(uintptr_t)call->arg[0];
	size_t len = call->arg[1], left = sizeof(guest_host.printed) - guest_host.printed_len;

	if (len > left)
		len = left;
	memcpy(guest_host.printed + guest_host.printed_len, text, len);
	guest_host.printed_len += len;
	call->ret[0] = call->flags & FN_FLAG_PRINT;
}

static void fill_random(struct fn_call *call)
{
	if (call->arg[0] > FN_MAX_RANDOM)
		abort();
	guest_host.random_calls++;
	memset(call->stack, (int)guest_host.random_calls, call->arg[0]);
}

static void give_up(struct fn_call *call)
{
	size_t len = call->arg[2];

	if (len >= sizeof(guest_host.abort_message) || !guest_host.on_abort)
		abort();
	guest_host.abort_code = (int32_t)call->arg[0];
	memcpy(guest_host.abort_message, (const char *)(uintptr_t)call->arg[1], len);
	guest_host.abort_message[len] = '\0';
	longjmp(*guest_host.on_abort, 1);
}

static void call_host_function(struct fn_call *call)
{
	guest_host.import = (const void *)(uintptr_t)call->arg[0];
	memcpy(guest_host.slots, call->arg + 1, FN_NEAR_SLOTS * sizeof(*call->slots));
	memcpy(guest_host.slots + FN_NEAR_SLOTS, call->slots, sizeof(call->slots));
	call->failed = 0;
	call->ret[0] = call->ret[1] = 0;
	if (guest_host.host_function)
		guest_host.host_function(call);
}

void guest_test_gate(void)
{
	struct fn_call *call = &guest_test_call_block;

	guest_host.exits++;
	switch (call->op) {
	case FN_OP_PRINT:
		print(call);
		break;
	case FN_OP_RANDOM:
		fill_random(call);
		break;
	case FN_OP_ABORT:
		give_up(call);
		break;
	case FN_OP_HOSTCALL:
		call_host_function(call);
		break;
	default:
		abort();
	}
}
