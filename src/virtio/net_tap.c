/* SPDX-License-Identifier: Apache-2.0 */
/* Tap devices: Documentation/networking/tuntap.rst and drivers/net/tun.c of Linux. */
#include "virtio/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "virtio/net.h"

#define TUN_DEVICE "/dev/net/tun"
#define STANDARD_MTU 1500

/* Why TUNSETIFF failed, and what to do. */
static int refused(const char *name, int errnum, mayfly_error *err)
{
	switch (errnum) {
	case EPERM:
		return fail_errno(err, MAYFLY_E_IO, errnum,
				  "tap device %s is not ours to open: give it to this user, "
				  "`ip tuntap add dev %s mode tap user %ld`",
				  name, name, (long)geteuid());
	case EBUSY:
		return fail_errno(err, MAYFLY_E_IO, errnum,
				  "tap device %s is in use by another program, perhaps another "
				  "machine",
				  name);
	case EINVAL:
		return fail_errno(err, MAYFLY_E_INVALID, errnum,
				  "%s is no tap device, or one with several queues", name);
	default:
		return fail_errno(err, MAYFLY_E_IO, errnum, "cannot open tap device %s", name);
	}
}

int net_open_tap(const char *name, int *fd, mayfly_error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	size_t len = strlen(name);
	_cleanup_close_ int tap = -1;

	if (len == 0 || len >= sizeof(request.ifr_name) || strpbrk(name, "/%"))
		return fail(
			err, MAYFLY_E_INVALID,
			"\"%s\" is no name of a network device: those have 1 to %zu letters",
			name, sizeof(request.ifr_name) - 1);
	/* TUNSETIFF would make a device, which nothing connects to, and only for root. */
	if (!if_nametoindex(name))
		return fail(
			err, MAYFLY_E_IO,
			"there is no network device %s: make it by `ip tuntap add dev %s mode "
			"tap user %ld` and `ip link set %s up`",
			name, name, (long)geteuid(), name);
	memcpy(request.ifr_name, name, len);
	tap = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap < 0 && errno == ENOENT)
		return fail_errno(err, MAYFLY_E_IO, errno,
				  "cannot open " TUN_DEVICE ": try `modprobe tun`");
	if (tap < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "cannot open " TUN_DEVICE);
	if (ioctl(tap, TUNSETIFF, &request) < 0)
		return refused(name, errno, err);
	*fd = take_fd(&tap);
	return 0;
}

static unsigned offload_flags(uint64_t features)
{
	static const struct {
		unsigned feature, flag;
	} table[] = {
		{VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM},
		{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
		{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
		{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
	};
	unsigned flags = 0;

	/* The rest needs checksums left out (5.1.3.1), and the kernel insists on it. */
	if (!(features & (uint64_t)1 << VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (features & (uint64_t)1 << table[i].feature)
			flags |= table[i].flag;
	/* Congestion is told of in segments of TCP only. */
	return flags & (TUN_F_TSO4 | TUN_F_TSO6) ? flags : flags & ~(unsigned)TUN_F_TSO_ECN;
}

static uint16_t device_mtu(int fd)
{
	struct ifreq request = {0};
	_cleanup_close_ int s = -1;

	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return 0;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0 || ioctl(s, SIOCGIFMTU, &request) < 0)
		return 0;
	/* Virtio's limits (5.1.4.1). */
	if (request.ifr_mtu == STANDARD_MTU || request.ifr_mtu < 68 ||
	    request.ifr_mtu > UINT16_MAX)
		return 0;
	return (uint16_t)request.ifr_mtu;
}

uint64_t net_tap_prepare(int fd, uint64_t wanted, uint16_t *mtu)
{
	int header = sizeof(struct virtio_net_hdr);

	/* The size is the device's, and whoever had it before may have changed it. */
	(void)ioctl(fd, TUNSETVNETHDRSZ, &header);
	if (!*mtu)
		*mtu = device_mtu(fd);
	if (ioctl(fd, TUNSETOFFLOAD, offload_flags(wanted)) < 0)
		return 0;
	(void)ioctl(fd, TUNSETOFFLOAD, 0);
	return wanted;
}

void net_tap_offload(int fd, uint64_t features)
{
	(void)ioctl(fd, TUNSETOFFLOAD, offload_flags(features));
}
