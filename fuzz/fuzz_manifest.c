/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a manifest, as a damaged or hostile snapshot file has them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "fuzz.h"
#include "function/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest m = {0};
	mayfly_error err;
	uint8_t *again;
	size_t len;
	int r;

	r = manifest_decode(data, size, FN_IMAGE_MIN_VA, FN_IMAGE_MAX_VA, &m, &err);
	if (r < 0) {
		fuzz_check_error(r, &err);
		CHECK(!m.exports && !m.imports && !m.symbols);
		return 0;
	}
	/* What is accepted has one encoding only. */
	CHECK(manifest_encode(&m, &again, &len, &err) == MAYFLY_OK);
	CHECK(len == size && (len == 0 || memcmp(again, data, len) == 0));
	free(again);
	fuzz_check_manifest(&m, FN_IMAGE_MIN_VA, FN_IMAGE_MAX_VA);
	manifest_fini(&m);
	return 0;
}
