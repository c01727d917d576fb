/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mayfly: every function call, every program, every small operating system in a virtual machine
 * of its own.
 *
 * A guest ELF file is loaded once into a *snapshot* (immutable, shared). A *sandbox* is one
 * virtual machine spawned from a snapshot. A *function* is a handle, resolved once by name,
 * that is called in any sandbox of the same guest. A *pool* keeps sandboxes ready.
 *
 * Rules that hold for every function here:
 *
 * Results.    int functions give MAYFLY_OK (0) or a negative MAYFLY_E_ code. Out-parameters are
 *             written on success only. `err` may be NULL; otherwise it is filled on failure and
 *             left alone on success.
 * Threading.  Snapshots, functions and pools may be used from any number of threads at once.
 *             A sandbox is for one thread at a time (any thread, not a certain one); only
 *             mayfly_sandbox_interrupt() may be called on it from anywhere at any time.
 * Ownership.  What a _new, _load, _open, _snapshot or _ref function gives belongs to the caller,
 *             who gives it back with the _free, _unref or _release function that its comment
 *             names. These take NULL. Everything passed in is borrowed for the duration of the
 *             call, unless its comment says otherwise.
 * Processes.  A sandbox, a program's process or a machine belongs to the process that made it and does
 *             not survive fork(): in the child it may only be freed; whatever would run it fails with
 *             PROTOCOL there. Snapshots do survive.
 * Manners.    The library never prints, exits, changes signal handlers or masks, the working
 *             directory or the umask.
 * Options.    Option structures begin with `size`, set to sizeof the structure (as the
 *             initialisers below do); zero in any other field means its default. Fields that
 *             this version of the library does not know must be zero.
 */
#ifndef MAYFLY_H
#define MAYFLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAYFLY_VERSION_MAJOR 0
#define MAYFLY_VERSION_MINOR 1
#define MAYFLY_VERSION_PATCH 0

#if defined(MAYFLY_BUILDING) && defined(__GNUC__)
#define MAYFLY_API __attribute__((visibility("default")))
#else
#define MAYFLY_API
#endif

/* The version of the library that is running, as "MAJOR.MINOR.PATCH". Static storage. */
MAYFLY_API const char *mayfly_version(void);

/* --- Errors ------------------------------------------------------------------------------- */

enum mayfly_code {
	MAYFLY_OK = 0,
	MAYFLY_E_INVALID = -1,	   /* an argument or option makes no sense */
	MAYFLY_E_NOMEM = -2,	   /* the host is out of memory, descriptors or the like */
	MAYFLY_E_IO = -3,	   /* a file could not be opened, read, written */
	MAYFLY_E_FORMAT = -4,	   /* a guest or snapshot file is malformed or damaged */
	MAYFLY_E_UNSUPPORTED = -5, /* well-formed, but not for this host, CPU or version */
	MAYFLY_E_HYPERVISOR = -6,  /* no usable hypervisor: try `mayfly doctor` */
	MAYFLY_E_NO_FUNCTION = -7, /* the guest exports no function of that name */
	MAYFLY_E_SIGNATURE = -8,   /* wrong number or type of arguments */
	MAYFLY_E_TOO_LARGE = -9,   /* does not fit: arguments, image, options */
	MAYFLY_E_FAULT = -10,	/* the guest raised an exception; see mayfly_sandbox_fault() */
	MAYFLY_E_ABORT = -11,	/* the guest called abort; code and message in the fault */
	MAYFLY_E_TIMEOUT = -12, /* the wall-clock or CPU time limit was reached */
	MAYFLY_E_INTERRUPTED = -13,   /* mayfly_sandbox_interrupt() */
	MAYFLY_E_POISONED = -14,      /* an earlier call failed: restore or free the sandbox */
	MAYFLY_E_BUSY = -15,	      /* not possible while a call is running */
	MAYFLY_E_LIMIT = -16,	      /* a configured limit was reached */
	MAYFLY_E_PROTOCOL = -17,      /* the guest broke the calling protocol */
	MAYFLY_E_HOST_FUNCTION = -18, /* for host functions: it failed, see the message */
	MAYFLY_E_NO_PROGRAM = -19     /* no such program within what was granted */
};

#define MAYFLY_ERROR_MESSAGE_SIZE 480

/* What went wrong. Owned by the caller, needs no initialisation, holds no resources. */
typedef struct mayfly_error {
	int code;				 /* MAYFLY_E_ */
	int sys_errno;				 /* errno of the system call behind it, or 0 */
	char message[MAYFLY_ERROR_MESSAGE_SIZE]; /* one line, always terminated */
} mayfly_error;

/* A code's name in words, such as "wrong number or type of arguments". Static storage. */
MAYFLY_API const char *mayfly_code_name(int code);

/* --- Values ------------------------------------------------------------------------------- */

typedef enum mayfly_type {
	MAYFLY_VOID = 0, /* as a result only */
	MAYFLY_BOOL = 1,
	MAYFLY_I32 = 2,
	MAYFLY_U32 = 3,
	MAYFLY_I64 = 4,
	MAYFLY_U64 = 5,
	MAYFLY_F32 = 6,
	MAYFLY_F64 = 7,
	MAYFLY_STRING = 8, /* NUL-terminated, no NUL inside; const char * in the guest */
	MAYFLY_BYTES = 9   /* any bytes; mayfly_bytes in the guest */
} mayfly_type;

/* A type's name as signatures write it: "i64", "string". "?" for an unknown one. Static. */
MAYFLY_API const char *mayfly_type_name(mayfly_type type);

#define MAYFLY_MAX_ARGS 16

/*
 * An argument or result. Strings and bytes point to memory that the value does not own:
 * for arguments the caller's, for results the sandbox's (see mayfly_sandbox_call()).
 * A string's len leaves out the terminating NUL.
 */
typedef struct mayfly_value {
	mayfly_type type;
	union {
		bool boolean;
		int32_t i32;
		uint32_t u32;
		int64_t i64;
		uint64_t u64;
		float f32;
		double f64;
		struct {
			const void *data;
			size_t len;
		} bytes;
		struct {
			const char *data;
			size_t len;
		} string;
	} as;
} mayfly_value;

static inline mayfly_value mayfly_bool(bool v)
{
	mayfly_value r;
	r.type = MAYFLY_BOOL;
	r.as.u64 = 0;
	r.as.boolean = v;
	return r;
}

static inline mayfly_value mayfly_i32(int32_t v)
{
	mayfly_value r;
	r.type = MAYFLY_I32;
	r.as.u64 = 0;
	r.as.i32 = v;
	return r;
}

static inline mayfly_value mayfly_u32(uint32_t v)
{
	mayfly_value r;
	r.type = MAYFLY_U32;
	r.as.u64 = 0;
	r.as.u32 = v;
	return r;
}

static inline mayfly_value mayfly_i64(int64_t v)
{
	mayfly_value r;
	r.type = MAYFLY_I64;
	r.as.i64 = v;
	return r;
}

static inline mayfly_value mayfly_u64(uint64_t v)
{
	mayfly_value r;
	r.type = MAYFLY_U64;
	r.as.u64 = v;
	return r;
}

static inline mayfly_value mayfly_f32(float v)
{
	mayfly_value r;
	r.type = MAYFLY_F32;
	r.as.u64 = 0;
	r.as.f32 = v;
	return r;
}

static inline mayfly_value mayfly_f64(double v)
{
	mayfly_value r;
	r.type = MAYFLY_F64;
	r.as.f64 = v;
	return r;
}

/* `s` is NUL-terminated and borrowed for as long as the value is used. */
MAYFLY_API mayfly_value mayfly_string(const char *s);

static inline mayfly_value mayfly_bytes_of(const void *data, size_t len)
{
	mayfly_value r;
	r.type = MAYFLY_BYTES;
	r.as.bytes.data = data;
	r.as.bytes.len = len;
	return r;
}

/* --- Loading a guest ---------------------------------------------------------------------- */

typedef struct mayfly_snapshot mayfly_snapshot;

typedef struct mayfly_load_options {
	size_t size;
	/*
	 * Everything the guest can ever occupy, in bytes: image, stack, heap, call area and
	 * Mayfly's own tables. Host memory is used only for what is touched. Default 16 MiB,
	 * at most 64 GiB, rounded up to pages.
	 */
	uint64_t memory;
	/* The stack, in bytes; a guard lies below it. Default 256 KiB. */
	uint64_t stack;
	/*
	 * Where the strings and bytes among arguments are put, in bytes: the sum of those of
	 * one call, those of calls nested in it, and results of host functions. Default 64 KiB.
	 */
	uint64_t call_area;
} mayfly_load_options;

#define MAYFLY_LOAD_OPTIONS_INIT                                                               \
	{                                                                                      \
		sizeof(mayfly_load_options), 0, 0, 0                                           \
	}

/*
 * Load a guest: a static or static-PIE x86-64 ELF file, whose exported functions were declared
 * with MAYFLY_EXPORT of mayfly_guest.h. The file is hostile input. `options` may be NULL.
 * Free with mayfly_snapshot_unref(). Errors: IO, FORMAT (which says what in the file is wrong),
 * UNSUPPORTED, TOO_LARGE (the image does not fit `memory`), INVALID, NOMEM, HYPERVISOR (what it
 * can do decides on what is loaded).
 */
MAYFLY_API int mayfly_load_file(const char *path, const mayfly_load_options *options,
				mayfly_snapshot **out, mayfly_error *err);

/* The same from memory: `elf` is copied. `name` is for messages, NULL for "guest". */
MAYFLY_API int mayfly_load_memory(const void *elf, size_t len, const char *name,
				  const mayfly_load_options *options, mayfly_snapshot **out,
				  mayfly_error *err);

/* --- Snapshots ---------------------------------------------------------------------------- */

/* Share: gives `snap` itself, counted once more. */
MAYFLY_API mayfly_snapshot *mayfly_snapshot_ref(mayfly_snapshot *snap);
/* Give back one count; the last one frees. Sandboxes and pools hold counts of their own. */
MAYFLY_API void mayfly_snapshot_unref(mayfly_snapshot *snap);

/*
 * Write to a file, replacing `path` in one step (a temporary file beside it, then rename).
 * The file holds memory that was written to, so it may be sparse. Errors: IO, NOMEM.
 */
MAYFLY_API int mayfly_snapshot_save(const mayfly_snapshot *snap, const char *path,
				    mayfly_error *err);

/*
 * Open a saved snapshot, of functions or of a program. The whole file is checked, then mapped:
 * sandboxes share its pages with the page cache. Of programs, memory is mapped unread, so only
 * damage to the rest is noticed. The file must not be changed or truncated while the snapshot lives (replacing
 * it by rename is fine). Errors: IO, FORMAT (damaged, truncated, not a snapshot), UNSUPPORTED
 * (another format version, or a CPU feature in use that this CPU lacks), NOMEM, HYPERVISOR.
 */
MAYFLY_API int mayfly_snapshot_open(const char *path, mayfly_snapshot **out, mayfly_error *err);

typedef struct mayfly_snapshot_info {
	size_t size;
	uint64_t memory;    /* bytes of guest memory, all in all */
	uint64_t stack;	    /* bytes */
	uint64_t call_area; /* bytes */
	uint64_t heap;	    /* bytes left for the guest's heap */
	uint64_t resident;  /* bytes of memory that the snapshot itself holds */
	uint32_t functions; /* exported functions */
	uint32_t imports;   /* host functions that the guest names */
	bool program;	    /* of a program: only memory and resident count */
	bool machine;	    /* of a machine: likewise */
} mayfly_snapshot_info;

/* `info->size` must be set. Never fails for a valid `size`. Errors: INVALID. */
MAYFLY_API int mayfly_snapshot_get_info(const mayfly_snapshot *snap, mayfly_snapshot_info *info,
					mayfly_error *err);

/* --- Functions ---------------------------------------------------------------------------- */

typedef struct mayfly_function mayfly_function;

/*
 * Find an exported function by name, of a function guest or of a program. The handle belongs to
 * the guest's image: it is good for every snapshot, sandbox and process that descends from the same
 * load or open, for as long as one of them lives. Errors: NO_FUNCTION (the message names near misses).
 */
MAYFLY_API int mayfly_snapshot_function(const mayfly_snapshot *snap, const char *name,
					const mayfly_function **out, mayfly_error *err);
/* The exported functions in the order of the file; NULL past the last. */
MAYFLY_API const mayfly_function *mayfly_snapshot_function_at(const mayfly_snapshot *snap,
							      uint32_t index);
/*
 * The host functions that the guest names: "name" and "result(arg,...)"; false past the last.
 */
MAYFLY_API bool mayfly_snapshot_import_at(const mayfly_snapshot *snap, uint32_t index,
					  const char **name, const char **signature);

MAYFLY_API const char *mayfly_function_name(const mayfly_function *fn);
/* As text, such as "i64(i64,string)". */
MAYFLY_API const char *mayfly_function_signature(const mayfly_function *fn);
MAYFLY_API mayfly_type mayfly_function_result(const mayfly_function *fn);
MAYFLY_API size_t mayfly_function_arg_count(const mayfly_function *fn);
/* MAYFLY_VOID past the last argument. */
MAYFLY_API mayfly_type mayfly_function_arg(const mayfly_function *fn, size_t index);

/* --- Sandboxes ---------------------------------------------------------------------------- */

typedef struct mayfly_sandbox mayfly_sandbox;

/*
 * A host function, called on the thread that is inside mayfly_sandbox_call().
 *
 * `args` have the number and types of the registered signature. Their strings are copies, good
 * until the function returns. Bytes are a view of guest memory: never larger than the guest,
 * stable until the function returns or calls the guest again (after which they may hold
 * anything, but stay readable). `result->type` is preset to the signature's result type: fill
 * in the value. Strings and bytes in it must stay valid until the function has returned and are
 * copied then.
 *
 * Return MAYFLY_OK, or a negative code after setting a message with mayfly_error_set(): the
 * guest gets the message from mayfly_host_error(), its call goes on with a zero result. The
 * function may call back into `sandbox` (nesting is limited by max_depth).
 */
typedef int (*mayfly_host_fn)(void *context, mayfly_sandbox *sandbox, const mayfly_value *args,
			      size_t nargs, mayfly_value *result, mayfly_error *err);

typedef struct mayfly_host_function {
	const char *name;      /* as in the guest's MAYFLY_IMPORT */
	const char *signature; /* such as "i64(i64,string)"; must equal the guest's */
	mayfly_host_fn fn;
	void *context; /* handed to fn */
} mayfly_host_function;

/* Set code and message (printf), for host functions. Gives `code`. Truncates with "...". */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
MAYFLY_API int
mayfly_error_set(mayfly_error *err, int code, const char *format, ...);

/* Receives what the guest prints: `len` bytes, not terminated, hostile, valid for the call. */
typedef void (*mayfly_print_fn)(void *context, const char *text, size_t len);

/* How calls get into the virtual machine. */
typedef enum mayfly_dispatch {
	/* The calling thread enters it, and leaves it with the result. */
	MAYFLY_DISPATCH_NORMAL = 0,
	/*
	 * It runs on a thread of the sandbox's own, on another CPU, and is called through memory:
	 * many times faster as long as calls follow each other closely. See
	 * mayfly_sandbox_set_dispatch().
	 */
	MAYFLY_DISPATCH_HOT = 1
} mayfly_dispatch;

typedef struct mayfly_sandbox_options {
	size_t size;
	/* Wall-clock limit of one call, host functions included, in ns. 0: none. */
	uint64_t timeout_ns;
	/*
	 * CPU time that all calls since the last spawn or restore may use together, in ns,
	 * the time spent in host functions included. 0: none.
	 */
	uint64_t cpu_time_ns;
	/* Host functions, as if given to mayfly_sandbox_register() one by one. */
	const mayfly_host_function *host_functions;
	size_t host_function_count;
	/* Where printing goes; NULL: denied, the guest's print functions fail. */
	mayfly_print_fn print;
	void *print_context;
	/* How deep host -> guest -> host -> guest may nest. Default 8, at most 64. */
	uint32_t max_depth;
	/* MAYFLY_SANDBOX_ flags. */
	uint32_t flags;
	/* As if given to mayfly_sandbox_set_dispatch(). */
	mayfly_dispatch dispatch;
	/*
	 * Under hot dispatch, how long a side waits for the other while it keeps its CPU busy, in
	 * ns. Then it sleeps, and waking it takes as long as other calls. Default 50,000, at most
	 * a second.
	 */
	uint64_t hot_wait_ns;
} mayfly_sandbox_options;

#define MAYFLY_SANDBOX_OPTIONS_INIT                                                            \
	{                                                                                      \
		sizeof(mayfly_sandbox_options), 0, 0, NULL, 0, NULL, NULL, 0, 0,               \
			MAYFLY_DISPATCH_NORMAL, 0                                              \
	}

/*
 * Let the guest read the time-stamp counter. Without it RDTSC and RDTSCP are a fault; but under
 * PVM ring 3 runs on the CPU itself, and nothing can take the counter from it.
 */
#define MAYFLY_SANDBOX_ALLOW_TSC 1u

/*
 * Make a virtual machine from a snapshot. `options` may be NULL; the host function array is
 * copied, the strings in it too. Free with mayfly_sandbox_free(). Errors: HYPERVISOR (with what
 * to do about it), NOMEM, INVALID, SIGNATURE (a host function's differs from the guest's).
 */
MAYFLY_API int mayfly_sandbox_new(mayfly_snapshot *snap, const mayfly_sandbox_options *options,
				  mayfly_sandbox **out, mayfly_error *err);
/* Not from within a call (a host function) on it. */
MAYFLY_API void mayfly_sandbox_free(mayfly_sandbox *sb);

/*
 * Provide or replace a host function. The guest need not import it. Errors: INVALID,
 * SIGNATURE (no signature, or differs from the guest's import), NOMEM.
 */
MAYFLY_API int mayfly_sandbox_register(mayfly_sandbox *sb, const mayfly_host_function *function,
				       mayfly_error *err);

/*
 * Call a function of the guest. `result` may be NULL. A string or bytes result is a view of
 * guest memory, checked to lie inside (a string to be terminated), valid until the next
 * operation on `sb`.
 *
 * These leave the sandbox usable: INVALID (the function is of another guest), SIGNATURE,
 * TOO_LARGE (strings and bytes exceed the call area), LIMIT (nesting), POISONED. All others
 * poison it: it refuses everything but restore and free until restored: FAULT, ABORT, TIMEOUT,
 * INTERRUPTED, PROTOCOL, HYPERVISOR.
 */
MAYFLY_API int mayfly_sandbox_call(mayfly_sandbox *sb, const mayfly_function *fn,
				   const mayfly_value *args, size_t nargs, mayfly_value *result,
				   mayfly_error *err);

/*
 * Many calls of one function. `args` holds `count` lists of `nargs` values, one behind the other;
 * `results`, which may be NULL, has room for `count` values.
 */
typedef struct mayfly_batch {
	size_t size;
	const mayfly_value *args;
	size_t nargs; /* of one call */
	size_t count;
	mayfly_value *results;
	size_t done; /* out, after failures too: so many calls returned, and left results */
} mayfly_batch;

#define MAYFLY_BATCH_INIT                                                                      \
	{                                                                                      \
		sizeof(mayfly_batch), NULL, 0, 0, NULL, 0                                      \
	}

/*
 * The calls of a batch, one after the other, with one entry into the VM for as many as the call
 * area has room for; half of what is free of it is used. Each is as mayfly_sandbox_call() has it,
 * but that the limits of one call are those of the batch, and that results cannot be strings or
 * bytes. `batch->size` must be set.
 *
 * The first call that fails ends the batch: those before it have returned, and count in
 * `batch->done`; those behind it are not made. Argument lists are checked before the first call.
 * Errors: those of mayfly_sandbox_call(); INVALID also for results that are strings or bytes.
 */
MAYFLY_API int mayfly_sandbox_call_many(mayfly_sandbox *sb, const mayfly_function *fn,
					mayfly_batch *batch, mayfly_error *err);

/*
 * From now on calls get into the VM in this way; everything else stays as it is. The first switch
 * to hot dispatch starts a thread, with all signals blocked, which lives as long as the sandbox,
 * and sleeps while there is nothing to do.
 *
 * Under hot dispatch a call takes what it takes two CPUs to notice each other, if the last one
 * was less than `hot_wait_ns` ago; else somewhat more than a call without. The guest and the caller
 * each keep a CPU busy meanwhile, so it needs two, and gains nothing where others need them.
 * Restores and snapshots have to stop the guest first. The CPU time limit counts both threads.
 * Of strings and bytes among results and arguments of host functions there may be copies.
 *
 * Errors: INVALID, BUSY (within a call), NOMEM; PROTOCOL, and the sandbox is poisoned, for a guest
 * that did not leave when told to.
 */
MAYFLY_API int mayfly_sandbox_set_dispatch(mayfly_sandbox *sb, mayfly_dispatch dispatch,
					   mayfly_error *err);

/*
 * Stop the call that is running in `sb`, if one is: it ends with INTERRUPTED within about a
 * millisecond, or, when a host function is running, as soon as that returns. Without a running
 * call nothing happens, and no later call is affected. Any thread; not async-signal-safe. True
 * if a call was told to stop.
 */
MAYFLY_API bool mayfly_sandbox_interrupt(mayfly_sandbox *sb);

/*
 * Put memory and CPU back to a snapshot's state: of the same guest and load options; NULL for
 * the one that it was spawned from or last restored to. Costs what was dirtied. Ends poisoning.
 * Host functions, sinks and limits stay; the CPU time used starts anew. Errors: INVALID
 * (another guest), BUSY (within a call), NOMEM, HYPERVISOR.
 */
MAYFLY_API int mayfly_sandbox_restore(mayfly_sandbox *sb, mayfly_snapshot *snap,
				      mayfly_error *err);

/*
 * Capture the present state as a new snapshot. Free with mayfly_snapshot_unref(). A sandbox that
 * made no call since it was spawned or restored enters its VM once for this, under its limits.
 * Errors: BUSY, POISONED, NOMEM; those of a call, where that entry fails.
 */
MAYFLY_API int mayfly_sandbox_snapshot(mayfly_sandbox *sb, mayfly_snapshot **out,
				       mayfly_error *err);

/* Change the limits of calls that begin from now on. */
MAYFLY_API int mayfly_sandbox_set_limits(mayfly_sandbox *sb, uint64_t timeout_ns,
					 uint64_t cpu_time_ns, mayfly_error *err);

MAYFLY_API bool mayfly_sandbox_is_poisoned(const mayfly_sandbox *sb);

typedef struct mayfly_sandbox_stats {
	size_t size;
	uint64_t calls;	     /* calls from the host, nested ones too */
	uint64_t host_calls; /* calls of host functions */
	uint64_t restores;
	uint64_t pages_restored; /* all in all */
	uint64_t last_restored;	 /* pages put back by the last restore */
	uint64_t generation;	 /* what the guest sees as its generation number */
	uint64_t cpu_time_ns;	 /* since the last restore; counted only with a CPU limit */
	uint64_t private_bytes;	 /* host memory that this sandbox holds for itself */
} mayfly_sandbox_stats;

/* `stats->size` must be set. Errors: INVALID. */
MAYFLY_API int mayfly_sandbox_get_stats(const mayfly_sandbox *sb, mayfly_sandbox_stats *stats,
					mayfly_error *err);

/* --- Faults ------------------------------------------------------------------------------- */

typedef enum mayfly_fault_kind {
	MAYFLY_FAULT_NONE = 0,
	MAYFLY_FAULT_EXCEPTION = 1,	 /* `vector` says which */
	MAYFLY_FAULT_STACK_OVERFLOW = 2, /* an access below the stack */
	MAYFLY_FAULT_ABORT = 3,	    /* abort or failed assertion: `abort_code`, `message` */
	MAYFLY_FAULT_STOPPED = 4,   /* timeout or interrupt, in the midst of a call */
	MAYFLY_FAULT_PROTOCOL = 5,  /* broke the calling protocol */
	MAYFLY_FAULT_HYPERVISOR = 6 /* KVM could not go on: internal error, shutdown */
} mayfly_fault_kind;

#define MAYFLY_FAULT_MESSAGE_SIZE 1024

typedef struct mayfly_fault {
	size_t size;
	mayfly_fault_kind kind;
	uint32_t vector;     /* x86 exception number, 14 for a page fault (SDM vol. 3, 6.15) */
	uint32_t error_code; /* of the exception, 0 where it has none */
	int32_t abort_code;
	uint64_t address; /* what a page fault could not access */
	uint64_t ip;	  /* the guest instruction's address */
	uint64_t sp;
	const char
		*function; /* of the ELF symbol that holds `ip`, or NULL; lives as the guest */
	uint64_t function_offset;
	char message[MAYFLY_FAULT_MESSAGE_SIZE]; /* abort's, or a description; terminated */
} mayfly_fault;

/*
 * Why `sb` is poisoned. `fault->size` must be set. Errors: INVALID (not poisoned, or `size`).
 */
MAYFLY_API int mayfly_sandbox_fault(const mayfly_sandbox *sb, mayfly_fault *fault,
				    mayfly_error *err);

/*
 * Write an ELF core file of the sandbox as it is, poisoned or not, for `gdb GUEST CORE`. The
 * file is made with mode 0600, replacing what is there. Errors: BUSY, IO, NOMEM.
 */
MAYFLY_API int mayfly_sandbox_write_core(mayfly_sandbox *sb, const char *path,
					 mayfly_error *err);

/* --- Pools -------------------------------------------------------------------------------- */

typedef struct mayfly_pool mayfly_pool;

typedef struct mayfly_pool_options {
	size_t size;
	/* Most sandboxes at one time, ready and lent out together. Default 64. */
	uint32_t limit;
	/*
	 * How many to keep ready; a thread of the pool's own makes them. Default 0: no thread.
	 */
	uint32_t ready;
	/* For every sandbox of the pool; may be NULL. Copied. */
	const mayfly_sandbox_options *sandbox;
} mayfly_pool_options;

#define MAYFLY_POOL_OPTIONS_INIT                                                               \
	{                                                                                      \
		sizeof(mayfly_pool_options), 0, 0, NULL                                        \
	}

/* Free with mayfly_pool_free(). Errors: INVALID, NOMEM, HYPERVISOR. */
MAYFLY_API int mayfly_pool_new(mayfly_snapshot *snap, const mayfly_pool_options *options,
			       mayfly_pool **out, mayfly_error *err);
/* Frees the ready sandboxes. Those lent out must have been released before. */
MAYFLY_API void mayfly_pool_free(mayfly_pool *pool);
/*
 * Have `count` ready before returning, as far as the limit allows. Errors: NOMEM, HYPERVISOR,
 * TIMEOUT (see mayfly_pool_acquire()).
 */
MAYFLY_API int mayfly_pool_fill(mayfly_pool *pool, uint32_t count, mayfly_error *err);
/*
 * Borrow a sandbox in the snapshot's state: a ready one, else a new one; at the limit wait up
 * to `wait_ns` for a release (0: do not wait, UINT64_MAX: for ever). New ones enter their VM
 * once, under the sandbox options' limits. Errors: LIMIT, NOMEM, HYPERVISOR; TIMEOUT, where those
 * limits leave no time for it.
 */
MAYFLY_API int mayfly_pool_acquire(mayfly_pool *pool, uint64_t wait_ns, mayfly_sandbox **out,
				   mayfly_error *err);
/*
 * Give a sandbox back, poisoned or not. It is restored before anybody gets it again, or freed
 * where that fails.
 */
MAYFLY_API void mayfly_pool_release(mayfly_pool *pool, mayfly_sandbox *sb);

typedef struct mayfly_pool_stats {
	size_t size;
	uint32_t ready;	   /* waiting to be borrowed */
	uint32_t lent;	   /* borrowed */
	uint64_t made;	   /* virtual machines ever created */
	uint64_t acquired; /* successful acquires */
	uint64_t hits;	   /* of those, served from the ready ones */
} mayfly_pool_stats;

/* `stats->size` must be set. Errors: INVALID. */
MAYFLY_API int mayfly_pool_get_stats(mayfly_pool *pool, mayfly_pool_stats *stats,
				     mayfly_error *err);

/* --- Programs ----------------------------------------------------------------------------- */

/*
 * An unmodified Linux executable, static or dynamic, in a VM of its own. The host answers its
 * system calls; it sees nothing that it was not granted: of files its own executable,
 * /dev/null, zero, full, random, urandom, an empty /tmp and /dev/shm in memory, a minimal
 * /proc; no network, no environment, none of the host's processes.
 *
 * A process is for one thread at a time; mayfly_process_interrupt() and _signal() may come from
 * anywhere.
 * Its own threads run on host threads that the library makes, with all signals blocked.
 */
typedef struct mayfly_process mayfly_process;

/* Gets text: a line with its end, or part of a table. May be called by several threads. */
typedef void (*mayfly_write_fn)(void *context, const char *text, size_t len);

/* Gets one line for the user's eyes, without a line end. May be called by several threads. */
typedef void (*mayfly_notice_fn)(void *context, const char *line);

/* mayfly_grant.flags */
#define MAYFLY_GRANT_WRITE 1u	/* changes go to the host's files */
#define MAYFLY_GRANT_OVERLAY 2u /* changes are kept in memory and end with the process */

/*
 * A directory, or one file, of the host. Read-only without flags. Nothing outside of it is
 * reachable through it, whatever symbolic links and renames there are. Its device nodes cannot
 * be opened.
 */
typedef struct mayfly_grant {
	const char *host;  /* path on the host */
	const char *guest; /* absolute path, "/" for the root; NULL: the same as `host` */
	uint32_t flags;	   /* MAYFLY_GRANT_ */
} mayfly_grant;

/* Outgoing connections and datagrams that are allowed. */
typedef struct mayfly_net_rule {
	/*
	 * Name, looked up once; address; address/bits; "*": any but this host's own, link-local
	 * and multicast ones, which are allowed only by name; or "@dns": the name servers of the
	 * host's /etc/resolv.conf, at port 53 unless told otherwise.
	 */
	const char *host;
	uint16_t first_port, last_port; /* 0, 0: any */
} mayfly_net_rule;

/* The guest's listening socket on `guest_port` is the host's on address:host_port. */
typedef struct mayfly_publish {
	const char *address; /* numeric; NULL: 127.0.0.1 */
	uint16_t host_port;  /* 0: any, see mayfly_process_published() */
	uint16_t guest_port;
} mayfly_publish;

/*
 * A system call that is about to be made. What is there is the guest's: hostile. Paths are
 * copied once, and the call then uses what is shown here, whatever the guest's other threads
 * write in the place; a path that cannot be read is NULL, and the call fails. Other memory that
 * arguments point to (socket addresses, the flags of openat2) is not looked at yet: it may be
 * something else when the call reads it.
 */
typedef struct mayfly_syscall {
	size_t size;
	uint64_t number; /* Linux, x86-64 */
	const char *name;
	uint64_t args[6]; /* as in the registers */
	int tid;
	const char *path;  /* the first path among the arguments, copied, as given; or NULL */
	const char *path2; /* the second, of rename and the like; or NULL */
} mayfly_syscall;

/*
 * 0 lets it go on (to the grants' rules: a policy takes away, it never gives); a negative errno
 * is what the guest gets instead. Called on the guest thread's host thread, by several at once.
 */
typedef int (*mayfly_policy_fn)(void *context, const mayfly_syscall *call);

/* mayfly_process_options.flags */
#define MAYFLY_PROCESS_SYSTEM                                                                  \
	1u			/* grant the host's /usr, /bin, /lib*, and of /etc what programs
				    need to start: read-only; and where no grant has them, an
				    /etc/hosts of localhost and an /etc/nsswitch.conf, in memory */
#define MAYFLY_PROCESS_TRACE 2u /* each system call, as strace prints them, to trace_write */
#define MAYFLY_PROCESS_STATS 4u /* count and time them: mayfly_process_report() */
#define MAYFLY_PROCESS_RESTORABLE                                                              \
	8u				/* mayfly_process_restore() will be used: it then costs
					what was written, and first writes cost more */
#define MAYFLY_PROCESS_FIXED_LAYOUT 16u /* addresses are the same in each run */

/* Where mayfly_process_run() stops for the caller. */
#define MAYFLY_PAUSE_STDIN 1u /* before the first read of, or wait for, standard input */
#define MAYFLY_PAUSE_MAIN 2u  /* at the entry of main() */
#define MAYFLY_PAUSE_READY 4u /* when the program calls mayfly_ready() of mayfly_program.h */

typedef struct mayfly_process_options {
	size_t size;
	/*
	 * What runs: a program's name (searched in PATH of `envp`, else in the usual
	 * directories, within what is granted) or a path in the guest; if it is not granted but
	 * a path on the host, that one file is granted. Or a snapshot of a program, which goes
	 * on where it was taken.
	 */
	const char *program;
	mayfly_snapshot *snapshot;
	/*
	 * NULL-terminated. argv NULL: just `program`. With a snapshot taken at MAYFLY_PAUSE_MAIN
	 * or _READY, argv[1...] become the program's arguments; else they must be NULL.
	 */
	const char *const *argv;
	const char *const *envp; /* NULL: empty. Not with a snapshot. */
	const char *cwd;	 /* in the guest; NULL: "/" */
	const mayfly_grant *grants;
	size_t ngrants;
	const mayfly_net_rule *net; /* nnet 0: no network */
	size_t nnet;
	const mayfly_publish *publish;
	size_t npublish;
	/*
	 * Host descriptors for 0, 1 and 2, duplicated: -1 for none (/dev/null). Zero: the
	 * caller's own standard streams are NOT given: set `streams` to use these.
	 */
	bool streams;
	int stdin_fd, stdout_fd, stderr_fd;
	uint32_t flags;	     /* MAYFLY_PROCESS_ */
	uint64_t memory;     /* bytes that it may occupy, its files in memory included; 1 GiB */
	uint64_t timeout_ns; /* wall clock of all runs together; 0: none */
	uint64_t cpu_time_ns;
	uint64_t max_output; /* bytes to standard output and error together; 0: no limit */
	uint32_t max_files;  /* open descriptors; 256, at least 3; mapped files: 4 times that */
	uint32_t max_threads; /* 64, at most 200 */
	mayfly_policy_fn policy;
	void *policy_context;
	mayfly_write_fn trace_write;
	void *trace_context;
	mayfly_notice_fn notice;
	void *notice_context;
} mayfly_process_options;

#define MAYFLY_PROCESS_OPTIONS_INIT                                                            \
	{                                                                                      \
		sizeof(mayfly_process_options), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL,   \
			0, NULL, 0, false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL,     \
			NULL, NULL, NULL                                                       \
	}

/*
 * Make the VM and load the program, or continue the snapshot; nothing of it runs yet. Grants of
 * a snapshot are not remembered: files that it had open are opened again within `options`'
 * grants, and must be the same. Free with mayfly_process_free(). Errors: INVALID, NO_PROGRAM
 * (not found within the grants), FORMAT (not an executable), UNSUPPORTED, IO, NOMEM,
 * HYPERVISOR.
 */
MAYFLY_API int mayfly_process_new(const mayfly_process_options *options, mayfly_process **out,
				  mayfly_error *err);
MAYFLY_API void mayfly_process_free(mayfly_process *process);

typedef enum mayfly_end {
	MAYFLY_END_EXIT = 1,   /* exited with `status` */
	MAYFLY_END_SIGNAL = 2, /* died of the signal `status` */
	MAYFLY_END_PAUSE = 3   /* at the MAYFLY_PAUSE_ point `status`: may be run on */
} mayfly_end;

typedef struct mayfly_process_end {
	size_t size;
	mayfly_end end;
	int status;
	char message[MAYFLY_ERROR_MESSAGE_SIZE]; /* why it was killed, or "" */
} mayfly_process_end;

/*
 * Run until it ends or reaches one of the points `pause_at` (MAYFLY_PAUSE_ bits). `end->size`
 * must be set. Errors: TIMEOUT, INTERRUPTED, LIMIT, PROTOCOL (it has ended before), INVALID,
 * NOMEM, HYPERVISOR: the process is of no more use, but restored.
 */
MAYFLY_API int mayfly_process_run(mayfly_process *process, uint32_t pause_at,
				  mayfly_process_end *end, mayfly_error *err);

/*
 * Find a function that the program exports: one compiled with MAYFLY_EXPORT of mayfly_program.h.
 * The handle is good for every process and snapshot that descends from the one in which the
 * program was loaded, or its snapshot was opened, for as long as one of them lives;
 * mayfly_snapshot_function() gives the same. Errors: NO_FUNCTION (the message names near misses),
 * FORMAT (what the program says of its functions makes no sense).
 */
MAYFLY_API int mayfly_process_function(const mayfly_process *process, const char *name,
				       const mayfly_function **out, mayfly_error *err);

/*
 * Call it, while the process is paused at MAYFLY_PAUSE_READY: on the thread that called
 * mayfly_ready(), while its other threads run, too. Afterwards the process is paused there as
 * before, and what the function left in memory, files and threads stays: it may be called again,
 * run on, be saved or restored. Values are checked as by mayfly_sandbox_call(). Strings and bytes
 * that the function gives, at most 16 MiB, are copied: the process owns the copy until its next
 * call, or mayfly_process_free(). `result` may be NULL. The limits are those of runs, and runs and
 * calls count together.
 *
 * Errors: PROTOCOL (the process is not paused there; or a result that is not readable memory),
 * BUSY, SIGNATURE, INVALID, TOO_LARGE (of arguments or result), NOMEM: the process is as it was
 * before the call, or as the function left it. FAULT, ABORT (it died of a signal, of SIGABRT),
 * PROTOCOL (it exited, or the thread did), TIMEOUT, INTERRUPTED, LIMIT, HYPERVISOR: the process is of
 * no more use, but restored.
 */
MAYFLY_API int mayfly_process_call(mayfly_process *process, const mayfly_function *fn,
				   const mayfly_value *args, size_t nargs, mayfly_value *result,
				   mayfly_error *err);

/* From any thread: the run or call that is under way, or the next, ends with INTERRUPTED. */
MAYFLY_API void mayfly_process_interrupt(mayfly_process *process);

/*
 * From any thread, but no signal handler: send the program a signal of Linux, as kill(2) from
 * outside would, from process 0: its handler runs, or it dies of it, or ignores it. While it does
 * not run, before its first run or paused, the signal waits for the next one. The host's own
 * signals have nothing to do with it. Errors: INVALID (no signal has that number), PROTOCOL (it
 * has ended).
 */
MAYFLY_API int mayfly_process_signal(mayfly_process *process, int signo, mayfly_error *err);

/*
 * Snapshot a process that is paused: memory, threads, and what it has open, where that can be:
 * INVALID names what cannot (connections to somebody outside, for one). Free with
 * mayfly_snapshot_unref().
 */
MAYFLY_API int mayfly_process_snapshot(mayfly_process *process, mayfly_snapshot **out,
				       mayfly_error *err);

/*
 * Back to the snapshot it was made from with new standard streams (descriptors as in the
 * options), for another run; the same arguments, grants and limits, time counted anew. Granted is
 * what was found at the paths of the grants when the process was made, whatever is there now. Needs
 * MAYFLY_PROCESS_RESTORABLE, and a snapshot in the options it was made with. Costs what was
 * written, a small part of making another process, and a descriptor of the host for each grant.
 * Errors: INVALID, BUSY, IO, NOMEM, HYPERVISOR; PROTOCOL, in a forked child.
 */
MAYFLY_API int mayfly_process_restore(mayfly_process *process, int stdin_fd, int stdout_fd,
				      int stderr_fd, mayfly_error *err);

/* The host port behind a published guest port, once the guest listens; else 0. Any thread. */
MAYFLY_API uint16_t mayfly_process_published(mayfly_process *process, uint16_t guest_port);

/* The table of system calls, with MAYFLY_PROCESS_STATS. Errors: INVALID. */
MAYFLY_API int mayfly_process_report(mayfly_process *process, mayfly_write_fn write,
				     void *context, mayfly_error *err);

typedef struct mayfly_process_stats {
	size_t size;
	uint64_t memory;      /* bytes charged now */
	uint64_t peak_memory; /* the most there ever were */
	uint64_t cpu_time_ns;
	uint64_t syscalls;
	uint64_t output; /* bytes */
	uint32_t threads;
	uint32_t files;
} mayfly_process_stats;

/* `stats->size` must be set. Not while it runs. Errors: INVALID. */
MAYFLY_API int mayfly_process_get_stats(mayfly_process *process, mayfly_process_stats *stats,
					mayfly_error *err);

/* --- Machines ----------------------------------------------------------------------------- */

/*
 * An unmodified operating system's kernel (NetBSD's MICROVM, Linux) in a VM that has a serial
 * port, virtio-mmio devices and nothing else that such a kernel does not need: no firmware, no
 * PCI; ACPI tables only for those that want them. docs/kernels.md describes what the guest finds.
 *
 * A machine is for one thread at a time, but for the functions that say otherwise. It runs on
 * threads that the library makes, with all signals blocked. A process can hold many.
 */
typedef struct mayfly_machine mayfly_machine;

/* mayfly_disk.flags */
#define MAYFLY_DISK_READONLY 1u
#define MAYFLY_DISK_SNAPSHOT 2u /* writes go to a private overlay that goes at the end */

/* A raw file or block device. */
typedef struct mayfly_disk {
	const char *path;
	uint32_t flags; /* MAYFLY_DISK_ */
	/* With SNAPSHOT: bytes of memory for what is written, then writes fail; 0: the disk's size. */
	uint64_t overlay_limit;
	/* What the guest is told as the disk's serial number, at most 20 bytes; NULL: "mayfly" */
	const char *serial;
} mayfly_disk;

/* A port of this host that leads to one of the guest's. */
typedef struct mayfly_forward {
	const char *address; /* numeric; NULL: 127.0.0.1 */
	uint16_t host_port;
	uint16_t guest_port;
	bool udp;
} mayfly_forward;

/* A network card: exactly one of user, tap and fd. */
typedef struct mayfly_nic {
	/*
	 * A network without privileges: the guest is 10.0.2.15, its gateway 10.0.2.2, its name
	 * server 10.0.2.3, DHCP answers. Packets are handled by a helper process, mayfly-slirp.
	 */
	bool user;
	const mayfly_forward *forwards; /* with user */
	size_t nforwards;
	/*
	 * With user: the gateway's address stands for this host, whose own ports (those that only
	 * listen on its loopback, too) the guest then reaches. Without, none of its addresses.
	 */
	bool host;
	const char *helper; /* with user: path of mayfly-slirp; NULL: where it is installed */
	const char *tap;    /* the name of a tap device that is there */
	/*
	 * A descriptor plus one (0: none) that carries an Ethernet frame per read and write, a
	 * SOCK_SEQPACKET or SOCK_DGRAM socket: duplicated.
	 */
	int fd_plus_one;
	uint8_t mac[6]; /* all zero: chosen */
} mayfly_nic;

/* A further port of the virtio console: a Unix socket that is made and listened on. */
typedef struct mayfly_port {
	const char *name; /* as the guest sees it */
	const char *path; /* of the socket on the host */
} mayfly_port;

/* A file that the guest can read through fw_cfg. */
typedef struct mayfly_fw_file {
	const char *name; /* "opt/..." by convention, at most 55 bytes */
	const void *data;
	size_t len;
} mayfly_fw_file;

/* mayfly_machine_options.flags */
#define MAYFLY_MACHINE_RNG 1u		 /* a source of random numbers */
#define MAYFLY_MACHINE_VIRTIO_CONSOLE 2u /* the streams belong to it, not to the serial port */
#define MAYFLY_MACHINE_PLAIN_CMDLINE 4u	 /* nothing is added to the command line */
#define MAYFLY_MACHINE_LEGACY_VIRTIO 8u	 /* version 1 of virtio-mmio */
#define MAYFLY_MACHINE_TIMELINE 16u	 /* mayfly_machine_timeline() */
/*
 * Its threads may make any system call: for debuggers and sanitizers. Else they can only make
 * those that they need; for any other the kernel kills the process.
 */
#define MAYFLY_MACHINE_NO_SECCOMP 32u
/*
 * ACPI tables (hardware-reduced), or none. With neither there are some for a Linux kernel that is
 * given devices or several CPUs, because those of distributions find these by nothing else.
 */
#define MAYFLY_MACHINE_ACPI 64u
#define MAYFLY_MACHINE_NO_ACPI 128u
/*
 * The kernel's file will neither be changed nor truncated while the machine lives (replacing it by
 * rename is fine). Then its pages are mapped where the guest can use them in place, and not copied:
 * a start takes less time, and machines with the same kernel share what they do not write.
 */
#define MAYFLY_MACHINE_MAP_KERNEL 256u

typedef struct mayfly_event {
	size_t size;
	const char *name; /* "running", "first instruction", "mark 7": as on the timeline */
	uint64_t when_ns; /* CLOCK_MONOTONIC */
} mayfly_event;

/*
 * Called on one of the machine's threads, by several at once: quick; must not call the library, nor
 * make system calls that those threads may not (MAYFLY_MACHINE_NO_SECCOMP). To set a flag, or to
 * write(2) to a pipe, is fine; the first printf(3) of a process asks for more. "running", "pause" and
 * "end" come on the thread of mayfly_machine_run(), which may make any; mayfly_machine_interrupt()
 * can be called at "running".
 */
typedef void (*mayfly_machine_event_fn)(void *context, const mayfly_event *event);

typedef struct mayfly_machine_options {
	size_t size;
	const char *kernel;	   /* path of a kernel; or */
	mayfly_snapshot *snapshot; /* one of a machine, which goes on */
	/* With a kernel. A snapshot has its own, and needs the same disks, networks and ports. */
	const char *cmdline; /* NULL: "" */
	const char *initrd;  /* path; Linux's initrd, NetBSD's memory disk */
	uint64_t memory;     /* bytes; 256 MiB */
	uint32_t cpus;	     /* 1 */
	const mayfly_disk *disks;
	size_t ndisks;
	const mayfly_nic *nics;
	size_t nnics;
	const mayfly_port *ports;
	size_t nports;
	const mayfly_fw_file *fw;
	size_t nfw;
	/* The console's host end, duplicated; plus one, so that 0 means none. */
	int console_in_plus_one, console_out_plus_one;
	uint32_t flags;	     /* MAYFLY_MACHINE_ */
	uint64_t timeout_ns; /* wall clock of all runs together; 0: none */
	mayfly_machine_event_fn event;
	void *event_context;
	mayfly_notice_fn
		notice; /* gets what the user should know, such as that this is slow here */
	void *notice_context;
} mayfly_machine_options;

#define MAYFLY_MACHINE_OPTIONS_INIT                                                            \
	{                                                                                      \
		sizeof(mayfly_machine_options), NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL,   \
			0, NULL, 0, NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL                \
	}

/*
 * Make the VM, its devices, and load the kernel, or continue the snapshot; nothing runs yet, but
 * the thread of its first vCPU waits for the first run.
 * Free with mayfly_machine_free(). Errors: INVALID, IO (kernel, initrd, disk: which), FORMAT (not
 * a kernel: why), UNSUPPORTED, TOO_LARGE (memory), LIMIT (too many devices, ports or files), BUSY
 * (another machine has the disk), NOMEM, HYPERVISOR.
 */
MAYFLY_API int mayfly_machine_new(const mayfly_machine_options *options, mayfly_machine **out,
				  mayfly_error *err);
MAYFLY_API void mayfly_machine_free(mayfly_machine *machine);

typedef enum mayfly_machine_reason {
	MAYFLY_MACHINE_EXIT = 1,  /* by the exit port, with `status` */
	MAYFLY_MACHINE_RESET = 2, /* reboot or triple fault */
	MAYFLY_MACHINE_PAUSE = 3, /* at the point asked for: may be run on, or snapshotted */
	MAYFLY_MACHINE_OFF = 4	  /* powered off, by ACPI */
} mayfly_machine_reason;

typedef struct mayfly_machine_end {
	size_t size;
	mayfly_machine_reason reason;
	int status; /* 0 to 255 */
	/*
	 * Output of the console was lost, and all that followed: the errno of the first write
	 * that failed, in this run or an earlier one; 0: none did. That its reader left (EPIPE) is
	 * no loss. This field is set as well after TIMEOUT, INTERRUPTED, HYPERVISOR and NOMEM.
	 */
	int console_errno;
	/* RESET: by a triple fault, which is a crash, unless it is the guest's way to reboot. */
	bool triple_fault;
	bool fault_has_ip;  /* on some CPUs KVM cannot tell `fault_ip` */
	uint32_t fault_cpu; /* on this CPU, counted from 0, */
	uint64_t fault_ip;  /* at this instruction */
} mayfly_machine_end;

/* Where a run pauses. */
typedef struct mayfly_machine_pause {
	size_t size;
	const char *console; /* once the console has shown this text; NULL: not */
	bool port;	     /* when the guest writes the snapshot mark: see docs/kernels.md */
	uint64_t after_ns;   /* of running; 0: not */
} mayfly_machine_pause;

/*
 * Run until it ends or, with `pause` (may be NULL), pauses. `end->size` must be set. Errors: TIMEOUT,
 * INTERRUPTED, HYPERVISOR (an instruction that cannot be emulated: which, where), NOMEM: the
 * machine is of no more use; INVALID; PROTOCOL (it has ended before); BUSY.
 */
MAYFLY_API int mayfly_machine_run(mayfly_machine *machine, const mayfly_machine_pause *pause,
				  mayfly_machine_end *end, mayfly_error *err);

/* From any thread: the run that is under way, or the next, ends with INTERRUPTED. */
MAYFLY_API void mayfly_machine_interrupt(mayfly_machine *machine);

/* From any thread: the console's window has this size now. */
MAYFLY_API void mayfly_machine_resize(mayfly_machine *machine, uint16_t columns, uint16_t rows);

/*
 * Snapshot a machine that is paused: memory, vCPUs, interrupt controllers, clocks, devices. Disks
 * are not part of it, but a disk's private overlay is. Free with mayfly_snapshot_unref(). Errors:
 * INVALID (not paused), NOMEM, HYPERVISOR.
 */
MAYFLY_API int mayfly_machine_snapshot(mayfly_machine *machine, mayfly_snapshot **out,
				       mayfly_error *err);

/* The timeline, of MAYFLY_MACHINE_TIMELINE; not while it runs. */
#define MAYFLY_TIMELINE_TEXT 0	 /* a table */
#define MAYFLY_TIMELINE_CHROME 1 /* JSON for chrome://tracing and Perfetto */
/*
 * `started_ns`: CLOCK_MONOTONIC from which times count, such as the command's start. Errors:
 * INVALID, NOMEM.
 */
MAYFLY_API int mayfly_machine_timeline(mayfly_machine *machine, uint32_t format,
				       uint64_t started_ns, mayfly_write_fn write,
				       void *context, mayfly_error *err);

typedef struct mayfly_machine_stats {
	size_t size;
	uint64_t memory; /* bytes of guest memory that the host holds for it */
	uint64_t exits;	 /* to this process */
	uint64_t disk_requests;
	uint64_t packets;
} mayfly_machine_stats;

/* `stats->size` must be set. Errors: INVALID. */
MAYFLY_API int mayfly_machine_get_stats(mayfly_machine *machine, mayfly_machine_stats *stats,
					mayfly_error *err);

/* --- The host ----------------------------------------------------------------------------- */

typedef struct mayfly_host_info {
	size_t size;
	char hypervisor[16]; /* "pvm", "svm", "vmx", "kvm" (unknown kind) */
	char cpu[64];	     /* the CPU's brand string */
	int api_version;     /* KVM_GET_API_VERSION */
	uint64_t xcr0;	     /* vector state that guests may use (SDM vol. 1, 13.3) */
	uint32_t max_vcpus;
	uint32_t max_memslots;
	bool sync_regs;	       /* KVM_CAP_SYNC_REGS */
	bool manual_dirty_log; /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	bool readonly_memory;  /* KVM_CAP_READONLY_MEM */
	bool fsgsbase;	       /* lets a restore leave the segment bases to the guest's stub */
	bool ring0_native;     /* ring 0 runs on the CPU; false: it is interpreted (PVM) */
} mayfly_host_info;

/*
 * What this host's hypervisor is. `info->size` must be set. Errors: HYPERVISOR (missing, not
 * permitted, too old: with what to do), INVALID.
 */
MAYFLY_API int mayfly_host_get_info(mayfly_host_info *info, mayfly_error *err);

#ifdef __cplusplus
}
#endif

#endif
