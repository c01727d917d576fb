/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/bus.h"

#include <stdatomic.h>
#include <string.h>

#include "core/clock.h"

int bus_add(struct bus *bus, const struct bus_range *range, mayfly_error *err)
{
	uint32_t at = 0;
	uint64_t end;

	if (!range->len || add_overflows(range->base, range->len - 1, &end))
		return fail(err, MAYFLY_E_INVALID, "%s has no addresses", range->name);
	if (bus->count == BUS_MAX_RANGES)
		return fail(err, MAYFLY_E_LIMIT, "no room for %s: a machine can have %d ranges",
			    range->name, BUS_MAX_RANGES);
	while (at < bus->count && bus->ranges[at].base < range->base)
		at++;
	if ((at < bus->count && bus->ranges[at].base <= end) ||
	    (at > 0 && range->base - bus->ranges[at - 1].base < bus->ranges[at - 1].len))
		return fail(err, MAYFLY_E_INVALID, "%s is where something else is: at 0x%llx",
			    range->name, (unsigned long long)range->base);
	memmove(&bus->ranges[at + 1], &bus->ranges[at],
		(bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = *range;
	bus->count++;
	return 0;
}

/* The range that holds all of [at, at + len), or NULL. */
static struct bus_range *find(struct bus *bus, uint64_t at, uint32_t len)
{
	uint32_t low = 0, high = bus->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct bus_range *r = &bus->ranges[middle];

		if (at < r->base)
			high = middle;
		else if (at - r->base >= r->len)
			low = middle + 1;
		else
			return range_within(at - r->base, len, r->len) ? r : NULL;
	}
	return NULL;
}

static void note_first(struct bus_range *r)
{
	uint64_t none = 0;

	if (!atomic_load_explicit(&r->first, memory_order_relaxed))
		atomic_compare_exchange_strong(&r->first, &none, clock_now());
}

static uint64_t ones(uint32_t len)
{
	return len >= 8 ? UINT64_MAX : ((uint64_t)1 << (len * 8)) - 1;
}

uint64_t bus_read(struct bus *bus, uint64_t at, uint32_t len)
{
	struct bus_range *r = find(bus, at, len);

	if (!r || !r->ops->read)
		return ones(len);
	note_first(r);
	return r->ops->read(r->device, at - r->base, len) & ones(len);
}

void bus_write(struct bus *bus, uint64_t at, uint32_t len, uint64_t value)
{
	struct bus_range *r = find(bus, at, len);

	if (!r || !r->ops->write)
		return;
	note_first(r);
	r->ops->write(r->device, at - r->base, len, value & ones(len));
}
