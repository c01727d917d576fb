/* SPDX-License-Identifier: Apache-2.0 */
#include "function/guest.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/x86_64/descriptors.h"
#include "core/random.h"

#define KIND_FUNCTION 1

/* In gate.S. */
extern const uint8_t gate_start[], gate_end[];

/* Shared pages: the gate, then ring 0's page; in the order of layout.c. */
static void build_system(struct function_guest *g)
{
	memcpy(g->base.shared, gate_start, (size_t)(gate_end - gate_start));
	descriptors_build(g->base.shared + PAGE_SIZE, FN_SUPERVISOR_VA,
			  g->layout.kernel_stack_top, FN_PORT_EXCEPTION, FN_PORT_GATE);
}

static void free_guest(struct guest *guest)
{
	struct function_guest *g = (struct function_guest *)guest;

	manifest_fini(&g->manifest);
	guest_fini(&g->base);
	free(g);
}

int function_guest_new(const struct layout_plan *plan, struct function_guest **out,
		       mayfly_error *err)
{
	struct function_guest *g = calloc(1, sizeof(*g));
	struct layout *l;
	int r;

	if (!g)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a guest");
	g->base.refs = 1;
	g->base.kind = &function_guest_kind;
	g->plan = *plan;
	l = &g->layout;
	r = layout_make(plan, l, err);
	if (r != 0) {
		free(g);
		return r;
	}
	g->base.map = l->map;
	g->base.tables = l->tables.mem;
	g->base.tables_len = l->tables.used * PAGE_SIZE;
	g->base.system_len = LAYOUT_SYSTEM_LEN;
	g->base.state_page = l->state_gpa / PAGE_SIZE;
	g->base.transient[0] = (struct guest_pages){l->call_gpa / PAGE_SIZE, 1};
	g->base.transient[1] =
		(struct guest_pages){l->area_gpa / PAGE_SIZE, plan->call_area / PAGE_SIZE};
	l->tables.mem = NULL;
	r = guest_map_shared(&g->base, err);
	if (r != 0) {
		free_guest(&g->base);
		return r;
	}
	build_system(g);
	descriptors_setup(&g->base.setup, FN_SUPERVISOR_VA);
	g->base.setup.syscall_entry = FN_GATE_SYSCALL;
	*out = g;
	return 0;
}

/* The image's pages as runs of equal protection; W^X is a condition. */
static int plan_runs(const struct elf_image *image, struct layout_plan *plan, mayfly_error *err)
{
	uint64_t wx = elf_find_wx_page(image);

	if (wx)
		return fail(err, MAYFLY_E_FORMAT,
			    "the page at 0x%llx would be writable and executable: link with "
			    "-Wl,-z,separate-code and without -Wl,-N or -z execstack",
			    (unsigned long long)wx);
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct elf_segment *s = &image->segments[i];
		uint64_t end = page_up(s->va + s->memsz);

		for (uint64_t va = page_down(s->va); va < end;) {
			struct layout_run *last =
				plan->nruns ? &plan->runs[plan->nruns - 1] : NULL;
			uint32_t prot = elf_page_prot(image, va) | GMEM_READ;
			/*
			 * Only the first and last page of a segment can be shared with another.
			 */
			uint64_t next = va == page_down(s->va) || va + PAGE_SIZE >= end
						? va + PAGE_SIZE
						: end - PAGE_SIZE;

			if (last && va < last->va + last->len) {
				va = last->va + last->len;
				continue;
			}
			if (last && last->prot == prot && va == last->va + last->len) {
				last->len += next - va;
			} else if (plan->nruns == LAYOUT_MAX_RUNS) {
				return fail(err, MAYFLY_E_FORMAT,
					    "the file has too many segments");
			} else {
				plan->runs[plan->nruns++] =
					(struct layout_run){va, next - va, prot};
			}
			va = next;
		}
	}
	return 0;
}

/* Copy the loaded image to its places: shared, or the snapshot's private pages. */
static int place_image(struct function_guest *g, const struct elf_image *image,
		       const uint8_t *mem, struct snapshot_builder *b, mayfly_error *err)
{
	for (uint32_t i = 0; i < g->plan.nruns; i++) {
		const struct layout_run *run = &g->plan.runs[i];
		const struct gmem_region *r = gmem_region_at(&g->base.map, gva(run->va));
		const uint8_t *from = mem + (run->va - image->start_va);
		int e = 0;

		if (r->shared)
			memcpy(g->base.shared + (r->gpa - g->base.map.shared_gpa), from,
			       run->len);
		else
			e = snapshot_builder_put(b, r->gpa / PAGE_SIZE, from,
						 run->len / PAGE_SIZE, err);
		if (e < 0)
			return e;
	}
	return 0;
}

/*
 * Thread-local storage, variant II (ELF Handling For Thread-Local Storage, 3.4.6): the block,
 * then the control block that FS points to; both at the very top of the stack, whose first page
 * is written by every call anyway.
 */
static int place_tls(struct function_guest *g, const struct elf_image *image,
		     const uint8_t *mem, struct fn_fresh *fresh, struct snapshot_builder *b,
		     mayfly_error *err)
{
	const struct layout *l = &g->layout;
	uint64_t align = image->tls.align < 64 ? 64 : image->tls.align;
	uint64_t control = (l->stack_top - 64) & ~(align - 1);
	uint64_t start, first, len;
	_cleanup_free_ uint8_t *block = NULL;

	if (image->tls.memsz > g->plan.stack / 4)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "thread-local storage of %llu bytes takes more than a quarter of "
			    "the stack "
			    "(%llu bytes); give the guest a larger stack",
			    (unsigned long long)image->tls.memsz,
			    (unsigned long long)g->plan.stack);
	/* The linker counts offsets down from the control block, from memsz rounded up. */
	align = image->tls.align ? image->tls.align : 1;
	start = control - ((image->tls.memsz + align - 1) & ~(align - 1));
	first = page_down(start);
	len = l->stack_top - first;
	block = aligned_alloc(PAGE_SIZE, len);
	if (!block)
		return fail(err, MAYFLY_E_NOMEM, "no memory for thread-local storage");
	memset(block, 0, len);
	if (image->tls.filesz)
		memcpy(block + (start - first), mem + (image->tls.va - image->start_va),
		       image->tls.filesz);
	memcpy(block + (control - first), &control, sizeof(control));
	fresh->fs_base = control;
	fresh->stack_top = start & ~(uint64_t)15;
	return snapshot_builder_put(b, (l->stack_gpa + (first - l->stack_va)) / PAGE_SIZE,
				    block, len / PAGE_SIZE, err);
}

static uint32_t state_flags(const struct hv_host *host)
{
	return (host->fsgsbase ? FN_FRESH_FSGSBASE : 0) |
	       (host->xsave ? FN_FRESH_HAVE_XSAVE : 0);
}

/* The state that VMs begin from: vector registers as after power-up (SDM vol. 1, 13.6). */
static int place_state(struct function_guest *g, const struct hv_host *host,
		       struct fn_fresh *fresh, struct snapshot_builder *b, mayfly_error *err)
{
	uint16_t fcw = 0x37f; /* as Linux starts processes: all x87 exceptions masked */
	uint32_t mxcsr = 0x1f80;

	memcpy(fresh->xsave, &fcw, sizeof(fcw));
	memcpy(fresh->xsave + 24, &mxcsr, sizeof(mxcsr));
	fresh->xsave[512] =
		3; /* XSTATE_BV: x87 and SSE are in the image, the rest is initial */
	fresh->flags = state_flags(host);
	return snapshot_builder_put(b, g->base.state_page, (const uint8_t *)fresh, 1, err);
}

static int build(struct function_guest *g, const struct elf_image *image, const uint8_t *mem,
		 const struct hv_host *host, struct mayfly_snapshot **out, mayfly_error *err)
{
	_cleanup_free_ struct fn_fresh *fresh = aligned_alloc(PAGE_SIZE, sizeof(*fresh));
	struct snapshot_builder b;
	int r = snapshot_builder_init(&b, &g->base, err);

	if (!fresh)
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a guest");
	if (r == 0) {
		memset(fresh, 0, sizeof(*fresh));
		r = place_image(g, image, mem, &b, err);
	}
	if (r == 0)
		r = place_tls(g, image, mem, fresh, &b, err);
	if (r == 0)
		r = place_state(g, host, fresh, &b, err);
	if (r == 0)
		mprotect(g->base.shared, g->base.map.shared_len, PROT_READ);
	if (r == 0)
		r = snapshot_builder_finish(&b, out, err);
	snapshot_builder_fini(&b);
	return r;
}

/* What it takes to load a guest. */
struct loading {
	const struct function_source *source;
	const struct function_sizes *sizes;
	const struct hv_host *host;
	struct elf_image image; /* the file, parsed */
	uint8_t *mem;		/* the image, loaded */
};

static int make_guest(struct loading *l, struct mayfly_snapshot **out, mayfly_error *err)
{
	const struct function_source *source = l->source;
	struct layout_plan plan = {.memory = l->sizes->memory,
				   .stack = l->sizes->stack,
				   .call_area = l->sizes->call_area};
	struct elf_image *image = &l->image;
	struct function_guest *g = NULL;
	int r = plan_runs(image, &plan, err);

	if (r == 0)
		r = function_guest_new(&plan, &g, err);
	if (r != 0)
		return r;
	snprintf(g->base.name, sizeof(g->base.name), "%s", source->name);
	memcpy(g->base.features, l->host->features, sizeof(g->base.features));
	g->base.xcr0 = l->host->xcr0;
	/* Guests mostly have none (0): debuggers still tell the bias by it. */
	g->entry = image->entry ? image->entry : image->bias;
	g->phdr_va = image->phdr_va;
	g->phnum = image->phnum;
	g->pie = image->pie;
	r = manifest_from_elf(image, source->elf, source->len, l->mem, &g->manifest, err);
	if (r == 0)
		r = build(g, image, l->mem, l->host, out, err);
	guest_put(&g->base);
	return r;
}

int function_load(const struct function_source *source, const struct function_sizes *sizes,
		  const struct hv_host *host, struct mayfly_snapshot **out, mayfly_error *err)
{
	struct elf_limits limits = {
		.pie_base = FN_IMAGE_MIN_VA,
		.min_va = FN_IMAGE_MIN_VA,
		.max_va = FN_IMAGE_MAX_VA,
		.max_span = sizes->memory,
	};
	struct loading l = {.source = source, .sizes = sizes, .host = host};
	uint64_t span;
	int r = elf_parse(source->elf, source->len, &limits, &l.image, err);

	if (r < 0)
		return r;
	span = l.image.end_va - l.image.start_va;
	l.mem = mmap(NULL, span, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (l.mem == MAP_FAILED) {
		elf_image_fini(&l.image);
		return fail(err, MAYFLY_E_NOMEM, "no memory for an image of %llu bytes",
			    (unsigned long long)span);
	}
	r = elf_load(&l.image, source->elf, source->len, l.mem, err);
	if (r == 0)
		r = make_guest(&l, out, err);
	munmap(l.mem, span);
	elf_image_fini(&l.image);
	return r;
}

/*
 * The vCPU is at the gate. By the ABI only callee-saved state outlives a call, of the vector
 * state the control words; all of it is kept as it is.
 */
static int capture_cpu(const struct guest *guest, struct hv_vcpu *vcpu, uint8_t *page,
		       mayfly_error *err)
{
	struct fn_fresh *fresh = (struct fn_fresh *)(void *)page;
	_cleanup_free_ uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	struct cpu_control control;
	int r;

	(void)guest;
	if (!xsave)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	memset(xsave, 0, CPU_XSAVE_BUFFER);
	r = hv_vcpu_get_xsave(vcpu, xsave, err);
	if (r == 0)
		r = hv_vcpu_get_control(vcpu, &control, err);
	if (r != 0)
		return r;
	fresh->spin = 0; /* a matter of the sandbox's, not of the snapshot's */
	memcpy(fresh->xsave, xsave, CPU_XSAVE_SIZE);
	if (fresh->flags & FN_FRESH_FSGSBASE) {
		fresh->fs_base = control.fs_base;
		fresh->gs_base = control.gs_base;
	}
	return 0;
}

/*
 * In a file: this, then the manifest. Host byte order is little-endian on the only
 * architecture.
 */
struct saved_guest {
	struct layout_plan plan;
	uint64_t entry;
	uint64_t phdr_va;
	uint16_t phnum;
	uint8_t pie;
	uint8_t reserved[5];
	char name[64];
};

static int encode(const struct guest *guest, uint8_t **out, size_t *len, mayfly_error *err)
{
	const struct function_guest *g = function_guest_of(guest);
	_cleanup_free_ uint8_t *manifest = NULL;
	struct saved_guest *saved;
	size_t manifest_len;
	int r = manifest_encode(&g->manifest, &manifest, &manifest_len, err);

	if (r < 0)
		return r;
	saved = calloc(1, sizeof(*saved) + manifest_len);
	if (!saved)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a guest");
	saved->plan = g->plan;
	saved->entry = g->entry;
	saved->phdr_va = g->phdr_va;
	saved->phnum = g->phnum;
	saved->pie = g->pie;
	memcpy(saved->name, g->base.name, sizeof(saved->name));
	memcpy(saved + 1, manifest, manifest_len);
	*out = (uint8_t *)saved;
	*len = sizeof(*saved) + manifest_len;
	return 0;
}

static int decode(const uint8_t *data, size_t len, struct guest **out, mayfly_error *err)
{
	struct function_guest *g;
	struct saved_guest saved;
	int r;

	if (len < sizeof(saved))
		return fail(err, MAYFLY_E_FORMAT, "the description of the guest is cut short");
	memcpy(&saved, data, sizeof(saved));
	r = function_guest_new(&saved.plan, &g, err);
	if (r != 0) {
		/* Sizes that make no sense are the file's fault here. */
		if (err && r != MAYFLY_E_NOMEM)
			err->code = MAYFLY_E_FORMAT;
		return r == MAYFLY_E_NOMEM ? r : MAYFLY_E_FORMAT;
	}
	g->entry = saved.entry;
	g->phdr_va = saved.phdr_va;
	g->phnum = saved.phnum;
	g->pie = saved.pie;
	error_printable(g->base.name, sizeof(g->base.name), saved.name,
			strnlen(saved.name, sizeof(saved.name)));
	r = manifest_decode(data + sizeof(saved), len - sizeof(saved), FN_IMAGE_MIN_VA,
			    FN_IMAGE_MAX_VA, &g->manifest, err);
	if (r < 0) {
		guest_put(&g->base);
		return r;
	}
	*out = &g->base;
	return 0;
}

/*
 * Everything in it is the guest's own business (a bad one faults in ring 3), but for the flags:
 * they decide whether the gate wipes what an earlier call left in registers.
 */
static int check_state(const uint8_t *page, const struct hv_host *host, mayfly_error *err)
{
	const struct fn_fresh *fresh = (const struct fn_fresh *)(const void *)page;

	if (fresh->flags != state_flags(host))
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "the saved CPU state is for a CPU of another kind (flags 0x%x, "
			    "here 0x%x)",
			    fresh->flags, state_flags(host));
	return 0;
}

const struct guest_kind function_guest_kind = {
	.id = KIND_FUNCTION,
	.encode = encode,
	.decode = decode,
	.capture_cpu = capture_cpu,
	.check_state = check_state,
	.free = free_guest,
};
