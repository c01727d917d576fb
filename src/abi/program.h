/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of program guests: where the host puts what it needs into a Linux process's
 * address space, and how guest-physical memory is divided. Included by C and assembly.
 *
 * Guest-virtual. The first 2 MiB belong to the host, all else to the program, up to
 * PROG_VA_END. Nothing the host put there is needed by the program, but the vDSO.
 *
 * Guest-physical, private to a VM: [0, PROG_THREADS_GPA) page tables above the last level;
 * then a ring-0 page for each vCPU; then the last-level tables, one page for each *chunk*; then
 * the chunks, 2 MiB each. A chunk backs one 2 MiB-aligned piece of the program's address space,
 * given to it at first use and for the life of the VM (see linux/mm.h).
 */
#ifndef MAYFLY_ABI_PROGRAM_H
#define MAYFLY_ABI_PROGRAM_H

#define PROG_GATE_VA 0x10000	   /* ring 3, read and execute: program_gate.S */
#define PROG_SUPERVISOR_VA 0x14000 /* ring 0: descriptor tables, exception stubs */
#define PROG_VDSO_VA 0x20000	   /* ring 3, read and execute: the vDSO's image */
#define PROG_VDSO_PAGES 2
#define PROG_VVAR_VA 0x1e000	 /* ring 3, read only: struct vvar of abi/vvar.h */
#define PROG_THREADS_VA 0x100000 /* ring 0: + vCPU number * 4096: TSS, and the stack above it */

#define PROG_LOW_VA 0x200000	   /* the program's addresses begin here */
#define PROG_VA_END 0x7ffffffff000 /* and end here, as Linux has it (TASK_SIZE_MAX) */

#define PROG_MAX_VCPUS 224

#define PROG_TABLES_PAGES 1024 /* PML4, PDPTs, PDs, and the table of the low 2 MiB */
#define PROG_THREADS_GPA 0x400000
#define PROG_VVAR_GPA 0x4f0000
#define PROG_LEAVES_GPA 0x600000 /* + chunk number * 4096: its last-level table */

/* LSTAR: where the SYSCALL instruction ends up. */
#define PROG_GATE_SYSCALL (PROG_GATE_VA + 0x000)
/* The instruction with which the host has ring 0 return to ring 3. */
#define PROG_GATE_SYSRET (PROG_GATE_VA + 0x040)
/* rt_sigreturn, for handlers without a restorer of their own. */
#define PROG_GATE_SIGRETURN (PROG_GATE_VA + 0x080)
/* Calls a function that the program exports, for the host, and gives the host its result. */
#define PROG_GATE_CALL (PROG_GATE_VA + 0x0c0)
#define PROG_GATE_CALL_SIZE 0x080

/*
 * The one port ring 3 may write. Its number makes OUT (0xe6, port) differ from SYSCALL (0x0f, 0x05) by
 * the first byte only: see count_site() in linux/task.c.
 */
#define PROG_PORT_SYSCALL 0x05
#define PROG_PORT_EXCEPTION 0x40 /* + vector, from ring 0 only */

/*
 * System calls of Mayfly's own, for programs that know of it; ENOSYS on other systems. Their
 * numbers are far from Linux's.
 */
#define PROG_SYS_READY 0x4d590000  /* snapshot me here: see mayfly_program.h */
#define PROG_SYS_RETURN 0x4d590001 /* the gate's alone: a called function returned */

#endif
