/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would make another process, or another program of this one, fails and does no harm; nor
 * is there another process to be seen. Nothing here would do harm if it worked.
 */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"

int main(void)
{
	char *arguments[] = {"/bin/true", NULL};
	pid_t child;
	int status;

	REPORT(fork());
	REPORT(fork());
	REPORT(vfork());
	REPORT(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
	REPORT(syscall(SYS_clone, CLONE_VM | SIGCHLD, NULL, NULL, NULL, 0));
	REPORT(execv("/bin/true", arguments));
	REPORT(execv("/nothing", arguments));
	printf("posix_spawn: %s\n",
	       posix_spawn(&child, "/bin/true", NULL, NULL, arguments, NULL) ? "fails"
									     : "works");
	REPORT(wait(&status));
	REPORT(kill(1, 0));
	REPORT(kill(-1, 0));
	REPORT(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	REPORT(unshare(CLONE_NEWUSER));
	REPORT(syscall(SYS_mount, "none", "/nothing", "tmpfs", 0, NULL));
	REPORT(syscall(SYS_reboot, 0, 0, 0, NULL));
	REPORT(syscall(SYS_bpf, 0, NULL, 0));
	REPORT(syscall(SYS_io_uring_setup, 8, NULL));
	REPORT(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
	REPORT(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
	REPORT(syscall(SYS_open_by_handle_at, 0, NULL, 0));
	REPORT(syscall(SYS_inotify_init1, 0));
	printf("goes on\n");
	return 0;
}
