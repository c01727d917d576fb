/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way of a hostile guest file into memory: parse, load, page protections, notes, manifest,
 * and the manifest's bytes and back. Besides the sanitizers' findings, everything that the headers
 * promise of the results is checked.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "fuzz.h"
#include "function/manifest.h"

static const struct elf_limits limits = {
	.pie_base = FN_IMAGE_MIN_VA,
	.min_va = FN_IMAGE_MIN_VA,
	.max_va = FN_IMAGE_MAX_VA,
	.max_span = 1 << 20,
};

static void check_segments(const struct elf_image *img, size_t file_len)
{
	uint64_t end = img->start_va;

	CHECK(img->nsegments > 0 && img->nsegments <= ELF_MAX_SEGMENTS);
	CHECK(((img->start_va | img->end_va) & PAGE_MASK) == 0);
	CHECK(img->start_va >= limits.min_va && img->end_va <= limits.max_va);
	CHECK(img->end_va - img->start_va <= limits.max_span);
	for (size_t i = 0; i < img->nsegments; i++) {
		const struct elf_segment *seg = &img->segments[i];

		CHECK(seg->va >= end && seg->memsz > 0 && seg->memsz <= img->end_va - seg->va);
		CHECK(seg->filesz <= seg->memsz);
		CHECK(range_within(seg->offset, seg->filesz, file_len));
		CHECK((elf_page_prot(img, page_down(seg->va)) & seg->prot) == seg->prot);
		end = seg->va + seg->memsz;
	}
}

static void check_pages(const struct elf_image *img)
{
	uint64_t wx = elf_find_wx_page(img), first = 0;

	for (uint64_t va = img->start_va; va < img->end_va && !first; va += PAGE_SIZE) {
		uint32_t prot = elf_page_prot(img, va);

		if ((prot & ELF_WRITE) && (prot & ELF_EXEC))
			first = va;
	}
	CHECK(wx == first);
	CHECK(elf_page_prot(img, img->start_va - PAGE_SIZE) == 0);
	CHECK(elf_page_prot(img, img->end_va) == 0);
}

static void check_symbols(const struct elf_image *img)
{
	for (size_t i = 0; i < img->nsymbols; i++) {
		const struct elf_symbol *s = &img->symbols[i];

		CHECK(i == 0 || s->va > img->symbols[i - 1].va);
		CHECK(s->va >= img->start_va && s->size > 0 && s->size <= img->end_va - s->va);
		CHECK(s->name[0] && strlen(s->name) <= ELF_MAX_SYMBOL_NAME);
		fuzz_check_text(s->name);
		CHECK(elf_symbol_at(img->symbols, img->nsymbols, s->va) == s);
	}
}

static void check_manifest(const struct manifest *m, const struct elf_image *img)
{
	for (uint32_t i = 0; i < m->nexports; i++)
		CHECK(elf_page_prot(img, page_down(m->exports[i].va)) & ELF_EXEC);
	fuzz_check_manifest(m, limits.min_va, limits.max_va);
}

/* `file` and `mem` are of exactly the sizes they claim to have. */
static void try_loaded(struct elf_image *img, const uint8_t *file, size_t len, uint8_t *mem)
{
	struct manifest m = {0};
	mayfly_error err;
	int r;

	r = elf_load(img, file, len, mem, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		return;
	}
	r = manifest_from_elf(img, file, len, mem, &m, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		CHECK(!m.exports && !m.imports && !m.symbols);
		return;
	}
	check_manifest(&m, img);
	manifest_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct elf_image img;
	mayfly_error err;
	uint8_t *mem;
	int r;

	r = elf_parse(data, size, &limits, &img, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		return 0;
	}
	check_segments(&img, size);
	check_pages(&img);
	check_symbols(&img);
	mem = calloc(1, img.end_va - img.start_va);
	CHECK(mem);
	try_loaded(&img, data, size, mem);
	free(mem);
	elf_image_fini(&img);
	return 0;
}
