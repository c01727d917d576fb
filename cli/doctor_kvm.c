/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "doctor.h"

#define CPUINFO_SIZE 16384 /* the first CPU is enough */

struct kvm_kind {
	const char *module;
	const char *name; /* as mayfly_host_info has it */
	const char *text;
};

static const struct kvm_kind kinds[] = {
	{"kvm_intel", "vmx", "Intel VMX"},
	{"kvm_amd", "svm", "AMD SVM"},
	{"kvm_pvm", "pvm", "PVM, in software: ring 0 is interpreted, ring 3 runs natively"},
};

/* Whether the CPU's flags have the word. */
static bool has_flag(const struct doctor *d, const char *flag)
{
	char text[CPUINFO_SIZE], *flags, *end;
	size_t len = strlen(flag);

	doctor_read(d, "/proc/cpuinfo", text, sizeof(text));
	flags = strstr(text, "\nflags");
	if (!flags)
		return false;
	end = strchr(++flags, '\n');
	if (end)
		*end = '\0';
	for (char *p = flags; (p = strstr(p, flag)); p += len)
		if (p[-1] == ' ' && (p[len] == ' ' || p[len] == '\0'))
			return true;
	return false;
}

static bool module_loaded(const struct doctor *d, const char *module)
{
	char name[64], path[PATH_MAX];

	snprintf(name, sizeof(name), "/sys/module/%s", module);
	return access(doctor_path(d, path, name), F_OK) == 0;
}

/* The loaded one of the modules that drive a CPU, or NULL. */
static const struct kvm_kind *loaded_kind(const struct doctor *d)
{
	for (size_t i = 0; i < COUNT_OF(kinds); i++)
		if (module_loaded(d, kinds[i].module))
			return &kinds[i];
	return NULL;
}

/* --- The device ------------------------------------------------------------------------------ */

static void device_missing(struct doctor *d)
{
	const struct kvm_kind *kind = loaded_kind(d);
	bool vmx = has_flag(d, "vmx"), svm = has_flag(d, "svm");

	doctor_add(d, LEVEL_PROBLEM, "/dev/kvm", "There is no /dev/kvm.");
	if (kind)
		doctor_advise(
			d,
			"%s is loaded, so this is probably a container: pass the device in "
			"(docker and podman: --device /dev/kvm).",
			kind->module);
	else if (vmx || svm)
		doctor_advise(d,
			      "The CPU can do it: load the module with 'modprobe %s'. In a "
			      "container, do so on the host and pass the device in (--device "
			      "/dev/kvm).",
			      vmx ? "kvm_intel" : "kvm_amd");
	else if (has_flag(d, "hypervisor"))
		doctor_advise(d,
			      "This is a virtual machine whose hypervisor hides the CPU's "
			      "virtualisation: switch nested virtualisation on there, or run "
			      "a kernel with PVM (modprobe kvm_pvm).");
	else
		doctor_advise(d, "The CPU shows neither vmx nor svm: switch virtualisation "
				 "(VT-x, AMD-V, SVM) on in the firmware, then 'modprobe "
				 "kvm_intel' or 'modprobe kvm_amd'.");
}

/* A user's name into a buffer, or the number. */
static const char *user_name(char *buf, size_t size)
{
	const struct passwd *pw = getpwuid(geteuid());

	if (pw)
		snprintf(buf, size, "%s", pw->pw_name);
	else
		snprintf(buf, size, "'#%u'", (unsigned)geteuid());
	return buf;
}

static void device_denied(struct doctor *d, const struct stat *st)
{
	const struct group *group = getgrgid(st->st_gid);
	bool group_may = (st->st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP);
	char user[64];

	user_name(user, sizeof(user));
	doctor_add(
		d, LEVEL_PROBLEM, "/dev/kvm",
		"There is a /dev/kvm, but no permission for %s: mode %04o, owner %u, group %s "
		"(%u).",
		user, (unsigned)st->st_mode & 07777, (unsigned)st->st_uid,
		group ? group->gr_name : "without a name", (unsigned)st->st_gid);
	if (group && group_may && st->st_gid != 0)
		doctor_advise(
			d,
			"Become a member of its group: 'sudo usermod -aG %s %s', then log in "
			"again (or 'newgrp %s' for one shell).",
			group->gr_name, user, group->gr_name);
	else
		doctor_advise(
			d,
			"Give it to a group: 'sudo groupadd -f kvm; sudo chgrp kvm /dev/kvm; "
			"sudo chmod 660 /dev/kvm; sudo usermod -aG kvm %s', then log in "
			"again. For good, by a udev rule: KERNEL==\"kvm\", GROUP=\"kvm\", "
			"MODE=\"0660\".",
			user);
}

/* Whether it can be opened; adds a finding if not. */
static bool check_device(struct doctor *d)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, e;

	doctor_path(d, path, "/dev/kvm");
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0) {
		close(fd);
		doctor_add(d, LEVEL_OK, "/dev/kvm", "can be opened");
		return true;
	}
	e = errno;
	if (e == ENOENT || e == ENOTDIR) {
		device_missing(d);
	} else if ((e == EACCES || e == EPERM) && stat(path, &st) == 0 &&
		   access(path, R_OK | W_OK) != 0) {
		device_denied(d, &st);
	} else {
		doctor_add(d, LEVEL_PROBLEM, "/dev/kvm", "Opening /dev/kvm fails: %s.",
			   strerror(e));
		if (e == EBUSY)
			doctor_advise(d, "Another hypervisor, such as VirtualBox, holds the "
					 "CPU's virtualisation: end its virtual machines.");
		else if (e == ENXIO || e == ENODEV)
			doctor_advise(d,
				      "The device is there, but no module behind it: "
				      "'modprobe kvm_intel', 'modprobe kvm_amd' or 'modprobe "
				      "kvm_pvm'.");
		else if (e == EACCES || e == EPERM)
			doctor_advise(
				d,
				"The file's mode would allow it, so a device policy "
				"(container, cgroup, SELinux, AppArmor) forbids it: allow the "
				"device there.");
	}
	return false;
}

/* --- The hypervisor -------------------------------------------------------------------------- */

static void check_kind(struct doctor *d)
{
	const struct kvm_kind *kind = loaded_kind(d);

	if (d->have_info)
		for (size_t i = 0; i < COUNT_OF(kinds); i++)
			if (strcmp(kinds[i].name, d->info.hypervisor) == 0)
				kind = &kinds[i];
	if (!kind)
		doctor_add(
			d, LEVEL_NOTE, "hypervisor",
			"KVM of a kind that is not known here; none of kvm_intel, kvm_amd and "
			"kvm_pvm shows in /sys/module.");
	else
		doctor_add(d, LEVEL_OK, "hypervisor", "KVM on %s", kind->text);
	if (kind && strcmp(kind->name, "pvm") != 0 && has_flag(d, "hypervisor")) {
		doctor_add(d, LEVEL_NOTE, "nested",
			   "This host is a virtual machine itself: each exit of a guest costs "
			   "several of the outer hypervisor.");
		doctor_advise(
			d, "A machine without one underneath (bare metal) is faster by far.");
	}
}

struct capability {
	const char *name;
	size_t offset; /* of a bool in mayfly_host_info */
	enum level level;
	const char *without;
	const char *advice;
};

static const struct capability capabilities[] = {
	{"sync_regs", offsetof(mayfly_host_info, sync_regs), LEVEL_PROBLEM,
	 "KVM lacks KVM_CAP_SYNC_REGS.", "Linux 4.17 or newer has it."},
	{"dirty_log", offsetof(mayfly_host_info, manual_dirty_log), LEVEL_PROBLEM,
	 "KVM lacks KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.", "Linux 5.1 or newer has it."},
	{"readonly_memory", offsetof(mayfly_host_info, readonly_memory), LEVEL_PROBLEM,
	 "KVM lacks KVM_CAP_READONLY_MEM.", "Linux 3.7 or newer has it."},
	{"fsgsbase", offsetof(mayfly_host_info, fsgsbase), LEVEL_NOTE,
	 "Guests have no FSGSBASE instructions, so that each restore resets the whole vCPU by "
	 "system calls.",
	 "Linux 5.9 or newer on a CPU with FSGSBASE has them; 'nofsgsbase' on the kernel's "
	 "command line switches them off."},
};

static void check_capabilities(struct doctor *d)
{
	for (size_t i = 0; i < COUNT_OF(capabilities); i++) {
		const struct capability *c = &capabilities[i];

		if (*(const bool *)((const char *)&d->info + c->offset))
			continue;
		doctor_add(d, c->level, c->name, "%s", c->without);
		doctor_advise(d, "%s", c->advice);
	}
	doctor_add(d, LEVEL_OK, "capabilities",
		   "API %d, %" PRIu32 " vCPUs and %" PRIu32
		   " memory slots a VM, vector state 0x%" PRIx64 "%s",
		   d->info.api_version, d->info.max_vcpus, d->info.max_memslots, d->info.xcr0,
		   (d->info.xcr0 & 0xe0) == 0xe0 ? " (AVX-512)"
		   : d->info.xcr0 & 4		 ? " (AVX)"
						 : " (SSE)");
}

/* Second-level page tables switched off: KVM falls back to shadow paging. */
static void check_paging(struct doctor *d)
{
	static const struct {
		const char *path, *module, *option;
	} tables[] = {
		{"/sys/module/kvm_intel/parameters/ept", "kvm_intel", "ept"},
		{"/sys/module/kvm_amd/parameters/npt", "kvm_amd", "npt"},
	};
	char value[16];

	for (size_t i = 0; i < COUNT_OF(tables); i++) {
		if (!doctor_read(d, tables[i].path, value, sizeof(value)) ||
		    (value[0] != 'N' && value[0] != '0'))
			continue;
		doctor_add(d, LEVEL_NOTE, tables[i].option,
			   "%s runs without %s, so that page faults of guests are dear.",
			   tables[i].module, tables[i].option);
		doctor_advise(d, "Reload it with 'modprobe %s %s=1', unless the CPU has none.",
			      tables[i].module, tables[i].option);
	}
}

void doctor_check_kvm(struct doctor *d)
{
	mayfly_error err;

	if (!check_device(d))
		return;
	/* Below a sysroot the device is a pretence, and the library would look at the real one. */
	if (!*d->sysroot) {
		d->info.size = sizeof(d->info);
		d->have_info = mayfly_host_get_info(&d->info, &err) == MAYFLY_OK;
		if (!d->have_info) {
			doctor_add(d, LEVEL_PROBLEM, "hypervisor", "%s.", err.message);
			return;
		}
	}
	check_kind(d);
	check_paging(d);
	if (d->have_info)
		check_capabilities(d);
}
