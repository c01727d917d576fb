/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest library's memory and string functions, conversions and sorting, held against the C
 * library's, with what they work on up against an inaccessible page.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_host.h"

#define ROOM 8192

/* Two areas of ROOM bytes, each between inaccessible pages. */
static char *area[2];
static uint64_t seed;

static int map_areas(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		char *p =
			mmap(NULL, ROOM + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED || mprotect(p + 4096, ROOM, PROT_READ | PROT_WRITE))
			return -1;
		area[i] = p + 4096;
	}
	return 0;
}

static int unmap_areas(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		munmap(area[i] - 4096, ROOM + 8192);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	guest_host_reset();
	seed = 88172645463325252u;
	return 0;
}

static uint64_t below(uint64_t n)
{
	return next_random(&seed) % n;
}

static void fill(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)next_random(&seed);
}

/* Random places for `len` bytes in an area, often at its very beginning or end. */
static char *place(int which, size_t len)
{
	switch (below(4)) {
	case 0:
		return area[which];
	case 1:
		return area[which] + ROOM - len;
	default:
		return area[which] + below(ROOM - len + 1);
	}
}

/* Lengths around what the functions treat differently. */
static size_t some_length(size_t i)
{
	return i < 300 ? i : below(8) ? 300 + below(2200) : below(ROOM + 1);
}

/* --- memory ------------------------------------------------------------------------------- */

static void memcpy_copies_just_the_bytes_given(void **state)
{
	static char before[ROOM];

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		size_t n = some_length(i);
		char *from = place(0, n), *to = place(1, n);

		fill(from, n);
		memcpy(before, area[1], ROOM);
		memcpy(before + (to - area[1]), from, n);
		assert_ptr_equal(i & 1 ? guest_memcpy(to, from, n)
				       : (char *)guest_mempcpy(to, from, n) - n,
				 to);
		assert_memory_equal(area[1], before, ROOM);
	}
}

static void memmove_copies_overlapping_bytes(void **state)
{
	static char want[ROOM];

	(void)state;
	for (size_t i = 0; i < 6000; i++) {
		size_t n = some_length(i % 1000);
		char *from = place(0, n), *to = place(0, n);

		if (n && below(2)) { /* close together */
			to = from + (int64_t)below(200) - 100;
			if (to < area[0] || to + n > area[0] + ROOM)
				to = from;
		}
		fill(area[0], ROOM);
		memcpy(want, area[0], ROOM);
		memmove(want + (to - area[0]), want + (from - area[0]), n);
		assert_ptr_equal(guest_memmove(to, from, n), to);
		assert_memory_equal(area[0], want, ROOM);
	}
}

static void memset_fills_just_the_bytes_given(void **state)
{
	static char want[ROOM];

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		size_t n = some_length(i);
		char *to = place(0, n);
		int byte = (int)below(512);

		memcpy(want, area[0], ROOM);
		memset(want + (to - area[0]), byte, n);
		assert_ptr_equal(guest_memset(to, byte, n), to);
		assert_memory_equal(area[0], want, ROOM);
	}
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void memcmp_orders_as_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 6000; i++) {
		size_t n = some_length(i % 1500);
		char *a = place(0, n), *b = place(1, n);

		fill(a, n);
		memcpy(b, a, n);
		for (uint64_t changes = below(3); n && changes; changes--)
			b[below(n)] = (char)next_random(&seed);
		assert_int_equal(sign(guest_memcmp(a, b, n)), sign(memcmp(a, b, n)));
	}
}

static void memchr_and_memrchr_find_as_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 6000; i++) {
		size_t n = some_length(i % 1500);
		char *p = place(0, n);
		int byte = (int)below(256);

		memset(area[0], byte, ROOM); /* what is around must not be found */
		memset(p, byte + 1, n);
		for (uint64_t hits = below(3); n && hits; hits--)
			p[below(n)] = (char)byte;
		assert_ptr_equal(guest_memchr(p, byte, n), memchr(p, byte, n));
		assert_ptr_equal(guest_memrchr(p, byte, n), memrchr(p, byte, n));
		if (memchr(p, byte, n))
			assert_ptr_equal(guest_rawmemchr(p, byte), memchr(p, byte, n));
	}
}

static void memccpy_stops_behind_the_byte(void **state)
{
	char to[8] = "#######";

	(void)state;
	assert_ptr_equal(guest_memccpy(to, "abcdef", 'c', 6), to + 3);
	assert_string_equal(to, "abc####");
	assert_null(guest_memccpy(to, "xyz", 'q', 2));
	assert_string_equal(to, "xyc####");
}

/* --- strings ------------------------------------------------------------------------------ */

/* A string of up to n letters at the end of an area, or anywhere. */
static char *string_in(int which, size_t n, unsigned int letters)
{
	char *s = place(which, n + 1);

	for (size_t i = 0; i < n; i++)
		s[i] = (char)('a' + below(letters));
	if (n && !below(4))
		s[below(n)] = (char)(128 + below(128));
	s[n] = '\0';
	return s;
}

static void strlen_and_strnlen_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2000; i++) {
		size_t n = i < 300 ? i : below(ROOM);
		char *s = string_in(0, n, 26);
		size_t max = below(2) ? below(n + 20) : n;

		assert_int_equal(guest_strlen(s), n);
		assert_int_equal(guest_strnlen(s, max), max < n ? max : n);
	}
}

static void strnlen_does_not_look_beyond_its_limit(void **state)
{
	(void)state;
	memset(area[0], 'x', ROOM);
	for (size_t n = 0; n < 200; n++)
		assert_int_equal(guest_strnlen(area[0] + ROOM - n, n), n);
}

static void strcmp_family_orders_as_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 8000; i++) {
		size_t n = below(300), max = below(320);
		char *a = string_in(0, n, 26), *b;

		if (below(3)) {
			b = place(1, n + 1);
			strcpy(b, a);
			if (n && below(2))
				b[below(n)] ^= below(2) ? 0x20 : (char)below(256);
		} else {
			b = string_in(1, below(300), 2);
		}
		assert_int_equal(sign(guest_strcmp(a, b)), sign(strcmp(a, b)));
		assert_int_equal(sign(guest_strncmp(a, b, max)), sign(strncmp(a, b, max)));
		assert_int_equal(sign(guest_strcasecmp(a, b)), sign(strcasecmp(a, b)));
		assert_int_equal(sign(guest_strncasecmp(a, b, max)),
				 sign(strncasecmp(a, b, max)));
	}
}

static void strchr_family_finds_as_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 6000; i++) {
		char *s = string_in(0, below(i % 2 ? 40 : 600), 20);
		int c = below(10) ? (int)('a' + below(26)) : 0;

		assert_ptr_equal(guest_strchr(s, c), strchr(s, c));
		assert_ptr_equal(guest_strrchr(s, c), strrchr(s, c));
		assert_ptr_equal(guest_strchrnul(s, c), strchrnul(s, c));
	}
}

static void sets_of_characters_are_found_as_by_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4000; i++) {
		char *s = string_in(0, below(60), 8), *set = string_in(1, below(6), 8);

		assert_int_equal(guest_strspn(s, set), strspn(s, set));
		assert_int_equal(guest_strcspn(s, set), strcspn(s, set));
		assert_ptr_equal(guest_strpbrk(s, set), strpbrk(s, set));
	}
}

static void strings_are_found_as_by_the_c_library(void **state)
{
	(void)state;
	for (size_t i = 0; i < 30000; i++) {
		unsigned int letters = 1 + (unsigned int)below(3);
		char *s = string_in(0, below(i % 16 ? 60 : 3000), letters);
		char *what = string_in(1, below(i % 8 ? 8 : 40), letters);

		assert_ptr_equal(guest_strstr(s, what), strstr(s, what));
		assert_ptr_equal(guest_memmem(s, strlen(s), what, strlen(what)),
				 memmem(s, strlen(s), what, strlen(what)));
	}
}

/* Thue-Morse and periodic words, where a wrong period or a wrong memory of it shows. */
static void repetitive_strings_are_found(void **state)
{
	char *s = area[0];

	(void)state;
	for (int i = 0; i < 4000; i++)
		s[i] = (char)('a' + (__builtin_popcount((unsigned int)i) & 1));
	s[4000] = '\0';
	for (size_t n = 1; n < 200; n += 3) {
		for (size_t from = 0; from < 600; from += 37) {
			char *what = area[1] + ROOM - n - 1;

			memcpy(what, s + from, n);
			what[n] = '\0';
			assert_ptr_equal(guest_strstr(s, what), strstr(s, what));
			what[n - 1] = 'z';
			assert_null(guest_strstr(s, what));
		}
	}
}

static void strings_are_copied_as_by_the_c_library(void **state)
{
	static char want[1024], got[1024];

	(void)state;
	for (size_t i = 0; i < 4000; i++) {
		size_t n = below(200), max = below(300);
		char *s = string_in(0, n, 26);

		memset(want, '#', sizeof(want));
		memset(got, '#', sizeof(got));
		assert_ptr_equal(guest_strcpy(got, s), got);
		strcpy(want, s);
		assert_ptr_equal(guest_stpcpy(got + 300, s), got + 300 + n);
		stpcpy(want + 300, s);
		assert_ptr_equal(guest_stpncpy(got + 600, s, max),
				 got + 600 + (n < max ? n : max));
		stpncpy(want + 600, s, max);
		assert_memory_equal(want, got, sizeof(want));
		guest_strncat(guest_strcat(got, s), s, max);
		strncat(strcat(want, s), s, max);
		guest_strncpy(got + 600, s, max);
		assert_memory_equal(want, got, sizeof(want));
	}
}

static void strings_are_taken_apart_as_by_the_c_library(void **state)
{
	static const char text[] = ",,one, two;,three;;";
	char a[sizeof(text)], b[sizeof(text)], *p = a, *q = b, *keep_a, *keep_b;

	(void)state;
	memcpy(a, text, sizeof(text));
	memcpy(b, text, sizeof(text));
	while (p || q) {
		char *x = guest_strsep(&p, ",;"), *y = strsep(&q, ",;");

		assert_int_equal(x - a, y - b);
	}
	assert_memory_equal(a, b, sizeof(text));
	memcpy(a, text, sizeof(text));
	memcpy(b, text, sizeof(text));
	p = guest_strtok_r(a, " ,;", &keep_a);
	q = strtok_r(b, " ,;", &keep_b);
	while (p && q) {
		assert_string_equal(p, q);
		p = guest_strtok_r(NULL, " ,;", &keep_a);
		q = strtok_r(NULL, " ,;", &keep_b);
	}
	assert_null(p);
	assert_null(q);
}

/* --- numbers and characters --------------------------------------------------------------- */

static void expect_same_number(const char *s, int base)
{
	bool bad_base = base < 0 || base == 1 || base > 36; /* then C leaves `end` undefined */
	char *end, *want_end;
	long v, want;
	unsigned long u, want_u;

	errno = *guest_errno_location() = 0;
	want = strtol(s, &want_end, base);
	v = guest_strtol(s, &end, base);
	if (v != want || (end != want_end && !bad_base) || *guest_errno_location() != errno)
		fail_msg("strtol(\"%s\", %d): %ld, errno %d, but %ld, errno %d", s, base, v,
			 *guest_errno_location(), want, errno);
	errno = *guest_errno_location() = 0;
	want_u = strtoul(s, &want_end, base);
	u = guest_strtoul(s, &end, base);
	if (u != want_u || (end != want_end && !bad_base) || *guest_errno_location() != errno)
		fail_msg("strtoul(\"%s\", %d): %lu, errno %d, but %lu, errno %d", s, base, u,
			 *guest_errno_location(), want_u, errno);
}

static void numbers_are_read_as_by_the_c_library(void **state)
{
	static const char *const texts[] = {"",
					    " ",
					    "-",
					    "+",
					    "0",
					    "00",
					    "0x",
					    "0x1",
					    "0X1fg",
					    "x1",
					    "-0x10",
					    " \t\n\v\f\r42",
					    "--1",
					    "+-1",
					    "1 2",
					    "0779",
					    "08",
					    "9223372036854775807",
					    "9223372036854775808",
					    "-9223372036854775808",
					    "-9223372036854775809",
					    "18446744073709551615",
					    "18446744073709551616",
					    "-18446744073709551615",
					    "-18446744073709551616",
					    "99999999999999999999999999999999999z",
					    "zz",
					    "-Zz",
					    "1y2p0ij32e8e7",
					    "0b101",
					    "7fffffffffffffff",
					    "-8000000000000000"};
	static const int bases[] = {0, 2, 3, 8, 10, 16, 36, 1, 37, -1};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (size_t j = 0; j < sizeof(bases) / sizeof(bases[0]); j++)
			expect_same_number(texts[i], bases[j]);
	}
	for (int i = 0; i < 20000; i++) {
		static const char letters[] = " +-0123456789xXabcfz";
		char text[32];
		size_t n = below(sizeof(text));

		for (size_t k = 0; k < n; k++)
			text[k] = letters[below(sizeof(letters) - 1)];
		text[n] = '\0';
		expect_same_number(text, i & 1 ? 0 : (int)(2 + below(35)));
	}
	assert_int_equal(guest_atoi(" -123x"), -123);
	assert_int_equal(guest_abs(-5) + guest_abs(5), 10);
	assert_true(guest_labs(LONG_MIN + 1) == LONG_MAX);
}

static void characters_have_the_classes_of_the_c_locale(void **state)
{
	(void)state;
	for (int c = -1; c < 256; c++) {
		assert_int_equal(!!guest_isalnum(c), !!isalnum(c));
		assert_int_equal(!!guest_isalpha(c), !!isalpha(c));
		assert_int_equal(!!guest_isblank(c), !!isblank(c));
		assert_int_equal(!!guest_iscntrl(c), !!iscntrl(c));
		assert_int_equal(!!guest_isdigit(c), !!isdigit(c));
		assert_int_equal(!!guest_isgraph(c), !!isgraph(c));
		assert_int_equal(!!guest_islower(c), !!islower(c));
		assert_int_equal(!!guest_isprint(c), !!isprint(c));
		assert_int_equal(!!guest_ispunct(c), !!ispunct(c));
		assert_int_equal(!!guest_isspace(c), !!isspace(c));
		assert_int_equal(!!guest_isupper(c), !!isupper(c));
		assert_int_equal(!!guest_isxdigit(c), !!isxdigit(c));
		assert_int_equal(guest_tolower(c), tolower(c));
		assert_int_equal(guest_toupper(c), toupper(c));
	}
}

#ifdef __GLIBC__
static void tables_behind_ctype_macros_equal_glibc(void **state)
{
	(void)state;
	for (int c = -128; c < 256; c++) {
		assert_int_equal((*guest_ctype_b_loc())[c], (*__ctype_b_loc())[c]);
		assert_int_equal((*guest_ctype_tolower_loc())[c], (*__ctype_tolower_loc())[c]);
		assert_int_equal((*guest_ctype_toupper_loc())[c], (*__ctype_toupper_loc())[c]);
	}
}
#endif

/* --- sorting ------------------------------------------------------------------------------ */

static uint64_t comparisons;

static int by_number(const void *a, const void *b)
{
	int64_t x, y;

	comparisons++;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

/* n numbers in one of several orders that are hard for one or another method. */
static void make_order(int64_t *v, size_t n, int order)
{
	for (size_t i = 0; i < n; i++) {
		int64_t k = (int64_t)i, m = (int64_t)n;
		const int64_t orders[] = {
			(int64_t)next_random(&seed), k,	    m - k, 7,
			k < m / 2 ? k : m - k,	     k % 3, k ^ 1, k & 1 ? k : -k,
			(k * 7919) % (m + 1)};

		v[i] = orders[order];
	}
}

static void qsort_sorts_in_n_log_n_whatever_the_order(void **state)
{
	static int64_t v[20000], want[20000];
	static const size_t counts[] = {0, 1, 2, 3, 12, 13, 14, 100, 1000, 20000};

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (int order = 0; order < 9; order++) {
			size_t n = counts[i];
			uint64_t log = 64 - (uint64_t)__builtin_clzl(n | 1);

			make_order(v, n, order);
			memcpy(want, v, n * sizeof(v[0]));
			comparisons = 0;
			guest_qsort(v, n, sizeof(v[0]), by_number);
			if (comparisons > 4 * n * log + 200)
				fail_msg("%zu elements in order %d took %lu comparisons", n,
					 order, (unsigned long)comparisons);
			qsort(want, n, sizeof(v[0]), by_number);
			assert_memory_equal(v, want, n * sizeof(v[0]));
		}
	}
}

/*
 * The element that all others are greater than is chosen while sorting (McIlroy's adversary).
 */
static int64_t antiqsort_solid, antiqsort_gas, antiqsort_candidate;
static int64_t *antiqsort_values;

static int adversary(const void *a, const void *b)
{
	int64_t x, y;

	comparisons++;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	if (antiqsort_values[x] == antiqsort_gas && antiqsort_values[y] == antiqsort_gas) {
		if (x == antiqsort_candidate)
			antiqsort_values[x] = antiqsort_solid++;
		else
			antiqsort_values[y] = antiqsort_solid++;
	}
	if (antiqsort_values[x] == antiqsort_gas)
		antiqsort_candidate = x;
	else if (antiqsort_values[y] == antiqsort_gas)
		antiqsort_candidate = y;
	return (antiqsort_values[x] > antiqsort_values[y]) -
	       (antiqsort_values[x] < antiqsort_values[y]);
}

static void qsort_withstands_an_adversary(void **state)
{
	enum { COUNT = 10000 };
	static int64_t v[COUNT], values[COUNT];

	(void)state;
	antiqsort_values = values;
	antiqsort_gas = COUNT;
	antiqsort_solid = 0;
	for (int i = 0; i < COUNT; i++) {
		v[i] = i;
		values[i] = antiqsort_gas;
	}
	comparisons = 0;
	guest_qsort(v, COUNT, sizeof(v[0]), adversary);
	assert_true(comparisons < 6 * 14 * COUNT);
	for (int i = 1; i < COUNT; i++)
		assert_true(values[v[i - 1]] <= values[v[i]]);
}

static int at_random(const void *a, const void *b)
{
	(void)a;
	(void)b;
	comparisons++;
	return (int)below(3) - 1;
}

static void qsort_ends_where_the_order_contradicts_itself(void **state)
{
	(void)state;
	for (size_t i = 0; i < 200; i++) {
		size_t n = 1 + below(300), size = 1 + below(24);
		char *p = area[0] + ROOM - n * size; /* beyond is inaccessible */
		uint64_t sum = 0, after = 0;

		fill(p, n * size);
		for (size_t k = 0; k < n * size; k++)
			sum += (uint8_t)p[k];
		guest_qsort(p, n, size, at_random);
		for (size_t k = 0; k < n * size; k++)
			after += (uint8_t)p[k];
		assert_int_equal(sum, after);
	}
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 3);
}

static void qsort_moves_elements_of_odd_size_whole(void **state)
{
	static char got[999 * 3], want[sizeof(got)];

	(void)state;
	fill(got, sizeof(got));
	memcpy(want, got, sizeof(got));
	guest_qsort(got, 999, 3, by_bytes);
	qsort(want, 999, 3, by_bytes);
	assert_memory_equal(got, want, sizeof(got));
}

static void bsearch_finds_each_element_and_no_other(void **state)
{
	int64_t v[64];

	(void)state;
	for (int64_t i = 0; i < 64; i++)
		v[i] = i * 2;
	for (size_t n = 0; n <= 64; n++) {
		for (int64_t key = -1; key < 130; key++) {
			int64_t *found = guest_bsearch(&key, v, n, sizeof(v[0]), by_number);
			bool there = key >= 0 && key % 2 == 0 && key / 2 < (int64_t)n;

			assert_ptr_equal(found, there ? v + key / 2 : NULL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memcpy_copies_just_the_bytes_given, setup),
		cmocka_unit_test_setup(memmove_copies_overlapping_bytes, setup),
		cmocka_unit_test_setup(memset_fills_just_the_bytes_given, setup),
		cmocka_unit_test_setup(memcmp_orders_as_the_c_library, setup),
		cmocka_unit_test_setup(memchr_and_memrchr_find_as_the_c_library, setup),
		cmocka_unit_test_setup(memccpy_stops_behind_the_byte, setup),
		cmocka_unit_test_setup(strlen_and_strnlen_agree, setup),
		cmocka_unit_test_setup(strnlen_does_not_look_beyond_its_limit, setup),
		cmocka_unit_test_setup(strcmp_family_orders_as_the_c_library, setup),
		cmocka_unit_test_setup(strchr_family_finds_as_the_c_library, setup),
		cmocka_unit_test_setup(sets_of_characters_are_found_as_by_the_c_library, setup),
		cmocka_unit_test_setup(strings_are_found_as_by_the_c_library, setup),
		cmocka_unit_test_setup(repetitive_strings_are_found, setup),
		cmocka_unit_test_setup(strings_are_copied_as_by_the_c_library, setup),
		cmocka_unit_test_setup(strings_are_taken_apart_as_by_the_c_library, setup),
		cmocka_unit_test_setup(numbers_are_read_as_by_the_c_library, setup),
		cmocka_unit_test_setup(characters_have_the_classes_of_the_c_locale, setup),
#ifdef __GLIBC__
		cmocka_unit_test_setup(tables_behind_ctype_macros_equal_glibc, setup),
#endif
		cmocka_unit_test_setup(qsort_sorts_in_n_log_n_whatever_the_order, setup),
		cmocka_unit_test_setup(qsort_withstands_an_adversary, setup),
		cmocka_unit_test_setup(qsort_ends_where_the_order_contradicts_itself, setup),
		cmocka_unit_test_setup(qsort_moves_elements_of_odd_size_whole, setup),
		cmocka_unit_test_setup(bsearch_finds_each_element_and_no_other, setup),
	};

	return cmocka_run_group_tests_name("guest library", tests, map_areas, unmap_areas);
}
