/* SPDX-License-Identifier: Apache-2.0 */
#include "linux_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "linux/mm_areas.h"

#define TABLE 4 /* entries; one is used */

static void die(const char *what)
{
	fprintf(stderr, "fixture: %s\n", what);
	exit(1);
}

/* The chunk's entry goes where it is found, whatever the hash is. */
static void put_only_chunk(struct mm *mm)
{
	for (uint32_t i = 0; i < TABLE; i++) {
		atomic_store(&mm->chunk_table[i], FAKE_VA / MM_CHUNK << 24 | 1);
		if (mm_chunk_of(mm, FAKE_VA) == 0)
			return;
		atomic_store(&mm->chunk_table[i], 0);
	}
	die("no place for the chunk");
}

static void make_memory(struct mm *mm)
{
	void *base = mmap(NULL, FAKE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	if (base == MAP_FAILED || pthread_rwlock_init(&mm->lock, NULL))
		die("no memory");
	mm->self = getpid();
	mm->base = base;
	mm->nchunks = mm->max_chunks = 1;
	mm->chunk_table = calloc(TABLE, sizeof(mm->chunk_table[0]));
	mm->chunk_mask = TABLE - 1;
	mm->pieces = calloc(1, sizeof(mm->pieces[0]));
	mm->limit = 64 << 20;
	if (!mm->chunk_table || !mm->pieces)
		die("no memory");
	mm->pieces[0] = FAKE_VA / MM_CHUNK;
	mm->npieces = 1;
	put_only_chunk(mm);
}

struct task *fake_task(struct process *p, int tid)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		die("no memory");
	t->process = p;
	t->tid = tid;
	t->vcpu_number = p->ntasks++;
	t->syscall = UINT64_MAX;
	t->kick_fd = -1;
	t->next = p->tasks;
	p->tasks = t;
	return t;
}

struct process *fake_process_new(void)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p || pthread_mutex_init(&p->tasks_lock, NULL) ||
	    pthread_mutex_init(&p->sig.lock, NULL))
		die("no memory");
	make_memory(&p->mm);
	if (files_init(&p->files, 64) < 0)
		die("no memory for descriptors");
	p->max_tasks = 16;
	p->uid = p->gid = 1000;
	strcpy(p->hostname, "mayfly");
	limits_init(p);
	fake_task(p, PROCESS_PID);
	return p;
}

void fake_process_free(struct process *p)
{
	while (p->tasks) {
		struct task *t = p->tasks;

		p->tasks = t->next;
		free(t);
	}
	files_fini(&p->files);
	munmap(p->mm.base, FAKE_SIZE);
	free(p->mm.pieces);
	free(p->mm.chunk_table);
	pthread_rwlock_destroy(&p->mm.lock);
	pthread_mutex_destroy(&p->tasks_lock);
	pthread_mutex_destroy(&p->sig.lock);
	free(p);
}

void *fake_memory(struct process *p, size_t offset)
{
	return p->mm.base + offset;
}

uint64_t fake_string(struct process *p, size_t offset, const char *string)
{
	memcpy(p->mm.base + offset, string, strlen(string) + 1);
	return FAKE_VA + offset;
}

void fake_protect(struct process *p, size_t offset)
{
	if (mprotect(p->mm.base + offset / PAGE_SIZE * PAGE_SIZE, PAGE_SIZE, PROT_NONE))
		die("mprotect");
}
