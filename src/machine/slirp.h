/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network without privileges: the helper process mayfly-slirp, started with one end of a socket
 * that carries Ethernet frames. Whatever is wrong with packets is the helper's problem, which has
 * no rights (slirp/). Where it ends, the socket ends, and the guest's link goes down (net.c).
 */
#ifndef MAYFLY_MACHINE_SLIRP_H
#define MAYFLY_MACHINE_SLIRP_H

#include "machine/loop.h"

struct slirp;

struct slirp_config {
	/*
	 * The helper; NULL: mayfly-slirp beside the running executable, if the owner of that one
	 * put it there (so it is found where nothing was installed), else where it is installed.
	 */
	const char *helper;
	const mayfly_forward *forwards; /* borrowed for the call */
	size_t nforwards;
	bool host; /* 10.0.2.2 is this host, whose own ports the guest then reaches */
};

/*
 * Start the helper; it gets ready by itself, while the caller does other things. Errors: INVALID
 * (a forward makes no sense), IO (there is no helper, or it cannot be started: what to do), NOMEM.
 */
int slirp_start(const struct slirp_config *config, struct slirp **out, mayfly_error *err);
/*
 * Wait until it is ready: its ports are bound, its rights are gone. Then *fd, which belongs to
 * the caller and does not block, carries frames (net_config.fd; not a tap). Errors: those that
 * the helper reports, IO (address in use, ...) or INVALID; IO where it died.
 */
int slirp_ready(struct slirp *s, int *fd, mayfly_error *err);
/*
 * Once it is ready: have `loop` notice its end, so that no dead process is left while the machine
 * goes on. Before the loop runs. Errors: NOMEM.
 */
int slirp_watch(struct slirp *s, struct loop *loop, mayfly_error *err);
/*
 * End it and wait for that, which its socket's end brings about: free the device first. The loop
 * does not run. NULL is allowed.
 */
void slirp_free(struct slirp *s);

#endif
