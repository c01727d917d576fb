/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a guest's functions, for messages about faults. They are no more than a
 * courtesy: where the tables are missing or damaged, there are none, and nobody complains.
 */
#include "core/error.h"
#include "loader/elf_file.h"

/* A symbol table and its strings: offsets in the file, both checked to lie within it. */
struct symbol_table {
	uint64_t offset;
	uint64_t count;
	const char *strings;
	uint64_t strings_len;
};

static bool read_section(const struct elf_file *file, uint64_t index, Elf64_Shdr *out)
{
	/* index < count <= len / 64, see section_count(). */
	return elf_file_read(file, file->eh.e_shoff + index * sizeof(*out), out, sizeof(*out));
}

/* 0 where the table of sections is missing or not wholly in the file. */
static uint64_t section_count(const struct elf_file *file)
{
	uint64_t count = file->eh.e_shnum;
	Elf64_Shdr sh;

	if (file->eh.e_shoff == 0 || file->eh.e_shoff > file->len ||
	    file->eh.e_shentsize != sizeof(sh))
		return 0;
	/* More than fit e_shnum: the count is in the first section (gABI, "ELF Header"). */
	if (count == 0 && elf_file_read(file, file->eh.e_shoff, &sh, sizeof(sh)))
		count = sh.sh_size;
	return count <= (file->len - file->eh.e_shoff) / sizeof(sh) ? count : 0;
}

static bool find_table(const struct elf_file *file, uint32_t type, struct symbol_table *out)
{
	uint64_t count = section_count(file);
	Elf64_Shdr sh, str;

	for (uint64_t i = 0; i < count; i++) {
		if (!read_section(file, i, &sh) || sh.sh_type != type)
			continue;
		if (sh.sh_entsize != sizeof(Elf64_Sym) || sh.sh_link >= count ||
		    !range_within(sh.sh_offset, sh.sh_size, file->len) ||
		    !read_section(file, sh.sh_link, &str) || str.sh_type != SHT_STRTAB ||
		    !range_within(str.sh_offset, str.sh_size, file->len))
			return false;
		out->offset = sh.sh_offset;
		out->count = sh.sh_size / sizeof(Elf64_Sym);
		out->strings = (const char *)file->data + str.sh_offset;
		out->strings_len = str.sh_size;
		return true;
	}
	return false;
}

/* The length of the name at `at`, cut to what is kept; 0 if it cannot be shown as it is. */
static size_t name_length(const struct symbol_table *table, uint64_t at)
{
	uint64_t left;
	size_t len = 0;

	if (at >= table->strings_len)
		return 0;
	left = table->strings_len - at;
	for (const char *s = table->strings + at; len < left && s[len]; len++) {
		if (s[len] < 0x20 || s[len] > 0x7e)
			return 0;
		if (len == ELF_MAX_SYMBOL_NAME)
			return len;
	}
	return len < left ? len : 0;
}

/* Read symbol `index`: its name's length, or 0 if it is no function of the image. */
static size_t read_function(const struct elf_file *file, const struct elf_image *image,
			    const struct symbol_table *table, uint64_t index, Elf64_Sym *sym)
{
	uint64_t va;

	if (!elf_file_read(file, table->offset + index * sizeof(*sym), sym, sizeof(*sym)) ||
	    ELF64_ST_TYPE(sym->st_info) != STT_FUNC || sym->st_shndx == SHN_UNDEF ||
	    (sym->st_shndx >= SHN_LORESERVE && sym->st_shndx != SHN_XINDEX) ||
	    add_overflows(sym->st_value, image->bias, &va) || !elf_segment_at(image, va, 1))
		return 0;
	return name_length(table, sym->st_name);
}

/* What the functions take: their number, and their names with terminators. */
static void measure(const struct elf_file *file, const struct elf_image *image,
		    const struct symbol_table *table, size_t *count, size_t *names_len)
{
	Elf64_Sym sym;

	*count = 0;
	*names_len = 0;
	for (uint64_t i = 0; i < table->count && *count < ELF_MAX_SYMBOLS; i++) {
		size_t n = read_function(file, image, table, i, &sym);

		/* Names can overlap in the file: all at once could be far more than it. */
		if (n + 1 > file->len - *names_len)
			break;
		if (n == 0)
			continue;
		*count += 1;
		*names_len += n + 1;
	}
}

/* Copy what was measured. */
static void collect(const struct elf_file *file, struct elf_image *image,
		    const struct symbol_table *table, size_t count)
{
	char *name = image->names;
	Elf64_Sym sym;

	for (uint64_t i = 0; image->nsymbols < count && i < table->count; i++) {
		size_t n = read_function(file, image, table, i, &sym);

		if (n == 0)
			continue;
		memcpy(name, table->strings + sym.st_name, n);
		name[n] = '\0';
		image->symbols[image->nsymbols++] = (struct elf_symbol){
			.va = sym.st_value + image->bias,
			.size = sym.st_size,
			.name = name,
		};
		name += n + 1;
	}
}

/*
 * By address; of several at one address the largest first, then the last in the file, where
 * global symbols come after local ones. Names were copied in that order.
 */
static int compare_symbols(const void *a, const void *b)
{
	const struct elf_symbol *x = a, *y = b;

	if (x->va != y->va)
		return x->va < y->va ? -1 : 1;
	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return x->name > y->name ? -1 : x->name < y->name;
}

/* Keep one symbol per address, and none that reaches beyond its segment. */
static void tidy(struct elf_image *image)
{
	struct elf_symbol *s = image->symbols;
	size_t n = 0;

	for (size_t i = 0; i < image->nsymbols; i++) {
		if (n == 0 || s[i].va != s[n - 1].va)
			s[n++] = s[i];
	}
	image->nsymbols = n;
	for (size_t i = 0; i < n; i++) {
		const struct elf_segment *seg = elf_segment_at(image, s[i].va, 1);
		uint64_t most = seg->va + seg->memsz - s[i].va;

		if (s[i].size == 0 && i + 1 < n && s[i + 1].va - s[i].va < most)
			s[i].size = s[i + 1].va - s[i].va;
		if (s[i].size == 0 || s[i].size > most)
			s[i].size = most;
	}
}

int elf_symbols_read(const struct elf_file *file, struct elf_image *image, mayfly_error *err)
{
	static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};
	struct symbol_table table;
	size_t count = 0, names_len;

	for (size_t i = 0; count == 0 && i < ARRAY_SIZE(types); i++) {
		if (find_table(file, types[i], &table))
			measure(file, image, &table, &count, &names_len);
	}
	if (count == 0)
		return MAYFLY_OK;
	image->symbols = calloc(count, sizeof(*image->symbols));
	image->names = malloc(names_len);
	if (!image->symbols || !image->names) {
		free(image->symbols);
		free(image->names);
		image->symbols = NULL;
		image->names = NULL;
		return fail(err, MAYFLY_E_NOMEM, "out of memory for the names of %zu functions",
			    count);
	}
	collect(file, image, &table, count);
	qsort(image->symbols, image->nsymbols, sizeof(*image->symbols), compare_symbols);
	tidy(image);
	return MAYFLY_OK;
}

const struct elf_symbol *elf_symbol_at(const struct elf_symbol *symbols, size_t n, uint64_t va)
{
	size_t low = 0, high = n;
	const struct elf_symbol *s;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (symbols[mid].va <= va)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return NULL;
	s = &symbols[low - 1];
	return s->size == 0 || va - s->va < s->size ? s : NULL;
}
