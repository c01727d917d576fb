/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's docs/specs/fw_cfg.rst, by ports. Items are read-only. A DMA read may go past an item's
 * end, where there are zeros, but not by more than PAST_END.
 */
#include <endian.h>
#include <pthread.h>

#include "machine/platform.h"

#define SELECTOR_PORT 0x510
#define PORTS_LEN 12
#define OFFSET_SELECTOR 0
#define OFFSET_DATA 1
#define OFFSET_DMA_HIGH 4
#define OFFSET_DMA_LOW 8

#define ITEM_SIGNATURE 0x0000
#define ITEM_ID 0x0001
#define ITEM_DIRECTORY 0x0019
#define ITEM_FIRST_FILE 0x0020
#define MAX_FILES 256

#define ID_TRADITIONAL 1u
#define ID_DMA 2u

#define NAME_SIZE 56
#define PAST_END ((uint32_t)1 << 20)

#define DMA_ERROR 1u
#define DMA_READ 2u
#define DMA_SKIP 4u
#define DMA_SELECT 8u
#define DMA_WRITE 16u
static const uint8_t dma_signature[8] = "QEMU CFG";

struct dma_access { /* all big-endian */
	uint32_t control, length;
	uint64_t address;
};

struct directory_entry { /* big-endian */
	uint32_t size;
	uint16_t select, reserved;
	char name[NAME_SIZE];
};

_Static_assert(sizeof(struct directory_entry) == 64, "struct FWCfgFile");

struct item {
	uint8_t *data; /* owned */
	uint32_t len;
};

struct fwcfg {
	const struct ram *ram;
	struct item *files;
	size_t nfiles;
	struct item directory;
	pthread_mutex_t lock;
	/* Where reading is. */
	uint16_t selected;
	uint32_t offset; /* at most the item's length */
	uint32_t dma_high;
};

static struct item item_at(const struct fwcfg *f, uint16_t selector)
{
	static uint8_t signature[4] = "QEMU", id[4] = {ID_TRADITIONAL | ID_DMA};

	if (selector == ITEM_SIGNATURE)
		return (struct item){signature, sizeof(signature)};
	if (selector == ITEM_ID)
		return (struct item){id, sizeof(id)};
	if (selector == ITEM_DIRECTORY)
		return f->directory;
	if (selector >= ITEM_FIRST_FILE && (size_t)(selector - ITEM_FIRST_FILE) < f->nfiles)
		return f->files[selector - ITEM_FIRST_FILE];
	return (struct item){NULL, 0};
}

static void select_item(struct fwcfg *f, uint16_t selector)
{
	f->selected = selector;
	f->offset = 0;
}

static uint8_t next_byte(struct fwcfg *f)
{
	struct item item = item_at(f, f->selected);

	return f->offset < item.len ? item.data[f->offset++] : 0;
}

/* --- DMA ----------------------------------------------------------------------------------- */

static bool dma_read(struct fwcfg *f, uint64_t address, uint32_t length)
{
	struct item item = item_at(f, f->selected);
	uint32_t there = f->offset < item.len ? item.len - f->offset : 0;
	uint8_t *to;

	if (there > length)
		there = length;
	if (length - there > PAST_END)
		return false;
	to = ram_span(f->ram, gpa(address), length);
	if (!to)
		return false;
	if (item.data && there)
		memcpy(to, item.data + f->offset, there);
	memset(to + there, 0, length - there);
	f->offset += there;
	return true;
}

static bool dma_do(struct fwcfg *f, const struct dma_access *access)
{
	uint32_t control = be32toh(access->control), length = be32toh(access->length);
	struct item item;

	if (control & DMA_SELECT)
		select_item(f, (uint16_t)(control >> 16));
	if (control & DMA_READ)
		return dma_read(f, be64toh(access->address), length);
	if (control & DMA_WRITE)
		return false;
	if (control & DMA_SKIP) {
		item = item_at(f, f->selected);
		f->offset += length < item.len - f->offset ? length : item.len - f->offset;
	}
	return true;
}

/* The result goes where the request's control word was. */
static void dma(struct fwcfg *f, uint64_t at)
{
	struct dma_access access;
	uint32_t result;

	if (!ram_read(f->ram, gpa(at), &access, sizeof(access)))
		return;
	result = htobe32(dma_do(f, &access) ? 0 : DMA_ERROR);
	ram_write(f->ram, gpa(at), &result, sizeof(result));
}

/* --- ports --------------------------------------------------------------------------------- */

static uint64_t fwcfg_read(void *device, uint64_t offset, uint32_t len)
{
	struct fwcfg *f = device;
	uint64_t v = 0;

	if (offset >= OFFSET_DMA_HIGH) {
		memcpy(&v, dma_signature + (offset - OFFSET_DMA_HIGH), len);
		return v;
	}
	if (offset != OFFSET_DATA || len != 1)
		return 0;
	pthread_mutex_lock(&f->lock);
	v = next_byte(f);
	pthread_mutex_unlock(&f->lock);
	return v;
}

static void fwcfg_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct fwcfg *f = device;

	pthread_mutex_lock(&f->lock);
	if (offset == OFFSET_SELECTOR && len == 2)
		select_item(f, (uint16_t)value);
	else if (offset == OFFSET_DMA_HIGH && len == 4)
		f->dma_high = be32toh((uint32_t)value);
	else if (offset == OFFSET_DMA_LOW && len == 4)
		dma(f, (uint64_t)f->dma_high << 32 | be32toh((uint32_t)value));
	pthread_mutex_unlock(&f->lock);
}

static const struct bus_ops ops = {.read = fwcfg_read, .write = fwcfg_write};

/* --- life ---------------------------------------------------------------------------------- */

static int check_files(const struct fwcfg_file *files, size_t n, mayfly_error *err)
{
	if (n > MAX_FILES)
		return fail(err, MAYFLY_E_LIMIT, "fw_cfg: %zu files; at most %d are possible",
			    n, MAX_FILES);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(files[i].name);

		if (len == 0 || len >= NAME_SIZE)
			return fail(err, MAYFLY_E_INVALID,
				    "fw_cfg: the name \"%.60s\" must have 1 to %d bytes",
				    files[i].name, NAME_SIZE - 1);
		if (files[i].len > INT32_MAX)
			return fail(err, MAYFLY_E_TOO_LARGE,
				    "fw_cfg: %s has %zu bytes; less than 2 GiB are possible",
				    files[i].name, files[i].len);
		for (size_t j = 0; j < i; j++)
			if (strcmp(files[i].name, files[j].name) == 0)
				return fail(err, MAYFLY_E_INVALID,
					    "fw_cfg: two files have the name %s",
					    files[i].name);
	}
	return MAYFLY_OK;
}

static bool copy_files(struct fwcfg *f, const struct fwcfg_file *files, size_t n)
{
	for (f->nfiles = 0; f->nfiles < n; f->nfiles++) {
		const struct fwcfg_file *from = &files[f->nfiles];
		uint8_t *data = malloc(from->len + 1);

		if (!data)
			return false;
		if (from->len)
			memcpy(data, from->data, from->len);
		f->files[f->nfiles] = (struct item){data, (uint32_t)from->len};
	}
	return true;
}

static bool make_directory(struct fwcfg *f, const struct fwcfg_file *files)
{
	uint32_t count = htobe32((uint32_t)f->nfiles);
	size_t len = sizeof(count) + f->nfiles * sizeof(struct directory_entry);
	uint8_t *data = malloc(len);

	if (!data)
		return false;
	memcpy(data, &count, sizeof(count));
	for (size_t i = 0; i < f->nfiles; i++) {
		struct directory_entry e = {
			.size = htobe32(f->files[i].len),
			.select = htobe16((uint16_t)(ITEM_FIRST_FILE + i)),
		};

		memcpy(e.name, files[i].name, strlen(files[i].name));
		memcpy(data + sizeof(count) + i * sizeof(e), &e, sizeof(e));
	}
	f->directory = (struct item){data, (uint32_t)len};
	return true;
}

int fwcfg_new(struct bus *ports, const struct ram *ram, const struct fwcfg_file *files,
	      size_t nfiles, struct fwcfg **out, mayfly_error *err)
{
	struct fwcfg *f;
	int r = check_files(files, nfiles, err);

	if (r)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return fail(err, MAYFLY_E_NOMEM, "no memory for fw_cfg");
	f->ram = ram;
	pthread_mutex_init(&f->lock, NULL);
	f->files = calloc(nfiles + 1, sizeof(*f->files));
	if (!f->files || !copy_files(f, files, nfiles) || !make_directory(f, files))
		r = fail(err, MAYFLY_E_NOMEM, "no memory for the files of fw_cfg");
	else
		r = bus_add(ports,
			    &(struct bus_range){.base = SELECTOR_PORT,
						.len = PORTS_LEN,
						.ops = &ops,
						.device = f,
						.name = "fw_cfg"},
			    err);
	if (r) {
		fwcfg_free(f);
		return r;
	}
	*out = f;
	return MAYFLY_OK;
}

void fwcfg_free(struct fwcfg *f)
{
	if (!f)
		return;
	for (size_t i = 0; f->files && i < f->nfiles; i++)
		free(f->files[i].data);
	free(f->files);
	free(f->directory.data);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Files are the host's, as at the start: they may be others in a clone. */
void fwcfg_save(const struct fwcfg *f, struct writer *w)
{
	put_u64(w, f->selected);
	put_u64(w, f->offset);
	put_u64(w, f->dma_high);
}

bool fwcfg_load(struct fwcfg *f, struct reader *r)
{
	uint32_t len;

	f->selected = (uint16_t)get_count(r, UINT16_MAX);
	f->offset = (uint32_t)get_count(r, UINT32_MAX);
	f->dma_high = (uint32_t)get_count(r, UINT32_MAX);
	len = item_at(f, f->selected).len;
	if (f->offset > len)
		f->offset = len;
	return !r->bad;
}
