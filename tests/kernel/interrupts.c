/* SPDX-License-Identifier: Apache-2.0 */
/* IDT, LAPIC and IOAPIC (SDM vol. 3, 6.14, 11; Intel's 82093AA data sheet). */
#include "kernel.h"

#define LAPIC 0xfee00000u
#define LAPIC_EOI 0xb0
#define LAPIC_SPURIOUS 0xf0
#define IOAPIC 0xfec00000u
#define IOAPIC_TABLE 0x10
#define IOAPIC_MASKED 0x10000u
#define IOAPIC_LEVEL 0x8000u

#define EXCEPTIONS 32
#define VECTORS 80
#define CODE64 0x08

extern uint8_t vectors[VECTORS][16];

struct gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

static struct gate idt[VECTORS] __attribute__((aligned(16)));

volatile uint32_t irq_count[32];
volatile uint32_t timer_count;
void (*irq_handler)(uint32_t pin);

void interrupt(uint64_t vector, const uint64_t *frame);

uint32_t lapic_read(uint32_t offset)
{
	return *(volatile uint32_t *)at(LAPIC + offset);
}

void lapic_write(uint32_t offset, uint32_t v)
{
	*(volatile uint32_t *)at(LAPIC + offset) = v;
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	*(volatile uint32_t *)at(IOAPIC) = reg;
	*(volatile uint32_t *)at(IOAPIC + 0x10) = v;
}

void irq_route(uint32_t pin, bool level)
{
	ioapic_write(IOAPIC_TABLE + pin * 2 + 1, 0); /* to CPU 0 */
	ioapic_write(IOAPIC_TABLE + pin * 2, IRQ_VECTOR + pin + (level ? IOAPIC_LEVEL : 0));
}

void irq_mask(uint32_t pin)
{
	ioapic_write(IOAPIC_TABLE + pin * 2, IOAPIC_MASKED);
}

void interrupt(uint64_t vector, const uint64_t *frame)
{
	if (vector < EXCEPTIONS) {
		print("FAIL exception ");
		print_number(vector);
		for (int i = 0; i < 4; i++) {
			print(" ");
			print_hex(frame[i]);
		}
		print("\n");
		leave(1);
	}
	if (vector == TIMER_VECTOR) {
		timer_count++;
	} else if (vector < IRQ_VECTOR + 24) {
		uint32_t pin = (uint32_t)vector - IRQ_VECTOR;

		irq_count[pin]++;
		if (irq_handler)
			irq_handler(pin);
	}
	lapic_write(LAPIC_EOI, 0);
}

void interrupts_init(void)
{
	static struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer;

	for (uint32_t i = 0; i < VECTORS; i++) {
		uint64_t stub = (uint64_t)vectors[i];

		idt[i] = (struct gate){.low = (uint16_t)stub,
				       .selector = CODE64,
				       .flags = 0x8e00, /* present, interrupt gate */
				       .middle = (uint16_t)(stub >> 16),
				       .high = (uint32_t)(stub >> 32)};
	}
	pointer.limit = sizeof(idt) - 1;
	pointer.base = (uint64_t)idt;
	__asm__ volatile("lidt %0" ::"m"(pointer));
	out8(0x21, 0xff); /* the old controllers stay silent */
	out8(0xa1, 0xff);
	lapic_write(LAPIC_SPURIOUS, 0x1ff); /* on; spurious ones to a vector that nobody has */
}

/*
 * A thousand million cycles, some tenths of a second, count for ages: halting needs something that
 * ends it, so this looks again and again with interrupts on.
 */
bool wait_change(const volatile uint32_t *counter, uint32_t was)
{
	uint64_t start = tsc();

	__asm__ volatile("sti");
	while (*counter == was && tsc() - start < 20000000000u)
		__asm__ volatile("pause");
	__asm__ volatile("cli");
	return *counter != was;
}
