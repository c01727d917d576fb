/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the library and mayfly-slirp: one message from the helper, once it is ready or has
 * failed; from then on each message, either way, is an Ethernet frame.
 */
#ifndef MAYFLY_MACHINE_SLIRP_PROTOCOL_H
#define MAYFLY_MACHINE_SLIRP_PROTOCOL_H

#include <stdint.h>

#define SLIRP_PROTOCOL 0x4d535031u /* "MSP", version 1 */

struct slirp_hello {
	uint32_t protocol;
	int32_t errnum;	   /* of what failed, or 0 */
	char message[392]; /* what failed, terminated; empty: it is ready */
};

#endif
