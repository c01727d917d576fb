/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An MC146818 (Motorola's data sheet; register numbers are in hexadecimal there as here). It shows
 * the host's clock in UTC: guests choose the format, but cannot set it. No interrupts.
 */
#include <pthread.h>
#include <time.h>

#include "machine/platform.h"

#define INDEX_PORT 0x70
#define SIZE 128
#define INDEX_MASK 0x7f /* bit 7 of the index port masks NMI */

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06, /* 1 is Sunday */
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	STATUS_A = 0x0a,
	STATUS_B = 0x0b,
	STATUS_C = 0x0c,
	STATUS_D = 0x0d,
	DIAGNOSTICS = 0x0e, /* 0: all is well */
	CENTURY = 0x32
};

#define A_UPDATING 0x80
#define A_START 0x26 /* 32768 Hz, 1024 Hz: what BIOSes set */
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define B_SET 0x80
#define B_KEPT (B_24_HOURS | B_BINARY | B_SET) /* no interrupts, no summer time */
#define D_VALID 0x80
#define PM 0x80

/* For so long before a second ends, the update is announced: time for a whole read. */
#define UPDATE_NS 244000

struct rtc {
	pthread_mutex_t lock;
	uint8_t index;
	uint8_t memory[SIZE]; /* of the registers that are no time */
};

static uint8_t number(const struct rtc *rtc, int v)
{
	return (uint8_t)(rtc->memory[STATUS_B] & B_BINARY ? v : v / 10 * 16 + v % 10);
}

static uint8_t hours(const struct rtc *rtc, int hour)
{
	uint8_t v;

	if (rtc->memory[STATUS_B] & B_24_HOURS)
		return number(rtc, hour);
	v = number(rtc, hour % 12 ? hour % 12 : 12);
	return hour >= 12 ? v | PM : v;
}

#define DAY_SECONDS 86400
#define DAYS_400_YEARS 146097 /* of the Gregorian calendar */
/* Days from 1 March of the year 0, as years begin here, to 1 January 1970. */
#define DAYS_TO_1970 719468

/*
 * gmtime_r(3) for seconds since 1970 that are not negative. That one reads the time zone's file
 * at its first call, which threads of machines are not allowed to.
 */
static void split_time(time_t seconds, struct tm *tm)
{
	int days = (int)(seconds / DAY_SECONDS), rest = (int)(seconds % DAY_SECONDS);
	int day = days + DAYS_TO_1970, era = day / DAYS_400_YEARS, year, month;

	day %= DAYS_400_YEARS;
	/* Leap days at the end of years 4, 8, ... but 100, 200, 300. */
	year = (day - day / 1460 + day / 36524 - day / (DAYS_400_YEARS - 1)) / 365;
	day -= 365 * year + year / 4 - year / 100;
	/* March to January have 31, 30, 31, 30, 31 days, over and over. */
	month = (5 * day + 2) / 153;
	*tm = (struct tm){
		.tm_sec = rest % 60,
		.tm_min = rest / 60 % 60,
		.tm_hour = rest / 3600,
		.tm_wday = (days + 4) % 7, /* 1 January 1970 was a Thursday */
		.tm_mday = day - (153 * month + 2) / 5 + 1,
		.tm_mon = month < 10 ? month + 2 : month - 10,
		.tm_year = year + era * 400 + (month >= 10) - 1900,
	};
}

static uint8_t read_time(const struct rtc *rtc, uint8_t index)
{
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	split_time(ts.tv_sec, &tm);
	switch (index) {
	case SECONDS:
		return number(rtc, tm.tm_sec);
	case MINUTES:
		return number(rtc, tm.tm_min);
	case HOURS:
		return hours(rtc, tm.tm_hour);
	case WEEKDAY:
		return number(rtc, tm.tm_wday + 1);
	case DAY:
		return number(rtc, tm.tm_mday);
	case MONTH:
		return number(rtc, tm.tm_mon + 1);
	case YEAR:
		return number(rtc, tm.tm_year % 100);
	case CENTURY:
		return number(rtc, (tm.tm_year + 1900) / 100);
	default: /* STATUS_A */
		return rtc->memory[STATUS_A] |
		       (ts.tv_nsec >= 1000000000 - UPDATE_NS ? A_UPDATING : 0);
	}
}

static bool is_time(uint8_t index)
{
	return index == SECONDS || index == MINUTES || index == HOURS ||
	       (index >= WEEKDAY && index <= STATUS_A) || index == CENTURY;
}

static uint64_t rtc_read(void *device, uint64_t offset, uint32_t len)
{
	struct rtc *rtc = device;
	uint8_t v;

	(void)len;
	if (offset == 0)
		return 0xff; /* the index cannot be read */
	pthread_mutex_lock(&rtc->lock);
	v = is_time(rtc->index) ? read_time(rtc, rtc->index) : rtc->memory[rtc->index];
	pthread_mutex_unlock(&rtc->lock);
	return v;
}

static void write_register(struct rtc *rtc, uint8_t v)
{
	switch (rtc->index) {
	case STATUS_A:
		rtc->memory[STATUS_A] = v & (uint8_t)~A_UPDATING;
		return;
	case STATUS_B:
		rtc->memory[STATUS_B] = v & B_KEPT;
		return;
	case STATUS_C:
	case STATUS_D:
	case DIAGNOSTICS:
		return;
	default:
		if (!is_time(rtc->index))
			rtc->memory[rtc->index] = v;
	}
}

static void rtc_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct rtc *rtc = device;

	pthread_mutex_lock(&rtc->lock);
	if (offset == 0) {
		rtc->index = (uint8_t)value & INDEX_MASK;
		if (len > 1) { /* both ports at once */
			write_register(rtc, (uint8_t)(value >> 8));
		}
	} else {
		write_register(rtc, (uint8_t)value);
	}
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops ops = {.read = rtc_read, .write = rtc_write};

int rtc_new(struct bus *ports, struct rtc **out, mayfly_error *err)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	int r;

	if (!rtc)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the clock");
	pthread_mutex_init(&rtc->lock, NULL);
	rtc->memory[STATUS_A] = A_START;
	rtc->memory[STATUS_B] = B_24_HOURS;
	rtc->memory[STATUS_D] = D_VALID;
	r = bus_add(ports,
		    &(struct bus_range){.base = INDEX_PORT,
					.len = 2,
					.ops = &ops,
					.device = rtc,
					.name = "rtc"},
		    err);
	if (r) {
		rtc_free(rtc);
		return r;
	}
	*out = rtc;
	return MAYFLY_OK;
}

void rtc_free(struct rtc *rtc)
{
	if (!rtc)
		return;
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}

void rtc_save(const struct rtc *rtc, struct writer *w)
{
	put_u64(w, rtc->index);
	put_bytes(w, rtc->memory, sizeof(rtc->memory));
}

/* What registers could not hold does no harm, but would be no such clock. */
bool rtc_load(struct rtc *rtc, struct reader *r)
{
	rtc->index = (uint8_t)get_count(r, INDEX_MASK);
	get_bytes(r, rtc->memory, sizeof(rtc->memory));
	return !r->bad && (rtc->memory[STATUS_A] & A_UPDATING) == 0 &&
	       (rtc->memory[STATUS_B] & ~B_KEPT) == 0 && rtc->memory[STATUS_C] == 0 &&
	       rtc->memory[STATUS_D] == D_VALID && rtc->memory[DIAGNOSTICS] == 0;
}
