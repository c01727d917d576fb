/* SPDX-License-Identifier: Apache-2.0 */
/* What booting kernels takes beyond a hypervisor. */
#include "doctor.h"

void doctor_check_kernels(struct doctor *d)
{
	/* Below a sysroot the hypervisor is not asked. */
	if (!d->have_info)
		return;
	if (d->info.ring0_native) {
		doctor_add(d, LEVEL_OK, "kernels", "their code in ring 0 runs on the CPU");
		return;
	}
	doctor_add(d, LEVEL_NOTE, "kernels",
		   "The hypervisor (%s) interprets what a kernel does in ring 0: 'mayfly boot' "
		   "works, but slowly, and a kernel that needs an instruction that the "
		   "hypervisor does not know ends there.",
		   d->info.hypervisor);
	doctor_advise(d, "Boot kernels on a host whose KVM has VMX or SVM.");
}
