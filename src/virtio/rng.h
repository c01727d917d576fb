/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2, 5.4): the host's random numbers, getrandom(2). */
#ifndef MAYFLY_VIRTIO_RNG_H
#define MAYFLY_VIRTIO_RNG_H

#include "virtio/device.h"

/* Errors: NOMEM. */
int rng_new(struct virtio_device **out, mayfly_error *err);

#endif
