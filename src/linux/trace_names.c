/* SPDX-License-Identifier: Apache-2.0 */
/* Names of errors, signals, and the constants that system calls take. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#include "core/util.h"
#include "linux/trace.h"
#include "linux/trace_format.h"

/* --- Errors ------------------------------------------------------------------------------- */

#define E(name, text) [name] = {#name, text}
/* Arrays of characters here, see struct syscall_text. */
static const struct {
	char name[16];
	char text[50];
} errors[] = {
	E(EPERM, "Operation not permitted"),
	E(ENOENT, "No such file or directory"),
	E(ESRCH, "No such process"),
	E(EINTR, "Interrupted system call"),
	E(EIO, "Input/output error"),
	E(ENXIO, "No such device or address"),
	E(E2BIG, "Argument list too long"),
	E(ENOEXEC, "Exec format error"),
	E(EBADF, "Bad file descriptor"),
	E(ECHILD, "No child processes"),
	E(EAGAIN, "Resource temporarily unavailable"),
	E(ENOMEM, "Cannot allocate memory"),
	E(EACCES, "Permission denied"),
	E(EFAULT, "Bad address"),
	E(ENOTBLK, "Block device required"),
	E(EBUSY, "Device or resource busy"),
	E(EEXIST, "File exists"),
	E(EXDEV, "Invalid cross-device link"),
	E(ENODEV, "No such device"),
	E(ENOTDIR, "Not a directory"),
	E(EISDIR, "Is a directory"),
	E(EINVAL, "Invalid argument"),
	E(ENFILE, "Too many open files in system"),
	E(EMFILE, "Too many open files"),
	E(ENOTTY, "Inappropriate ioctl for device"),
	E(ETXTBSY, "Text file busy"),
	E(EFBIG, "File too large"),
	E(ENOSPC, "No space left on device"),
	E(ESPIPE, "Illegal seek"),
	E(EROFS, "Read-only file system"),
	E(EMLINK, "Too many links"),
	E(EPIPE, "Broken pipe"),
	E(EDOM, "Numerical argument out of domain"),
	E(ERANGE, "Numerical result out of range"),
	E(EDEADLK, "Resource deadlock avoided"),
	E(ENAMETOOLONG, "File name too long"),
	E(ENOLCK, "No locks available"),
	E(ENOSYS, "Function not implemented"),
	E(ENOTEMPTY, "Directory not empty"),
	E(ELOOP, "Too many levels of symbolic links"),
	E(ENOMSG, "No message of desired type"),
	E(EIDRM, "Identifier removed"),
	E(ECHRNG, "Channel number out of range"),
	E(EL2NSYNC, "Level 2 not synchronized"),
	E(EL3HLT, "Level 3 halted"),
	E(EL3RST, "Level 3 reset"),
	E(ELNRNG, "Link number out of range"),
	E(EUNATCH, "Protocol driver not attached"),
	E(ENOCSI, "No CSI structure available"),
	E(EL2HLT, "Level 2 halted"),
	E(EBADE, "Invalid exchange"),
	E(EBADR, "Invalid request descriptor"),
	E(EXFULL, "Exchange full"),
	E(ENOANO, "No anode"),
	E(EBADRQC, "Invalid request code"),
	E(EBADSLT, "Invalid slot"),
	E(EBFONT, "Bad font file format"),
	E(ENOSTR, "Device not a stream"),
	E(ENODATA, "No data available"),
	E(ETIME, "Timer expired"),
	E(ENOSR, "Out of streams resources"),
	E(ENONET, "Machine is not on the network"),
	E(ENOPKG, "Package not installed"),
	E(EREMOTE, "Object is remote"),
	E(ENOLINK, "Link has been severed"),
	E(EADV, "Advertise error"),
	E(ESRMNT, "Srmount error"),
	E(ECOMM, "Communication error on send"),
	E(EPROTO, "Protocol error"),
	E(EMULTIHOP, "Multihop attempted"),
	E(EDOTDOT, "RFS specific error"),
	E(EBADMSG, "Bad message"),
	E(EOVERFLOW, "Value too large for defined data type"),
	E(ENOTUNIQ, "Name not unique on network"),
	E(EBADFD, "File descriptor in bad state"),
	E(EREMCHG, "Remote address changed"),
	E(ELIBACC, "Can not access a needed shared library"),
	E(ELIBBAD, "Accessing a corrupted shared library"),
	E(ELIBSCN, ".lib section in a.out corrupted"),
	E(ELIBMAX, "Attempting to link in too many shared libraries"),
	E(ELIBEXEC, "Cannot exec a shared library directly"),
	E(EILSEQ, "Invalid or incomplete multibyte or wide character"),
	E(ERESTART, "Interrupted system call should be restarted"),
	E(ESTRPIPE, "Streams pipe error"),
	E(EUSERS, "Too many users"),
	E(ENOTSOCK, "Socket operation on non-socket"),
	E(EDESTADDRREQ, "Destination address required"),
	E(EMSGSIZE, "Message too long"),
	E(EPROTOTYPE, "Protocol wrong type for socket"),
	E(ENOPROTOOPT, "Protocol not available"),
	E(EPROTONOSUPPORT, "Protocol not supported"),
	E(ESOCKTNOSUPPORT, "Socket type not supported"),
	E(EOPNOTSUPP, "Operation not supported"),
	E(EPFNOSUPPORT, "Protocol family not supported"),
	E(EAFNOSUPPORT, "Address family not supported by protocol"),
	E(EADDRINUSE, "Address already in use"),
	E(EADDRNOTAVAIL, "Cannot assign requested address"),
	E(ENETDOWN, "Network is down"),
	E(ENETUNREACH, "Network is unreachable"),
	E(ENETRESET, "Network dropped connection on reset"),
	E(ECONNABORTED, "Software caused connection abort"),
	E(ECONNRESET, "Connection reset by peer"),
	E(ENOBUFS, "No buffer space available"),
	E(EISCONN, "Transport endpoint is already connected"),
	E(ENOTCONN, "Transport endpoint is not connected"),
	E(ESHUTDOWN, "Cannot send after transport endpoint shutdown"),
	E(ETOOMANYREFS, "Too many references: cannot splice"),
	E(ETIMEDOUT, "Connection timed out"),
	E(ECONNREFUSED, "Connection refused"),
	E(EHOSTDOWN, "Host is down"),
	E(EHOSTUNREACH, "No route to host"),
	E(EALREADY, "Operation already in progress"),
	E(EINPROGRESS, "Operation now in progress"),
	E(ESTALE, "Stale file handle"),
	E(EUCLEAN, "Structure needs cleaning"),
	E(ENOTNAM, "Not a XENIX named type file"),
	E(ENAVAIL, "No XENIX semaphores available"),
	E(EISNAM, "Is a named type file"),
	E(EREMOTEIO, "Remote I/O error"),
	E(EDQUOT, "Disk quota exceeded"),
	E(ENOMEDIUM, "No medium found"),
	E(EMEDIUMTYPE, "Wrong medium type"),
	E(ECANCELED, "Operation canceled"),
	E(ENOKEY, "Required key not available"),
	E(EKEYEXPIRED, "Key has expired"),
	E(EKEYREVOKED, "Key has been revoked"),
	E(EKEYREJECTED, "Key was rejected by service"),
	E(EOWNERDEAD, "Owner died"),
	E(ENOTRECOVERABLE, "State not recoverable"),
	E(ERFKILL, "Operation not possible due to RF-kill"),
	E(EHWPOISON, "Memory page has hardware error"),
};
#undef E

const char *errno_name(int64_t result)
{
	if (result >= 0 || result <= -(int64_t)ARRAY_SIZE(errors))
		return NULL;
	return errors[-result].name[0] ? errors[-result].name : NULL;
}

const char *errno_text(int64_t result)
{
	if (result >= 0 || result <= -(int64_t)ARRAY_SIZE(errors))
		return NULL;
	return errors[-result].text[0] ? errors[-result].text : NULL;
}

/* --- Signals ------------------------------------------------------------------------------ */

#define SIG(name) [name] = #name
#define RT(n) [32 + (n)] = "SIGRT_" #n
static const char signals[65][10] = {
	SIG(SIGHUP),  SIG(SIGINT),    SIG(SIGQUIT), SIG(SIGILL),
	SIG(SIGTRAP), SIG(SIGABRT),   SIG(SIGBUS),  SIG(SIGFPE),
	SIG(SIGKILL), SIG(SIGUSR1),   SIG(SIGSEGV), SIG(SIGUSR2),
	SIG(SIGPIPE), SIG(SIGALRM),   SIG(SIGTERM), SIG(SIGSTKFLT),
	SIG(SIGCHLD), SIG(SIGCONT),   SIG(SIGSTOP), SIG(SIGTSTP),
	SIG(SIGTTIN), SIG(SIGTTOU),   SIG(SIGURG),  SIG(SIGXCPU),
	SIG(SIGXFSZ), SIG(SIGVTALRM), SIG(SIGPROF), SIG(SIGWINCH),
	SIG(SIGIO),   SIG(SIGPWR),    SIG(SIGSYS),  [32] = "SIGRTMIN",
	RT(1),	      RT(2),	      RT(3),	    RT(4),
	RT(5),	      RT(6),	      RT(7),	    RT(8),
	RT(9),	      RT(10),	      RT(11),	    RT(12),
	RT(13),	      RT(14),	      RT(15),	    RT(16),
	RT(17),	      RT(18),	      RT(19),	    RT(20),
	RT(21),	      RT(22),	      RT(23),	    RT(24),
	RT(25),	      RT(26),	      RT(27),	    RT(28),
	RT(29),	      RT(30),	      RT(31),	    RT(32),
};
#undef SIG
#undef RT

const char *signal_name(int signal)
{
	if (signal < 1 || signal >= (int)ARRAY_SIZE(signals))
		return NULL;
	return signals[signal];
}

/* --- Constants ---------------------------------------------------------------------------- */

/* clang-format off */
#define C(name) {(uint32_t)(name), #name}
#define END {0, ""}

static const struct constant access_modes[] = {
	C(O_RDONLY), C(O_WRONLY), C(O_RDWR), END
};

static const struct constant open_bits[] = {
	C(O_CREAT), C(O_EXCL), C(O_NOCTTY), C(O_TRUNC), C(O_APPEND), C(O_NONBLOCK),
	C(O_SYNC), C(O_DSYNC), C(O_ASYNC), C(O_DIRECT), C(O_NOFOLLOW), C(O_NOATIME),
	C(O_CLOEXEC), C(O_PATH), C(O_TMPFILE), C(O_DIRECTORY), {0100000, "O_LARGEFILE"}, END
};

static const struct constant rights[] = {
	C(R_OK), C(W_OK), C(X_OK), END
};

static const struct constant prots[] = {
	C(PROT_READ), C(PROT_WRITE), C(PROT_EXEC), C(PROT_GROWSDOWN), C(PROT_GROWSUP), END
};

static const struct constant map_types[] = {
	C(MAP_SHARED), C(MAP_PRIVATE), C(MAP_SHARED_VALIDATE), END
};

static const struct constant map_bits[] = {
	C(MAP_FIXED), C(MAP_ANONYMOUS), C(MAP_32BIT), C(MAP_GROWSDOWN), C(MAP_DENYWRITE),
	C(MAP_EXECUTABLE), C(MAP_LOCKED), C(MAP_NORESERVE), C(MAP_POPULATE), C(MAP_NONBLOCK),
	C(MAP_STACK), C(MAP_HUGETLB), C(MAP_SYNC), C(MAP_FIXED_NOREPLACE), END
};

static const struct constant mremap_bits[] = {
	C(MREMAP_MAYMOVE), C(MREMAP_FIXED), C(MREMAP_DONTUNMAP), END
};

static const struct constant exit_signals[] = {
	C(SIGCHLD), END
};

static const struct constant clone_bits[] = {
	C(CLONE_VM), C(CLONE_FS), C(CLONE_FILES), C(CLONE_SIGHAND), C(CLONE_PIDFD),
	C(CLONE_PTRACE), C(CLONE_VFORK), C(CLONE_PARENT), C(CLONE_THREAD), C(CLONE_NEWNS),
	C(CLONE_SYSVSEM), C(CLONE_SETTLS), C(CLONE_PARENT_SETTID), C(CLONE_CHILD_CLEARTID),
	C(CLONE_DETACHED), C(CLONE_UNTRACED), C(CLONE_CHILD_SETTID), C(CLONE_NEWCGROUP),
	C(CLONE_NEWUTS), C(CLONE_NEWIPC), C(CLONE_NEWUSER), C(CLONE_NEWPID), C(CLONE_NEWNET),
	C(CLONE_IO), END
};

static const struct constant futex_ops[] = {
	C(FUTEX_WAIT), C(FUTEX_WAKE), C(FUTEX_REQUEUE), C(FUTEX_CMP_REQUEUE),
	C(FUTEX_WAKE_OP), C(FUTEX_LOCK_PI), C(FUTEX_UNLOCK_PI), C(FUTEX_TRYLOCK_PI),
	C(FUTEX_WAIT_BITSET), C(FUTEX_WAKE_BITSET), C(FUTEX_WAIT_REQUEUE_PI),
	C(FUTEX_CMP_REQUEUE_PI), C(FUTEX_LOCK_PI2), C(FUTEX_WAIT_PRIVATE),
	C(FUTEX_WAKE_PRIVATE), C(FUTEX_REQUEUE_PRIVATE), C(FUTEX_CMP_REQUEUE_PRIVATE),
	C(FUTEX_WAKE_OP_PRIVATE), C(FUTEX_LOCK_PI_PRIVATE), C(FUTEX_UNLOCK_PI_PRIVATE),
	C(FUTEX_TRYLOCK_PI_PRIVATE), C(FUTEX_WAIT_BITSET_PRIVATE),
	C(FUTEX_WAKE_BITSET_PRIVATE), C(FUTEX_WAIT_REQUEUE_PI_PRIVATE),
	C(FUTEX_CMP_REQUEUE_PI_PRIVATE), C(FUTEX_LOCK_PI2_PRIVATE), END
};

static const struct constant futex_bits[] = {
	C(FUTEX_CLOCK_REALTIME), END
};

static const struct constant families[] = {
	C(AF_UNSPEC), C(AF_UNIX), C(AF_INET), C(AF_INET6), C(AF_NETLINK), C(AF_PACKET),
	C(AF_BLUETOOTH), C(AF_ALG), C(AF_VSOCK), END
};

static const struct constant socket_types[] = {
	C(SOCK_STREAM), C(SOCK_DGRAM), C(SOCK_RAW), C(SOCK_RDM), C(SOCK_SEQPACKET),
	C(SOCK_DCCP), C(SOCK_PACKET), END
};

static const struct constant socket_bits[] = {
	C(SOCK_CLOEXEC), C(SOCK_NONBLOCK), END
};

static const struct constant message_bits[] = {
	C(MSG_OOB), C(MSG_PEEK), C(MSG_DONTROUTE), C(MSG_CTRUNC), C(MSG_TRUNC),
	C(MSG_DONTWAIT), C(MSG_EOR), C(MSG_WAITALL), C(MSG_CONFIRM), C(MSG_ERRQUEUE),
	C(MSG_NOSIGNAL), C(MSG_MORE), C(MSG_WAITFORONE), C(MSG_FASTOPEN),
	C(MSG_CMSG_CLOEXEC), END
};

static const struct constant whences[] = {
	C(SEEK_SET), C(SEEK_CUR), C(SEEK_END), C(SEEK_DATA), C(SEEK_HOLE), END
};

static const struct constant clocks[] = {
	C(CLOCK_REALTIME), C(CLOCK_MONOTONIC), C(CLOCK_PROCESS_CPUTIME_ID),
	C(CLOCK_THREAD_CPUTIME_ID), C(CLOCK_MONOTONIC_RAW), C(CLOCK_REALTIME_COARSE),
	C(CLOCK_MONOTONIC_COARSE), C(CLOCK_BOOTTIME), C(CLOCK_REALTIME_ALARM),
	C(CLOCK_BOOTTIME_ALARM), C(CLOCK_TAI), END
};

static const struct constant mask_hows[] = {
	C(SIG_BLOCK), C(SIG_UNBLOCK), C(SIG_SETMASK), END
};

static const struct constant resources[] = {
	C(RLIMIT_CPU), C(RLIMIT_FSIZE), C(RLIMIT_DATA), C(RLIMIT_STACK), C(RLIMIT_CORE),
	C(RLIMIT_RSS), C(RLIMIT_NPROC), C(RLIMIT_NOFILE), C(RLIMIT_MEMLOCK), C(RLIMIT_AS),
	C(RLIMIT_LOCKS), C(RLIMIT_SIGPENDING), C(RLIMIT_MSGQUEUE), C(RLIMIT_NICE),
	C(RLIMIT_RTPRIO), C(RLIMIT_RTTIME), END
};

static const struct constant fcntl_commands[] = {
	C(F_DUPFD), C(F_GETFD), C(F_SETFD), C(F_GETFL), C(F_SETFL), C(F_GETLK), C(F_SETLK),
	C(F_SETLKW), C(F_SETOWN), C(F_GETOWN), C(F_SETSIG), C(F_GETSIG), C(F_SETOWN_EX),
	C(F_GETOWN_EX), C(F_OFD_GETLK), C(F_OFD_SETLK), C(F_OFD_SETLKW), C(F_SETLEASE),
	C(F_GETLEASE), C(F_NOTIFY), C(F_DUPFD_CLOEXEC), C(F_SETPIPE_SZ), C(F_GETPIPE_SZ),
	C(F_ADD_SEALS), C(F_GET_SEALS), C(F_GET_RW_HINT), C(F_SET_RW_HINT), END
};

static const struct constant epoll_ops[] = {
	C(EPOLL_CTL_ADD), C(EPOLL_CTL_DEL), C(EPOLL_CTL_MOD), END
};

static const struct constant advices[] = {
	C(MADV_NORMAL), C(MADV_RANDOM), C(MADV_SEQUENTIAL), C(MADV_WILLNEED),
	C(MADV_DONTNEED), C(MADV_FREE), C(MADV_REMOVE), C(MADV_DONTFORK), C(MADV_DOFORK),
	C(MADV_MERGEABLE), C(MADV_UNMERGEABLE), C(MADV_HUGEPAGE), C(MADV_NOHUGEPAGE),
	C(MADV_DONTDUMP), C(MADV_DODUMP), C(MADV_WIPEONFORK), C(MADV_KEEPONFORK),
	C(MADV_COLD), C(MADV_PAGEOUT), C(MADV_POPULATE_READ), C(MADV_POPULATE_WRITE), END
};

static const struct constant at_bits[] = {
	C(AT_SYMLINK_NOFOLLOW), C(AT_REMOVEDIR), C(AT_SYMLINK_FOLLOW), C(AT_NO_AUTOMOUNT),
	C(AT_EMPTY_PATH), C(AT_STATX_FORCE_SYNC), C(AT_STATX_DONT_SYNC), C(AT_RECURSIVE), END
};

static const struct constant random_bits[] = {
	C(GRND_NONBLOCK), C(GRND_RANDOM), C(GRND_INSECURE), END
};

static const struct constant eventfd_bits[] = {
	C(EFD_SEMAPHORE), C(EFD_CLOEXEC), C(EFD_NONBLOCK), END
};

/* arch/x86/include/uapi/asm/prctl.h */
static const struct constant arch_options[] = {
	{0x1001, "ARCH_SET_GS"}, {0x1002, "ARCH_SET_FS"}, {0x1003, "ARCH_GET_FS"},
	{0x1004, "ARCH_GET_GS"}, {0x1011, "ARCH_GET_CPUID"}, {0x1012, "ARCH_SET_CPUID"},
	{0x3001, "ARCH_CET_STATUS"}, {0x5003, "ARCH_SHSTK_STATUS"}, END
};

static const struct constant new_fd_bits[] = {
	C(O_CLOEXEC), C(O_NONBLOCK), C(O_DIRECT), END
};

static const struct constant prctl_options[] = {
	C(PR_SET_PDEATHSIG), C(PR_GET_PDEATHSIG), C(PR_GET_DUMPABLE), C(PR_SET_DUMPABLE),
	C(PR_GET_KEEPCAPS), C(PR_SET_KEEPCAPS), C(PR_GET_TIMING), C(PR_SET_TIMING),
	C(PR_SET_NAME), C(PR_GET_NAME), C(PR_GET_SECCOMP), C(PR_SET_SECCOMP),
	C(PR_CAPBSET_READ), C(PR_CAPBSET_DROP), C(PR_GET_TSC), C(PR_SET_TSC),
	C(PR_GET_SECUREBITS), C(PR_SET_SECUREBITS), C(PR_SET_TIMERSLACK),
	C(PR_GET_TIMERSLACK), C(PR_SET_MM), C(PR_SET_CHILD_SUBREAPER),
	C(PR_GET_CHILD_SUBREAPER), C(PR_SET_NO_NEW_PRIVS), C(PR_GET_NO_NEW_PRIVS),
	C(PR_GET_TID_ADDRESS), C(PR_SET_THP_DISABLE), C(PR_GET_THP_DISABLE),
	C(PR_CAP_AMBIENT), C(PR_GET_SPECULATION_CTRL), C(PR_SET_SPECULATION_CTRL),
	C(PR_SET_PTRACER), C(PR_SET_VMA), END
};

#undef C
#undef END

#define ALL UINT32_MAX
static const struct constants known[] = {
	{'A', NULL, ALL, families, NULL},
	{'C', NULL, 0xff, exit_signals, clone_bits},
	{'E', NULL, ALL, epoll_ops, NULL},
	{'H', NULL, ALL, mask_hows, NULL},
	{'K', NULL, ALL, fcntl_commands, NULL},
	{'L', NULL, ALL, resources, NULL},
	{'M', NULL, MAP_TYPE, map_types, map_bits},
	{'O', NULL, O_ACCMODE, access_modes, open_bits},
	{'P', "PROT_NONE", 0, NULL, prots},
	{'R', NULL, 0, NULL, mremap_bits},
	{'U', NULL, ~(uint32_t)FUTEX_CLOCK_REALTIME, futex_ops, futex_bits},
	{'V', NULL, ALL, advices, NULL},
	{'W', NULL, ALL, whences, NULL},
	{'Y', NULL, 0xf, socket_types, socket_bits},
	{'a', NULL, 0, NULL, at_bits},
	{'c', NULL, ALL, prctl_options, NULL},
	{'g', NULL, 0, NULL, random_bits},
	{'h', NULL, ALL, arch_options, NULL},
	{'k', NULL, ALL, clocks, NULL},
	{'m', "F_OK", 0, NULL, rights},
	{'q', NULL, 0, NULL, new_fd_bits},
	{'v', NULL, 0, NULL, eventfd_bits},
	{'w', NULL, 0, NULL, message_bits},
	{'y', NULL, 0, NULL, socket_bits},
};
#undef ALL
/* clang-format on */

const struct constants *constants_find(char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].letter == letter)
			return &known[i];
	}
	return NULL;
}

void format_constants(struct text *out, const struct constants *of, uint32_t value)
{
	const char *separator = "";
	uint32_t rest = value;

	if (value == 0 && of->zero) {
		text_print(out, "%s", of->zero);
		return;
	}
	for (const struct constant *c = of->values; c && c->name[0]; c++) {
		if (c->value == (value & of->mask)) {
			text_print(out, "%s", c->name);
			separator = "|";
			rest &= ~of->mask;
			break;
		}
	}
	for (const struct constant *c = of->bits; c && c->name[0]; c++) {
		if (c->value && (rest & c->value) == c->value) {
			text_print(out, "%s%s", separator, c->name);
			separator = "|";
			rest &= ~c->value;
		}
	}
	if (rest)
		text_print(out, "%s%#x", separator, rest);
	else if (!*separator)
		text_print(out, "0");
}
