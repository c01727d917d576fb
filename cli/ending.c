/* SPDX-License-Identifier: Apache-2.0 */
#include "ending.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/* Written before the handler is installed, read by it. */
static struct termios terminal;
static int terminal_fd = -1;

/* Shared with the thread that waits for signals. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mayfly_process *watched; /* under lock; NULL: not any more */
static atomic_int told;		/* the signal, or 0 */

/* Async-signal-safe. */
static void restore_terminal(int when)
{
	struct termios now;

	/* From the background it is not ours to change: that would stop the whole job. */
	if (terminal_fd < 0 || tcgetattr(terminal_fd, &now) != 0 ||
	    tcgetpgrp(terminal_fd) != getpgrp())
		return;
	if (now.c_iflag != terminal.c_iflag || now.c_oflag != terminal.c_oflag ||
	    now.c_cflag != terminal.c_cflag || now.c_lflag != terminal.c_lflag)
		tcsetattr(terminal_fd, when, &terminal);
}

/* Installed with SA_RESETHAND: what is raised here takes effect when it returns. */
static void die(int signal)
{
	restore_terminal(TCSANOW);
	raise(signal);
}

/* The signals that the command was not told to ignore. */
static void wanted(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < COUNT_OF(signals); i++) {
		struct sigaction action;

		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
	}
}

void ending_prepare(void)
{
	struct sigaction action = {.sa_handler = die,
				   .sa_flags = (int)SA_RESETHAND | SA_RESTART};
	sigset_t set;

	for (int fd = 0; fd < 3; fd++) {
		if (tcgetattr(fd, &terminal) == 0) {
			terminal_fd = fd;
			break;
		}
	}
	/* Without a terminal there is nothing to put right: the default action will do. */
	if (terminal_fd < 0)
		return;
	wanted(&set);
	action.sa_mask = set;
	for (size_t i = 0; i < COUNT_OF(signals); i++)
		if (sigismember(&set, signals[i]))
			sigaction(signals[i], &action, NULL);
}

void ending_restore(void)
{
	restore_terminal(TCSADRAIN);
}

static void *wait_for_signals(void *set)
{
	int signal;

	while (sigwait(set, &signal) == 0) {
		/* Asked twice: whatever keeps the first from being done, this one does it. */
		if (atomic_exchange(&told, signal) != 0) {
			restore_terminal(TCSANOW);
			ending_die_of_signal();
		}
		pthread_mutex_lock(&lock);
		if (watched)
			mayfly_process_interrupt(watched);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

bool ending_watch(mayfly_process *process)
{
	static sigset_t set;
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	wanted(&set);
	watched = process;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attr, wait_for_signals, &set) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

void ending_unwatch(void)
{
	pthread_mutex_lock(&lock);
	watched = NULL;
	pthread_mutex_unlock(&lock);
}

void ending_die_of_signal(void)
{
	int signal = atomic_load(&told);
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;

	if (!signal)
		return;
	sigaction(signal, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	raise(signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
