/* SPDX-License-Identifier: Apache-2.0 */
#include "ending.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

/* The thread does little. */
#define STACK ((size_t)64 << 10)

/*
 * Signals that somebody sends, whom the command stands before: a terminal, a shell, a supervisor.
 * SIGCONT and SIGTSTP are seen to besides.
 */
static const int passed_on[] = {SIGHUP,	 SIGINT,  SIGQUIT, SIGTERM,
				SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH};

/* Written before the thread is there. */
static struct termios terminal;
static int terminal_fd = -1;

/* The thread's: how the program had set the terminal, when that was taken from it. */
static struct termios programs_terminal;
static bool taken_back;

/* Shared with the thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ending_fn watcher; /* NULL: not any more */
static void *watcher_context;
static sigset_t sent; /* to the guest */

static int to_die_of; /* 0: nothing */

/* --- The terminal ----------------------------------------------------------------------------- */

void ending_prepare(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (tcgetattr(fd, &terminal) == 0) {
			terminal_fd = fd;
			break;
		}
	}
}

/* Its state; false: from the background it is not ours to change, that would stop the job. */
static bool own_terminal(struct termios *now)
{
	return terminal_fd >= 0 && tcgetattr(terminal_fd, now) == 0 &&
	       tcgetpgrp(terminal_fd) == getpgrp();
}

static bool differ(const struct termios *a, const struct termios *b)
{
	return a->c_iflag != b->c_iflag || a->c_oflag != b->c_oflag ||
	       a->c_cflag != b->c_cflag || a->c_lflag != b->c_lflag;
}

static void restore_terminal(int when)
{
	struct termios now;

	if (own_terminal(&now) && differ(&now, &terminal))
		tcsetattr(terminal_fd, when, &terminal);
}

void ending_restore(void)
{
	restore_terminal(TCSADRAIN);
}

/* --- Signals ---------------------------------------------------------------------------------- */

/* Its default action, on the calling thread. Returns of SIGTSTP, when the command goes on. */
static void act_by_default(int signal)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigaction(signal, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	raise(signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void die_of(int signal)
{
	/* Of SIGQUIT: a core of the command would hold the program's memory, and help nobody. */
	prctl(PR_SET_DUMPABLE, 0);
	act_by_default(signal);
}

/* By raise(3), not SIGSTOP: nobody could continue a job whose shell is gone, and it goes on. */
static void stop(void)
{
	if (own_terminal(&programs_terminal) && differ(&programs_terminal, &terminal)) {
		taken_back = true;
		restore_terminal(TCSANOW);
	}
	act_by_default(SIGTSTP);
}

static void pass_on(int signal)
{
	pthread_mutex_lock(&lock);
	if (watcher) {
		sigaddset(&sent, signal);
		watcher(watcher_context, signal);
	} else if (signal != SIGWINCH && signal != SIGCONT) {
		restore_terminal(TCSANOW);
		die_of(signal);
	}
	pthread_mutex_unlock(&lock);
}

static void go_on(void)
{
	struct termios now;

	/* Continued in the background, it may be brought to the foreground later. */
	if (taken_back && own_terminal(&now)) {
		taken_back = false;
		tcsetattr(terminal_fd, TCSANOW, &programs_terminal);
	}
	pass_on(SIGCONT);
}

static void *wait_for_signals(void *set)
{
	int signal;

	while (sigwait(set, &signal) == 0) {
		switch (signal) {
		case SIGTSTP:
			stop();
			break;
		case SIGCONT:
			go_on();
			break;
		default:
			pass_on(signal);
		}
	}
	return NULL;
}

static bool is_ignored(int signal)
{
	struct sigaction action;

	return sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

bool ending_watch(ending_fn fn, void *context)
{
	static sigset_t set;
	pthread_attr_t attr;
	pthread_t thread;
	bool ok;

	sigemptyset(&set);
	sigaddset(&set, SIGCONT);
	if (!is_ignored(SIGTSTP))
		sigaddset(&set, SIGTSTP);
	for (size_t i = 0; i < COUNT_OF(passed_on); i++)
		if (!is_ignored(passed_on[i]))
			sigaddset(&set, passed_on[i]);
	sigemptyset(&sent);
	watcher = fn;
	watcher_context = context;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pthread_attr_init(&attr) != 0)
		return false;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	ok = pthread_create(&thread, &attr, wait_for_signals, &set) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

void ending_unwatch(int signal)
{
	pthread_mutex_lock(&lock);
	watcher = NULL;
	if (signal > 0 && sigismember(&sent, signal) == 1)
		to_die_of = signal;
	pthread_mutex_unlock(&lock);
}

void ending_die_of_signal(void)
{
	if (to_die_of)
		die_of(to_die_of);
}
