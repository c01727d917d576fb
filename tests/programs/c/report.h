/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs print: results that have to be the same on Linux and in the VM. Each
 * line says what was done, so that a difference explains itself.
 */
#ifndef REPORT_H
#define REPORT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Errnos by name: the numbers say nothing to a reader. */
static inline const char *error_name(int number)
{
	static char text[16];
#define NAME(e)                                                                                \
	if (number == (e))                                                                     \
	return #e
	NAME(EPERM);
	NAME(ENOENT);
	NAME(ESRCH);
	NAME(EINTR);
	NAME(EIO);
	NAME(ENXIO);
	NAME(E2BIG);
	NAME(ENOEXEC);
	NAME(EBADF);
	NAME(ECHILD);
	NAME(EAGAIN);
	NAME(ENOMEM);
	NAME(EACCES);
	NAME(EFAULT);
	NAME(EBUSY);
	NAME(EEXIST);
	NAME(EXDEV);
	NAME(ENODEV);
	NAME(ENOTDIR);
	NAME(EISDIR);
	NAME(EINVAL);
	NAME(ENFILE);
	NAME(EMFILE);
	NAME(ENOTTY);
	NAME(EFBIG);
	NAME(ENOSPC);
	NAME(ESPIPE);
	NAME(EROFS);
	NAME(EMLINK);
	NAME(EPIPE);
	NAME(EDOM);
	NAME(ERANGE);
	NAME(EDEADLK);
	NAME(ENAMETOOLONG);
	NAME(ENOSYS);
	NAME(ENOTEMPTY);
	NAME(ELOOP);
	NAME(ENODATA);
	NAME(EOVERFLOW);
	NAME(ENOTSOCK);
	NAME(EDESTADDRREQ);
	NAME(EMSGSIZE);
	NAME(EPROTOTYPE);
	NAME(ENOPROTOOPT);
	NAME(EPROTONOSUPPORT);
	NAME(EOPNOTSUPP);
	NAME(EAFNOSUPPORT);
	NAME(EADDRINUSE);
	NAME(EADDRNOTAVAIL);
	NAME(ENETUNREACH);
	NAME(ECONNRESET);
	NAME(EISCONN);
	NAME(ENOTCONN);
	NAME(ETIMEDOUT);
	NAME(ECONNREFUSED);
	NAME(EALREADY);
	NAME(EINPROGRESS);
	NAME(EOWNERDEAD);
	NAME(ENOTRECOVERABLE);
	NAME(ESTALE);
#undef NAME
	snprintf(text, sizeof(text), "%d", number);
	return text;
}

/* A line: what, and the result of a call that gives -1 and errno, or something else. */
#define REPORT(call)                                                                           \
	do {                                                                                   \
		errno = 0;                                                                     \
		long report_result = (long)(call);                                             \
		if (report_result == -1)                                                       \
			printf("%s: %s\n", #call, error_name(errno));                          \
		else                                                                           \
			printf("%s: %ld\n", #call, report_result);                             \
	} while (0)

/* The same for calls whose result, if there is one, differs from run to run. */
#define REPORT_WORKS(call)                                                                     \
	do {                                                                                   \
		errno = 0;                                                                     \
		long report_result = (long)(call);                                             \
		printf("%s: %s\n", #call, report_result == -1 ? error_name(errno) : "works");  \
	} while (0)

#define CHECK(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "NO")

/* What has to work for the rest to make sense. */
#define NEED(condition)                                                                        \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			printf("line %d: %s: %s\n", __LINE__, #condition, error_name(errno));  \
			exit(99);                                                              \
		}                                                                              \
	} while (0)

#endif
