/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/socket_rights.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/util.h"
#include "linux/files.h"

struct message {
	struct message *next;
	dev_t device; /* of the pipe */
	ino_t inode;
	int keep; /* its write end */
	uint32_t n;
	struct file *files[];
};

struct rights {
	pthread_mutex_t lock;
	struct message *first;
	uint32_t count;
	uint32_t files; /* of all messages */
};

struct rights *rights_new(void)
{
	struct rights *rights = calloc(1, sizeof(*rights));

	if (rights != NULL)
		pthread_mutex_init(&rights->lock, NULL);
	return rights;
}

static void message_free(struct message *list)
{
	while (list != NULL) {
		struct message *next = list->next;

		for (uint32_t i = 0; i < list->n; i++)
			file_put(list->files[i]);
		close(list->keep);
		free(list);
		list = next;
	}
}

void rights_end(struct rights *rights)
{
	struct message *list;

	pthread_mutex_lock(&rights->lock);
	list = rights->first;
	rights->first = NULL;
	rights->count = 0;
	rights->files = 0;
	pthread_mutex_unlock(&rights->lock);
	message_free(list);
}

void rights_free(struct rights *rights)
{
	rights_end(rights);
	pthread_mutex_destroy(&rights->lock);
	free(rights);
}

/* Under the lock: take out what will never arrive. To be freed without it: files may be sockets
 * whose end comes back here. */
static struct message *collect(struct rights *rights)
{
	struct message *dead = NULL;

	for (struct message **p = &rights->first; *p != NULL;) {
		struct pollfd poll_fd = {.fd = (*p)->keep};
		struct message *m = *p;

		/* POLLERR is reported of a pipe that has no reader. */
		if (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLERR)) {
			*p = m->next;
			m->next = dead;
			dead = m;
			rights->count--;
			rights->files -= m->n;
		} else {
			p = &m->next;
		}
	}
	return dead;
}

uint32_t rights_count(struct rights *rights)
{
	struct message *dead;
	uint32_t count;

	pthread_mutex_lock(&rights->lock);
	dead = collect(rights);
	count = rights->count;
	pthread_mutex_unlock(&rights->lock);
	message_free(dead);
	return count;
}

int rights_send(struct rights *rights, struct file **files, uint32_t n, int *token)
{
	struct message *m = malloc(sizeof(*m) + n * sizeof(m->files[0]));
	struct message *dead;
	struct stat st;
	int fds[2];
	bool room;

	if (m == NULL)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0 || fstat(fds[0], &st) < 0) {
		free(m);
		return -ENFILE;
	}
	*m = (struct message){.device = st.st_dev, .inode = st.st_ino, .keep = fds[1], .n = n};
	memcpy(m->files, files, n * sizeof(files[0]));

	pthread_mutex_lock(&rights->lock);
	dead = collect(rights);
	room = rights->count < RIGHTS_MAX && rights->files + n <= RIGHTS_FILES_TOTAL;
	if (room) {
		m->next = rights->first;
		rights->first = m;
		rights->count++;
		rights->files += n;
	}
	pthread_mutex_unlock(&rights->lock);
	message_free(dead);
	if (!room) {
		close(fds[0]);
		close(fds[1]);
		free(m);
		return -ETOOMANYREFS;
	}
	*token = fds[0];
	return 0;
}

uint32_t rights_receive(struct rights *rights, int token, int peek, struct file **files)
{
	struct message *m = NULL, *dead;
	struct stat st;
	uint32_t n = 0;

	if (fstat(token, &st) < 0 || !S_ISFIFO(st.st_mode))
		return 0;
	pthread_mutex_lock(&rights->lock);
	for (struct message **p = &rights->first; *p != NULL; p = &(*p)->next) {
		if ((*p)->inode != st.st_ino || (*p)->device != st.st_dev)
			continue;
		m = *p;
		if (!peek) {
			*p = m->next;
			m->next = NULL;
			rights->count--;
			rights->files -= m->n;
		}
		break;
	}
	for (; m != NULL && n < m->n; n++)
		files[n] = file_get(m->files[n]);
	dead = collect(rights);
	pthread_mutex_unlock(&rights->lock);
	message_free(dead);
	if (!peek)
		message_free(m);
	return n;
}
