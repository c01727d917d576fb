/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly boot: an operating system's kernel, in a micro-VM. */
#include "boot_options.h"
#include "cli.h"
#include "machine.h"
#include "options.h"
#include "samples.h"

struct boot_verb_options {
	struct boot_options boot;
	const char *from;
};

static const struct option_spec boot_options[] = {
	{.name = "from",
	 .letter = 'f',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 .offset = offsetof(struct boot_verb_options, from),
	 .help = "Continue a machine that 'mayfly snapshot' saved, instead of booting a "
		 "KERNEL. It needs the same disks, networks and ports."},
};

static const char boot_details[] =
	"KERNEL is Linux's vmlinux or bzImage, NetBSD's MICROVM kernel, or any ELF file with "
	"a\n"
	"PVH entry. Its console is the terminal; Ctrl-A x ends it, Ctrl-A h shows other keys.\n"
	"  mayfly boot --initrd initrd.img --cmdline 'quiet' vmlinuz\n"
	"  mayfly boot --disk root.img --net user,publish=2222:22 --rng netbsd-MICROVM\n"
	"\n"
	"Exit status: what the guest gives to the exit port; 0 if it reboots, powers off or\n"
	"faults thrice; 124 the time limit was reached; 125 mayfly failed, or output that it\n"
	"could not write was lost; 126 KERNEL is none; 127 there is no KERNEL; 128+n it was\n"
	"ended by signal n, Ctrl-A x being SIGINT.\n";

static int boot(const struct boot_verb_options *o, const char *kernel, uint64_t began_ns)
{
	struct machine m = {.began_ns = began_ns};
	mayfly_machine_end end;
	int status = machine_init(&m, &verb_boot, &o->boot);

	if (status == STATUS_OK)
		status = o->from ? machine_new_from(&m, o->from) : machine_new(&m, kernel);
	if (status == STATUS_OK)
		status = machine_run(&m, NULL, &end);
	if (status == STATUS_OK)
		status = machine_status(&end);
	return machine_fini(&m, status);
}

static int check(const struct boot_verb_options *o, int noperands)
{
	const char *fixed = boot_option_fixed(&o->boot);

	if (!o->from && noperands == 0)
		return usage_error(&verb_boot, "a KERNEL is missing");
	if (o->from && noperands > 0)
		return usage_error(&verb_boot,
				   "--from continues a kernel: there is none to boot");
	if (noperands > 1)
		return usage_error(&verb_boot, "one KERNEL at a time; its command line is "
					       "--cmdline's");
	if (o->from && fixed)
		return usage_error(&verb_boot,
				   "--%s is fixed in a snapshot: give it to 'mayfly snapshot'",
				   fixed);
	return STATUS_OK;
}

static int run_boot(int argc, char **argv)
{
	struct boot_verb_options options = {.from = NULL};
	uint64_t began_ns = now_ns();
	int first = options_parse(&verb_boot, argc, argv, &options);
	int status;

	if (first < 0)
		status = first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	else
		status = check(&options, argc - first);
	if (first >= 0 && status == STATUS_OK)
		status = boot(&options, argv[first], began_ns);
	boot_options_fini(&options.boot);
	return status;
}

const struct verb verb_boot = {
	.name = "boot",
	.summary = "An operating system's kernel, in a micro-VM.",
	.synopsis = "KERNEL",
	.details = boot_details,
	.operands = OPERANDS_KERNEL,
	.options = boot_options,
	.noptions = COUNT_OF(boot_options),
	.shared = &boot_option_table,
	.run = run_boot,
};
