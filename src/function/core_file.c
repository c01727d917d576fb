/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF core files, as Linux writes them for processes, so that `gdb GUEST CORE` just works:
 * registers, auxiliary vector (for a PIE's place), and the memory that ring 3 can see. Zero
 * pages are holes.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

/* glibc's idea of the page, for a.out core files. */
#undef PAGE_SHIFT
#undef PAGE_SIZE
#undef PAGE_MASK

#include "core/io.h"
#include "function/sandbox.h"

#define MAX_NOTES 4096

struct notes {
	uint8_t data[MAX_NOTES];
	size_t len;
};

/*
 * ELF-64 notes have 4-byte alignment in practice (System V gABI, "Note Section", as Linux has
 * it).
 */
static void add_note(struct notes *n, uint32_t type, const void *desc, size_t len)
{
	Elf64_Nhdr header = {.n_namesz = 5, .n_descsz = (uint32_t)len, .n_type = type};

	memcpy(n->data + n->len, &header, sizeof(header));
	memcpy(n->data + n->len + sizeof(header), "CORE\0\0\0", 8);
	memcpy(n->data + n->len + sizeof(header) + 8, desc, len);
	n->len += sizeof(header) + 8 + ((len + 3) & ~(size_t)3);
}

static int signal_of(const mayfly_fault *f)
{
	switch (f->kind) {
	case MAYFLY_FAULT_ABORT:
		return SIGABRT;
	case MAYFLY_FAULT_STACK_OVERFLOW:
		return SIGSEGV;
	case MAYFLY_FAULT_EXCEPTION:
		break;
	default:
		return SIGSTOP;
	}
	switch (f->vector) {
	case CPU_DIVIDE:
	case 16:
	case 19:
		return SIGFPE;
	case CPU_DEBUG:
	case CPU_BREAKPOINT:
		return SIGTRAP;
	case CPU_INVALID_OPCODE:
		return SIGILL;
	case CPU_ALIGNMENT:
		return SIGBUS;
	default:
		return SIGSEGV;
	}
}

static void add_status(struct notes *n, const mayfly_sandbox *sb, const struct cpu_regs *r,
		       const struct cpu_control *c)
{
	struct elf_prstatus status = {.pr_pid = 1};
	struct user_regs_struct u = {
		.r15 = r->r15,
		.r14 = r->r14,
		.r13 = r->r13,
		.r12 = r->r12,
		.rbp = r->rbp,
		.rbx = r->rbx,
		.r11 = r->r11,
		.r10 = r->r10,
		.r9 = r->r9,
		.r8 = r->r8,
		.rax = r->rax,
		.rcx = r->rcx,
		.rdx = r->rdx,
		.rsi = r->rsi,
		.rdi = r->rdi,
		.orig_rax = ~0ULL,
		.rip = r->rip,
		.cs = CPU_SEL_USER_CS,
		.eflags = r->rflags,
		.rsp = r->rsp,
		.ss = CPU_SEL_USER_SS,
		.fs_base = c->fs_base,
		.gs_base = c->gs_base,
	};

	status.pr_info.si_signo = sb->poisoned ? signal_of(&sb->fault) : 0;
	status.pr_cursig = (short)status.pr_info.si_signo;
	_Static_assert(sizeof(u) == sizeof(status.pr_reg), "the kernel's register block");
	memcpy(&status.pr_reg, &u, sizeof(u));
	add_note(n, NT_PRSTATUS, &status, sizeof(status));
}

static void add_info(struct notes *n, const mayfly_sandbox *sb)
{
	struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = 1};

	snprintf(info.pr_fname, sizeof(info.pr_fname), "%.15s", sb->inst.guest->name);
	snprintf(info.pr_psargs, sizeof(info.pr_psargs), "%s", sb->inst.guest->name);
	add_note(n, NT_PRPSINFO, &info, sizeof(info));
}

static void add_auxv(struct notes *n, const struct function_guest *g)
{
	Elf64_auxv_t aux[] = {
		{.a_type = AT_PAGESZ, .a_un.a_val = PAGE_SIZE},
		{.a_type = AT_PHDR, .a_un.a_val = g->phdr_va},
		{.a_type = AT_PHENT, .a_un.a_val = sizeof(Elf64_Phdr)},
		{.a_type = AT_PHNUM, .a_un.a_val = g->phnum},
		{.a_type = AT_ENTRY, .a_un.a_val = g->entry},
		{.a_type = AT_NULL},
	};

	add_note(n, NT_AUXV, aux, sizeof(aux));
}

static int collect_notes(mayfly_sandbox *sb, struct notes *n, mayfly_error *err)
{
	_cleanup_free_ uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	struct cpu_regs regs = sb->fault_regs;
	struct cpu_control control;
	int r = 0;

	if (!xsave)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a core file");
	if (!sb->poisoned)
		r = hv_vcpu_get_regs(sb->inst.vcpu, &regs, err);
	if (r == 0)
		r = hv_vcpu_get_control(sb->inst.vcpu, &control, err);
	if (r == 0)
		r = hv_vcpu_get_xsave(sb->inst.vcpu, xsave, err);
	if (r < 0)
		return r;
	n->len = 0;
	memset(n->data, 0, sizeof(n->data));
	add_status(n, sb, &regs, &control);
	add_info(n, sb);
	add_auxv(n, sb->guest);
	add_note(n, NT_FPREGSET, xsave, 512); /* the legacy area is what FXSAVE writes */
	return 0;
}

static int write_region(const mayfly_sandbox *sb, const struct gmem_region *r, int fd,
			uint64_t offset, mayfly_error *err)
{
	const uint8_t *mem = gmem_view(&sb->inst.gm, gva(r->va), r->len);

	for (uint64_t pos = 0; pos < r->len; pos += PAGE_SIZE) {
		int e;

		if (page_is_zero(mem + pos))
			continue;
		e = write_all(fd, mem + pos, PAGE_SIZE, offset + pos, err);
		if (e < 0)
			return e;
	}
	return 0;
}

static int write_file(mayfly_sandbox *sb, const struct notes *n, int fd, mayfly_error *err)
{
	const struct gmem_map *map = &sb->inst.guest->map;
	Elf64_Phdr phdrs[GMEM_MAX_REGIONS + 1] = {{
		.p_type = PT_NOTE,
		.p_filesz = n->len,
	}};
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_CORE,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	uint64_t offset;
	int r = 0;

	phdrs[0].p_offset = sizeof(header) + sizeof(phdrs);
	offset = page_up(phdrs[0].p_offset + n->len);
	for (uint32_t i = 0; r == 0 && i < map->count; i++) {
		const struct gmem_region *region = &map->regions[i];

		if (!region->prot)
			continue;
		phdrs[header.e_phnum++] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = (region->prot & GMEM_READ ? PF_R : 0) |
				   (region->prot & GMEM_WRITE ? PF_W : 0) |
				   (region->prot & GMEM_EXEC ? PF_X : 0),
			.p_offset = offset,
			.p_vaddr = region->va,
			.p_filesz = region->len,
			.p_memsz = region->len,
			.p_align = PAGE_SIZE,
		};
		r = write_region(sb, region, fd, offset, err);
		offset += region->len;
	}
	if (r == 0 && ftruncate(fd, (off_t)offset) < 0)
		r = fail_errno(err, MAYFLY_E_IO, errno, "making room");
	if (r == 0)
		r = write_all(fd, &header, sizeof(header), 0, err);
	if (r == 0)
		r = write_all(fd, phdrs, sizeof(phdrs), sizeof(header), err);
	if (r == 0)
		r = write_all(fd, n->data, n->len, phdrs[0].p_offset, err);
	return r;
}

int sandbox_write_core(mayfly_sandbox *sb, const char *path, mayfly_error *err)
{
	_cleanup_free_ struct notes *notes = malloc(sizeof(*notes));
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = instance_check_process(&sb->inst, err);

	if (r < 0)
		return r;
	if (!notes)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a core file");
	if (sb->depth)
		return fail(err, MAYFLY_E_BUSY,
			    "no core file can be written from within a call");
	hot_park(sb);
	if (sb->inst.lost)
		return fail(err, MAYFLY_E_NOMEM, "the VM lost its memory in a failed restore");
	r = collect_notes(sb, notes, err);
	if (r < 0)
		return r;
	/* Nothing but a file or a link to one makes room: not a device, a pipe, a socket. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return fail(err, MAYFLY_E_IO,
			    "%s: there is something that is not a regular file", path);
	/*
	 * A new file rather than what is there: not through somebody's link, not with its mode.
	 */
	if (unlink(path) < 0 && errno != ENOENT)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s: cannot be replaced", path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", path);
	r = write_file(sb, notes, fd, err);
	if (r < 0) {
		unlink(path);
		error_prefix(err, "%s", path);
	}
	return r;
}
