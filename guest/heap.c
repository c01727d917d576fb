/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap: blocks with a header, side by side; free ones in lists by size, merged with their
 * neighbours at once. Every operation looks at a bounded number of blocks.
 *
 * Few pages are touched, because each costs the next restore: all state fits half a page,
 * memory beyond `top` has never been in use or was given back, a block that was freed last is
 * used first, and calloc does not clear what it knows to be zero.
 *
 *	block ->  before   size of the block before, where that is free; else its payload
 *		  header   size, flags and a checksum of both and the address
 *	payload-> ...	   the last 8 bytes are the next block's `before`
 *
 * The checksum tells a header from whatever else stands at an address: a second free(), a
 * free() of something that malloc() did not give and a write past the end of a block are found
 * when they are about to do harm, and abort. That is for bugs; nothing here is a defence
 * against code that means to corrupt its own heap.
 */
#include "guest/internal.h"

#define UNIT 16u
#define BLOCK_MIN 32u
#define OVERHEAD 8u /* of a block in use: its header */
#define PAYLOAD 16u /* offset in the block */
#define REQUEST_MAX ((size_t)1 << 38)

/* header */
#define USED 1u
#define BEFORE_USED 2u
#define FLAGS (USED | BEFORE_USED)
#define CHECK_SHIFT 40
#define SIZE_MASK (((UINT64_C(1) << CHECK_SHIFT) - 1) & ~UINT64_C(15))

struct block {
	uint64_t before;
	uint64_t header;
	struct block *next, *previous; /* in the list, while free */
};

/*
 * Lists by size: one for each multiple of 16 below 1024, above that four for each power of two.
 */
#define SMALL_MAX 1024u
#define SMALL_BINS (SMALL_MAX / UNIT)
#define BINS (SMALL_BINS + (CHECK_SHIFT - 10) * 4)
#define BIN_WORDS ((BINS + 63) / 64)
/* How many blocks of a list whose blocks may be too small are looked at. */
#define TRIES 4

static struct heap {
	char *base; /* NULL before the first allocation */
	char *top;  /* the end of the last block in use: from here on all is free */
	char *high; /* memory from here on was never written to */
	char *end;
	uint64_t key;
	uint64_t filled[BIN_WORDS]; /* a bit for each list that is not empty */
	struct block *bins[BINS];
} heap __attribute__((aligned(2048)));

_Static_assert(sizeof(struct heap) <= 2048, "the heap's state straddles pages");

/* --- headers ------------------------------------------------------------------------------ */

static MAYFLY_GUEST_NORETURN void misuse(const char *what, const void *address)
{
	mayfly_abort(MAYFLY_ABORT_HEAP, "heap: %s (address %p)", what, address);
}

static inline uint64_t sealed(const struct block *b, uint64_t size_and_flags)
{
	/* Two multiplications at a time: this is most of what malloc and free do. */
	uint64_t hash = ((uintptr_t)b ^ heap.key) * UINT64_C(0x9e3779b97f4a7c15) +
			size_and_flags * UINT64_C(0xd1342543de82ef95);

	return size_and_flags | hash >> CHECK_SHIFT << CHECK_SHIFT;
}

static inline void set_header(struct block *b, size_t size, unsigned int flags)
{
	b->header = sealed(b, size | flags);
}

static inline size_t size_of(const struct block *b)
{
	return b->header & SIZE_MASK;
}

static inline bool header_is_whole(const struct block *b)
{
	return b->header == sealed(b, b->header & (SIZE_MASK | FLAGS));
}

/* Whether a block can be there. */
static inline bool is_within(const struct block *b)
{
	return (uintptr_t)b % UNIT == 0 && (const char *)b >= heap.base &&
	       (const char *)b < heap.top;
}

static inline void check_header(const struct block *b)
{
	if (EXPECT_NOT(!is_within(b) || !header_is_whole(b)))
		misuse("a block's header was overwritten, by a write past the end of the block "
		       "before it or through a dangling pointer",
		       b);
}

static inline struct block *block_at(void *address)
{
	return (struct block *)address;
}

static inline struct block *after(struct block *b)
{
	return block_at((char *)b + size_of(b));
}

static inline void *payload_of(struct block *b)
{
	return (char *)b + PAYLOAD;
}

static inline bool is_top(const struct block *b)
{
	return (const char *)b == heap.top;
}

/* --- lists -------------------------------------------------------------------------------- */

/* The list of free blocks of this size. */
static inline unsigned int bin_of(size_t size)
{
	unsigned int log;

	if (size < SMALL_MAX)
		return (unsigned int)(size / UNIT);
	log = 63 - (unsigned int)__builtin_clzl(size);
	return SMALL_BINS + (log - 10) * 4 + (unsigned int)(size >> (log - 2) & 3);
}

static void list_add(struct block *b)
{
	unsigned int bin = bin_of(size_of(b));
	struct block *first = heap.bins[bin];

	b->previous = NULL;
	b->next = first;
	if (first)
		first->previous = b;
	heap.bins[bin] = b;
	heap.filled[bin / 64] |= UINT64_C(1) << (bin % 64);
}

static void list_remove(struct block *b)
{
	unsigned int bin = bin_of(size_of(b));
	struct block *next = b->next, *previous = b->previous;

	if (EXPECT_NOT((next && (!is_within(next) || next->previous != b)) ||
		       (previous && !is_within(previous)) ||
		       (previous ? previous->next : heap.bins[bin]) != b))
		misuse("a free block was written to", b);
	if (next)
		next->previous = previous;
	if (previous) {
		previous->next = next;
		return;
	}
	heap.bins[bin] = next;
	if (!next)
		heap.filled[bin / 64] &= ~(UINT64_C(1) << (bin % 64));
}

/* The first list from `bin` on that is not empty; BINS if there is none. */
static unsigned int next_filled(unsigned int bin)
{
	unsigned int word = bin / 64;
	uint64_t bits;

	if (bin >= BINS)
		return BINS;
	bits = heap.filled[word] & ~UINT64_C(0) << (bin % 64);
	while (!bits) {
		if (++word == BIN_WORDS)
			return BINS;
		bits = heap.filled[word];
	}
	return word * 64 + (unsigned int)__builtin_ctzll(bits);
}

/* One of the first few blocks of a list that is of at least `size`, or NULL. */
static struct block *first_fit(unsigned int bin, size_t size)
{
	struct block *b = heap.bins[bin];

	for (int i = 0; b && i < TRIES; i++, b = b->next) {
		check_header(b);
		if (size_of(b) >= size)
			return b;
	}
	return NULL;
}

/* A free block of at least `size`, taken out of its list; NULL if there is none to be seen. */
static struct block *list_take(size_t size)
{
	unsigned int bin = bin_of(size);
	struct block *b = first_fit(bin, size);

	if (!b) {
		/* Whatever is in the lists above is large enough. */
		bin = next_filled(bin + 1);
		if (bin == BINS)
			return NULL;
		b = heap.bins[bin];
		check_header(b);
	}
	list_remove(b);
	return b;
}

/* --- blocks ------------------------------------------------------------------------------- */

/* Make [b, b + size) free, whose neighbours are in use, and put it into a list. */
static void make_free(struct block *b, size_t size)
{
	set_header(b, size, BEFORE_USED);
	after(b)->before = size;
	list_add(b);
}

/*
 * Give a block in use back: merged with free neighbours, or with all that is free beyond top.
 */
static void release(struct block *b)
{
	size_t size = size_of(b);
	struct block *next = after(b);

	/* The header is to say "free" also where no block begins any more, for who frees it again. */
	if (!(b->header & BEFORE_USED)) {
		struct block *before = b;

		if (b->before <= (size_t)((char *)b - heap.base))
			before = block_at((char *)b - b->before);
		if (EXPECT_NOT(before == b || !is_within(before) || !header_is_whole(before) ||
			       before->header & USED || size_of(before) != b->before))
			misuse("a free block was written to, before this one", b);
		list_remove(before);
		set_header(b, size, 0);
		size += size_of(before);
		b = before;
	} else if (is_top(next)) {
		set_header(b, size, BEFORE_USED);
	}
	if (is_top(next)) {
		heap.top = (char *)b;
		return;
	}
	check_header(next);
	if (!(next->header & USED)) {
		list_remove(next);
		size += size_of(next);
		next = after(next);
		check_header(next);
	}
	set_header(next, size_of(next), USED);
	make_free(b, size);
}

/* Cut a block in use down to `size`, giving back what follows if that can be a block. */
static void trim(struct block *b, size_t size)
{
	size_t rest = size_of(b) - size;
	struct block *tail;

	if (rest < BLOCK_MIN)
		return;
	set_header(b, size, USED | (b->header & BEFORE_USED));
	tail = after(b);
	set_header(tail, rest, USED | BEFORE_USED);
	release(tail);
}

/* Room for `size` more bytes from top on, and for the `before` that follows. */
static inline bool top_has(size_t size)
{
	return size + UNIT <= (size_t)(heap.end - heap.top);
}

static inline void move_top(size_t size)
{
	heap.top += size;
	if (heap.high < heap.top + OVERHEAD)
		heap.high = heap.top + OVERHEAD;
}

static void start(void)
{
	const struct fn_call *call = call_block();
	uint64_t from = *(const volatile uint64_t *)&call->heap_start;
	uint64_t to = *(const volatile uint64_t *)&call->heap_end;

	/* Not the part that the gate makes the stack protector's canary of. */
	memcpy(&heap.key, call->seed + 16, sizeof(heap.key));
	from = (from + UNIT - 1) & ~(uint64_t)(UNIT - 1);
	to &= ~(uint64_t)(UNIT - 1);
	if (to < from)
		to = from;
	heap.base = (char *)(uintptr_t)from;
	heap.top = heap.base;
	heap.high = heap.base;
	heap.end = (char *)(uintptr_t)to;
}

/* The size of a block for so many bytes; 0 if no heap can have that. */
static inline size_t block_size(size_t request)
{
	if (request > REQUEST_MAX)
		return 0;
	if (request <= BLOCK_MIN - OVERHEAD)
		return BLOCK_MIN;
	return (request + OVERHEAD + UNIT - 1) & ~(size_t)(UNIT - 1);
}

/* Put a free block of at least `size` to use; what it has to spare stays free. */
static void split(struct block *b, size_t size)
{
	size_t rest = size_of(b) - size;
	struct block *next;

	if (rest >= BLOCK_MIN) {
		set_header(b, size, USED | BEFORE_USED);
		make_free(after(b), rest);
		return;
	}
	next = after(b);
	check_header(next);
	set_header(next, size_of(next), USED | BEFORE_USED);
	set_header(b, size_of(b), USED | BEFORE_USED);
}

/* A block in use of at least `size`. NULL: exhausted. */
static struct block *take(size_t size)
{
	struct block *b;

	if (EXPECT_NOT(!heap.base))
		start();
	b = list_take(size);
	if (b) {
		split(b, size);
		return b;
	}
	if (!top_has(size))
		return NULL;
	b = block_at(heap.top);
	move_top(size);
	set_header(b, size, USED | BEFORE_USED);
	return b;
}

/* The block of a payload that the caller says malloc gave. */
static struct block *block_of(void *p, const char *function)
{
	uintptr_t at =
		(uintptr_t)p - PAYLOAD; /* of anything: a pointer to there may not exist */
	struct block *b = block_at((char *)at);
	bool inside = (uintptr_t)p % UNIT == 0 && heap.base && at >= (uintptr_t)heap.base &&
		      at < (uintptr_t)heap.high - PAYLOAD;

	if (EXPECT_NOT(!inside || !header_is_whole(b)))
		mayfly_abort(MAYFLY_ABORT_HEAP,
			     "heap: %s(%p): not an address that malloc gave, or a write past "
			     "the end "
			     "of the block before it destroyed its header",
			     function, p);
	if (EXPECT_NOT((char *)b >= heap.top || !(b->header & USED)))
		mayfly_abort(MAYFLY_ABORT_HEAP, "heap: %s(%p): was freed already", function, p);
	return b;
}

/* --- the functions ------------------------------------------------------------------------ */

static void *no_memory(void)
{
	*__errno_location() = ERROR_NOMEM;
	return NULL;
}

void *malloc(size_t request)
{
	size_t size = block_size(request);
	struct block *b = size ? take(size) : NULL;

	return b ? payload_of(b) : no_memory();
}

void *calloc(size_t count, size_t each)
{
	char *high = heap.high; /* NULL: there is nothing yet, all is zero */
	size_t request;
	char *p;

	if (__builtin_mul_overflow(count, each, &request))
		return no_memory();
	p = malloc(request);
	if (p && p < high)
		memset(p, 0, (size_t)(high - p) < request ? (size_t)(high - p) : request);
	return p;
}

void free(void *p)
{
	if (p)
		release(block_of(p, "free"));
}

/* Grow in place, to at least `size`, if what follows is free. */
static bool grow(struct block *b, size_t size)
{
	size_t have = size_of(b);
	struct block *next = after(b);

	if (is_top(next)) {
		if (!top_has(size - have))
			return false;
		move_top(size - have);
		set_header(b, size, USED | (b->header & BEFORE_USED));
		return true;
	}
	check_header(next);
	if (next->header & USED || have + size_of(next) < size)
		return false;
	list_remove(next);
	set_header(b, have + size_of(next), USED | (b->header & BEFORE_USED));
	next = after(b);
	check_header(next);
	set_header(next, size_of(next), USED | BEFORE_USED);
	trim(b, size);
	return true;
}

void *realloc(void *p, size_t request)
{
	size_t size = block_size(request);
	struct block *b;
	void *moved;

	if (!p)
		return malloc(request);
	b = block_of(p, "realloc");
	if (!request) {
		release(b);
		return NULL;
	}
	if (!size)
		return no_memory();
	if (size <= size_of(b)) {
		trim(b, size);
		return p;
	}
	if (grow(b, size))
		return p;
	moved = malloc(request);
	if (!moved)
		return NULL;
	memcpy(moved, p, size_of(b) - OVERHEAD);
	release(b);
	return moved;
}

void *reallocarray(void *p, size_t count, size_t each)
{
	size_t request;

	if (__builtin_mul_overflow(count, each, &request))
		return no_memory();
	return realloc(p, request);
}

/* Allocates enough for a front part that can be a block of its own, and gives that back. */
void *aligned_alloc(size_t alignment, size_t request)
{
	size_t size = block_size(request);
	struct block *b, *aligned;
	uintptr_t address;
	size_t front;

	if (!alignment || alignment & (alignment - 1)) {
		*__errno_location() = ERROR_INVALID;
		return NULL;
	}
	if (alignment <= UNIT)
		return malloc(request);
	if (!size || alignment > REQUEST_MAX)
		return no_memory();
	b = take(size + alignment + BLOCK_MIN);
	if (!b)
		return no_memory();
	address = (uintptr_t)payload_of(b);
	if (address & (alignment - 1)) {
		address = (address + BLOCK_MIN + alignment - 1) & ~(uintptr_t)(alignment - 1);
		front = address - (uintptr_t)payload_of(b);
		aligned = block_at((char *)b + front);
		set_header(aligned, size_of(b) - front, USED | BEFORE_USED);
		set_header(b, front, USED | (b->header & BEFORE_USED));
		release(b);
		b = aligned;
	}
	trim(b, size);
	return payload_of(b);
}

int posix_memalign(void **out, size_t alignment, size_t request)
{
	void *p;

	if (alignment < sizeof(void *) || alignment & (alignment - 1))
		return ERROR_INVALID;
	p = aligned_alloc(alignment, request);
	if (!p)
		return ERROR_NOMEM;
	*out = p;
	return 0;
}

size_t malloc_usable_size(void *p)
{
	return p ? size_of(block_of(p, "malloc_usable_size")) - OVERHEAD : 0;
}

/* --- for tests ---------------------------------------------------------------------------- */

bool mayfly_p_heap_is_sound(void)
{
	size_t listed = 0, walked = 0;
	bool before_used = true;
	char *p;

	for (p = heap.base; p < heap.top; p += size_of(block_at(p))) {
		struct block *b = block_at(p);

		if (!header_is_whole(b) || size_of(b) < BLOCK_MIN ||
		    before_used != !!(b->header & BEFORE_USED) ||
		    (!before_used && !(b->header & USED)))
			return false;
		before_used = b->header & USED;
		if (!before_used) {
			walked++;
			if (after(b)->before != size_of(b))
				return false;
		}
	}
	for (unsigned int bin = 0; bin < BINS; bin++) {
		bool filled = heap.filled[bin / 64] >> (bin % 64) & 1;

		if (filled != !!heap.bins[bin])
			return false;
		for (struct block *b = heap.bins[bin]; b; b = b->next, listed++) {
			if (bin_of(size_of(b)) != bin || b->header & USED)
				return false;
		}
	}
	return p == heap.top && walked == listed && before_used;
}

#ifdef MAYFLY_GUEST_NATIVE
void guest_test_new_heap(void)
{
	heap = (struct heap){0};
}
#endif
