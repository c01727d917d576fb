/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/acpi.h"
#include "machine/machine.h"
#include "machine/platform.h"

#define OWN_PORTS 4 /* PORT_EXIT and PORT_MARK are in here; a long write to the first is one */
#define EXIT_MASK 0xff

struct ports {
	struct machine *machine;
};

static uint64_t own_read(void *device, uint64_t offset, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)len;
	return 0;
}

static void own_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct ports *p = device;

	(void)len;
	if (offset == 0)
		machine_exit(p->machine, (int)(value & EXIT_MASK));
	else if (offset == PORT_MARK - PORT_EXIT)
		machine_mark(p->machine, (uint8_t)value);
}

static uint64_t generation_read(void *device, uint64_t offset, uint32_t len)
{
	const struct ports *p = device;
	uint64_t v = 0;

	memcpy(&v, p->machine->generation + offset, len);
	return v;
}

static void generation_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	(void)device;
	(void)offset;
	(void)len;
	(void)value;
}

/* Sleep control and status: only power-off is a state that \_S5 names. */
static void sleep_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct ports *p = device;

	(void)len;
	if (offset == 0 && (uint8_t)value == ACPI_SLEEP_OFF)
		machine_stop(p->machine, STOP_OFF);
}

static const struct bus_ops sleep_ops = {.read = own_read, .write = sleep_write};
static const struct bus_ops own_ops = {.read = own_read, .write = own_write};
static const struct bus_ops generation_ops = {.read = generation_read,
					      .write = generation_write};

int ports_new(struct bus *bus, struct machine *m, struct ports **out, mayfly_error *err)
{
	struct ports *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the exit port");
	p->machine = m;
	r = bus_add(bus,
		    &(struct bus_range){.base = PORT_EXIT,
					.len = OWN_PORTS,
					.ops = &own_ops,
					.device = p,
					.name = "exit and mark"},
		    err);
	if (r == MAYFLY_OK)
		r = bus_add(bus,
			    &(struct bus_range){.base = PORT_GENERATION,
						.len = sizeof(m->generation),
						.ops = &generation_ops,
						.device = p,
						.name = "generation"},
			    err);
	if (r == MAYFLY_OK)
		r = bus_add(bus,
			    &(struct bus_range){.base = ACPI_PORT_SLEEP,
						.len = 2,
						.ops = &sleep_ops,
						.device = p,
						.name = "ACPI sleep"},
			    err);
	if (r) {
		ports_free(p);
		return r;
	}
	*out = p;
	return MAYFLY_OK;
}

void ports_free(struct ports *p)
{
	free(p);
}
