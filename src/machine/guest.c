/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "machine/machine.h"

#define KIND_MACHINE 3

/* No shared part, no tables: all of memory is the guest's own. */
struct machine_guest {
	struct guest base;
	uint64_t memory;
};

static void free_guest(struct guest *guest)
{
	guest_fini(guest);
	free(guest);
}

int machine_guest_new(uint64_t memory, const struct hv_host *host, struct guest **out,
		      mayfly_error *err)
{
	struct machine_guest *g = calloc(1, sizeof(*g));

	if (!g)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a guest");
	g->memory = memory;
	g->base.refs = 1;
	g->base.kind = &machine_guest_kind;
	g->base.state_page = GUEST_NO_PAGE;
	g->base.map.private_len = memory;
	if (host) {
		memcpy(g->base.features, host->features, sizeof(g->base.features));
		g->base.xcr0 = host->xcr0;
	}
	*out = &g->base;
	return 0;
}

static int encode(const struct guest *guest, uint8_t **out, size_t *len, mayfly_error *err)
{
	const struct machine_guest *g = (const struct machine_guest *)guest;

	*len = sizeof(g->memory);
	*out = malloc(*len);
	if (!*out)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	memcpy(*out, &g->memory, *len);
	return 0;
}

static int decode(const uint8_t *data, size_t len, struct guest **out, mayfly_error *err)
{
	uint64_t memory;

	if (len != sizeof(memory))
		return fail(err, MAYFLY_E_FORMAT, "the description of the machine is damaged");
	memcpy(&memory, data, sizeof(memory));
	if (memory < RAM_MIN || memory > RAM_MAX || (memory & PAGE_MASK))
		return fail(err, MAYFLY_E_FORMAT, "the machine's memory size makes no sense");
	return machine_guest_new(memory, NULL, out, err);
}

const struct guest_kind machine_guest_kind = {
	.id = KIND_MACHINE,
	.encode = encode,
	.decode = decode,
	.large_images = true,
	.free = free_guest,
};
