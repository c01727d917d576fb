/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qsort and bsearch. Quicksort with the median of three, which turns to heapsort where the
 * partitions stay lopsided, and to insertion sort for the last few: O(n log n) for any input
 * and any comparison function, even one that contradicts itself, and a bounded stack.
 */
#include "guest/internal.h"
#include "guest/vector.h"

#define INSERTION_MAX 12

typedef int (*compare_fn)(const void *, const void *);

struct array {
	char *base;
	size_t size;
	compare_fn compare;
};

static inline char *at(const struct array *a, size_t i)
{
	return a->base + i * a->size;
}

static inline bool less(const struct array *a, size_t i, size_t j)
{
	return a->compare(at(a, i), at(a, j)) < 0;
}

static inline void swap(const struct array *a, size_t i, size_t j)
{
	char *p = at(a, i), *q = at(a, j);
	size_t n = a->size;

	for (; n >= 8; n -= 8, p += 8, q += 8) {
		uint64_t word = *(word64 *)p;

		*(word64 *)p = *(word64 *)q;
		*(word64 *)q = word;
	}
	for (; n; n--, p++, q++) {
		char byte = *p;

		*p = *q;
		*q = byte;
	}
}

static void sort_by_insertion(const struct array *a, size_t first, size_t count)
{
	for (size_t i = first + 1; i < first + count; i++) {
		for (size_t j = i; j > first && less(a, j, j - 1); j--)
			swap(a, j, j - 1);
	}
}

/* Let element `root` of the heap [first, first + count) sink to its place. */
static void sink(const struct array *a, size_t first, size_t root, size_t count)
{
	for (;;) {
		size_t child = root * 2 + 1;

		if (child >= count)
			return;
		if (child + 1 < count && less(a, first + child, first + child + 1))
			child++;
		if (!less(a, first + root, first + child))
			return;
		swap(a, first + root, first + child);
		root = child;
	}
}

static void sort_by_heap(const struct array *a, size_t first, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sink(a, first, i, count);
	for (size_t n = count; n-- > 1;) {
		swap(a, first, first + n);
		sink(a, first, 0, n);
	}
}

/*
 * The median of first, middle and last goes first, to be the pivot; the others to their sides.
 */
static void choose_pivot(const struct array *a, size_t first, size_t count)
{
	size_t middle = first + count / 2, last = first + count - 1;

	if (less(a, middle, first))
		swap(a, middle, first);
	if (less(a, last, middle)) {
		swap(a, last, middle);
		if (less(a, middle, first))
			swap(a, middle, first);
	}
	swap(a, first, middle);
}

/* Smaller ones before, larger ones behind the pivot, whose index is the result. */
static size_t partition(const struct array *a, size_t first, size_t count)
{
	size_t up = first + 1, down = first + count - 1;

	choose_pivot(a, first, count);
	for (;;) {
		while (up <= down && less(a, up, first))
			up++;
		while (up <= down && less(a, first, down))
			down--;
		if (up >= down)
			break;
		swap(a, up++, down--);
	}
	swap(a, first, down);
	return down;
}

/* The larger part is done in the loop: recursion is at most log2(count) deep. */
static void sort(const struct array *a, size_t first, size_t count, unsigned int depth)
{
	while (count > INSERTION_MAX) {
		size_t pivot, before, behind;

		if (!depth--) {
			sort_by_heap(a, first, count);
			return;
		}
		pivot = partition(a, first, count);
		before = pivot - first;
		behind = count - before - 1;
		if (before < behind) {
			sort(a, first, before, depth);
			first = pivot + 1;
			count = behind;
		} else {
			sort(a, pivot + 1, behind, depth);
			count = before;
		}
	}
	sort_by_insertion(a, first, count);
}

void qsort(void *base, size_t count, size_t size, compare_fn compare)
{
	struct array a = {base, size, compare};

	if (count > 1 && size)
		sort(&a, 0, count, 2 * (64 - (unsigned int)__builtin_clzl(count)));
}

void *bsearch(const void *key, const void *base, size_t count, size_t size, compare_fn compare)
{
	const char *from = base;

	while (count) {
		const char *middle = from + count / 2 * size;
		int order = compare(key, middle);

		if (!order)
			return (void *)(uintptr_t)middle;
		if (order > 0) {
			from = middle + size;
			count--;
		}
		count /= 2;
	}
	return NULL;
}
