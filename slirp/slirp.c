/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-slirp: a guest's network by libslirp, in a process that has nothing but its sockets. See
 * mayfly-slirp(8). Frames come and go on a socket that was inherited; where that ends, we do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "filter.h"
#include "jail.h"
#include "machine/slirp_protocol.h"

#define GUEST_FD 3
#define MAX_FRAME 65550 /* as virtio-net has it */
#define MTU 1500
#define FRAME_BUDGET 64 /* of the guest, before its connections have their turn */
#define MAX_FORWARDS 256
/* After so many turns in which no frame went either way, we rest a little. */
#define IDLE_TURNS 32
#define REST_MS 10

struct forward {
	struct in_addr address;
	uint16_t host, guest;
	bool udp;
	const char *text;
};

struct helper {
	Slirp *slirp;
	struct filter filter;
	struct pollfd fds[JAIL_MAX_FILES + 1]; /* the guest's first */
	nfds_t nfds;
	bool full; /* the guest's socket is: leave in the kernel what comes for it */
	uint64_t frames;
	uint8_t frame[MAX_FRAME];
	uint8_t changed[MAX_FRAME];
};

/* --- what libslirp calls ------------------------------------------------------------------------ */

static ssize_t send_packet(const void *frame, size_t len, void *opaque)
{
	struct helper *h = opaque;

	if (len > sizeof(h->changed))
		return (ssize_t)len;
	memcpy(h->changed, frame, len);
	filter_to_guest(&h->filter, h->changed, len, clock_now());
	h->frames++;
	/* A frame that finds no room is lost, as on any network. */
	if (send(GUEST_FD, h->changed, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
		h->full = true;
	return (ssize_t)len;
}

static void guest_error(const char *message, void *opaque)
{
	(void)message; /* the guest's fault, and nobody else's business */
	(void)opaque;
}

static int64_t clock_get_ns(void *opaque)
{
	(void)opaque;
	return (int64_t)clock_now();
}

/* We ask libslirp for all its descriptors before each poll(2). */
static void poll_fd_changed(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void notify(void *opaque)
{
	(void)opaque; /* all is done on one thread, between two polls */
}

/* Timers are for IPv6, which is off. */
static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.register_poll_fd = poll_fd_changed,
	.unregister_poll_fd = poll_fd_changed,
	.notify = notify,
};

static Slirp *new_slirp(struct helper *h)
{
	const SlirpConfig config = {
		.version = SLIRP_CONFIG_VERSION_MIN,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(NET_ADDRESS),
		.vnetmask.s_addr = htonl(NET_MASK),
		.vhost.s_addr = htonl(NET_GATEWAY),
		.vdhcp_start.s_addr = htonl(NET_GUEST),
		.vnameserver.s_addr = htonl(NET_NAMESERVER),
		.if_mtu = MTU,
		.if_mru = MTU,
		.disable_host_loopback = !h->filter.host,
	};

	return slirp_new(&config, &callbacks, h);
}

/* --- the loop ----------------------------------------------------------------------------------- */

static int add_poll(int fd, int events, void *opaque)
{
	struct helper *h = opaque;
	short wanted = 0;

	if (h->nfds == sizeof(h->fds) / sizeof(h->fds[0]))
		return -1;
	if (events & SLIRP_POLL_IN && !h->full)
		wanted |= POLLIN;
	if (events & SLIRP_POLL_OUT)
		wanted |= POLLOUT;
	if (events & SLIRP_POLL_PRI && !h->full)
		wanted |= POLLPRI;
	/* Errors and the end are reported asked or unasked: not to be asked at all, then. */
	h->fds[h->nfds] = (struct pollfd){.fd = wanted ? fd : -1, .events = wanted};
	return (int)h->nfds++;
}

static int get_events(int index, void *opaque)
{
	const struct helper *h = opaque;
	int got, events = 0;

	if (index < 0 || (nfds_t)index >= h->nfds)
		return 0;
	got = h->fds[index].revents;
	if (h->full)
		got &= ~(POLLIN | POLLPRI);
	if (got & POLLIN)
		events |= SLIRP_POLL_IN;
	if (got & POLLOUT)
		events |= SLIRP_POLL_OUT;
	if (got & POLLPRI)
		events |= SLIRP_POLL_PRI;
	if (got & POLLERR)
		events |= SLIRP_POLL_ERR;
	if (got & POLLHUP)
		events |= SLIRP_POLL_HUP;
	return events;
}

static void take_frames(struct helper *h)
{
	for (int i = 0; i < FRAME_BUDGET; i++) {
		ssize_t len = recv(GUEST_FD, h->frame, sizeof(h->frame), MSG_DONTWAIT);

		if (len < 0)
			return;
		h->frames++;
		if (filter_from_guest(&h->filter, h->frame, (size_t)len, clock_now()))
			slirp_input(h->slirp, h->frame, (int)len);
	}
}

/* Whether the guest's socket takes many frames more: what comes for it can wait in the kernel. */
static bool has_room(void)
{
	struct pollfd guest = {.fd = GUEST_FD, .events = POLLOUT};

	return poll(&guest, 1, 0) > 0 && guest.revents & POLLOUT;
}

/*
 * One turn. `rest`: with the guest alone, and not for long. Gives what poll(2) did; *events: the
 * guest's.
 */
static int turn(struct helper *h, bool rest, short *events)
{
	uint32_t timeout = UINT32_MAX;
	int ready;

	h->nfds = 1;
	slirp_pollfds_fill(h->slirp, &timeout, add_poll, h);
	h->fds[0] = (struct pollfd){
		.fd = GUEST_FD,
		.events = (short)(POLLIN | POLLRDHUP | (h->full ? POLLOUT : 0)),
	};
	if (rest)
		ready = poll(h->fds, 1, REST_MS);
	else
		ready = poll(h->fds, h->nfds, timeout > INT32_MAX ? -1 : (int)timeout);
	*events = h->fds[0].revents;
	if (ready <= 0)
		*events = 0;
	if (*events & POLLIN)
		take_frames(h);
	h->full = !has_room();
	slirp_pollfds_poll(h->slirp, ready < 0 || rest, get_events, h);
	return ready;
}

/* Until the guest's socket ends. */
static void serve(struct helper *h)
{
	const short end = POLLHUP | POLLRDHUP | POLLERR | POLLNVAL;
	unsigned idle = 0;
	short events = 0;

	/*
	 * A socket may be ready for what cannot be done, as a connection to accept when there are
	 * no descriptors left: then every so many turns we rest.
	 */
	while (!(events & end)) {
		uint64_t frames = h->frames;
		bool rest = idle >= IDLE_TURNS;
		int ready = turn(h, rest, &events);

		if (rest)
			idle = IDLE_TURNS - 1;
		else
			idle = ready > 0 && h->frames == frames ? idle + 1 : 0;
	}
}

/* --- start -------------------------------------------------------------------------------------- */

static void say_hello(int errnum, const char *what, const char *detail)
{
	struct slirp_hello hello = {.protocol = SLIRP_PROTOCOL, .errnum = errnum};

	if (what)
		snprintf(hello.message, sizeof(hello.message), "%s%s%s", what,
			 detail ? ": " : "", detail ? detail : "");
	(void)send(GUEST_FD, &hello, sizeof(hello), MSG_NOSIGNAL);
}

static _Noreturn void die(int errnum, const char *what)
{
	fprintf(stderr, "mayfly-slirp: %s%s%s\n", what, errnum ? ": " : "",
		errnum ? strerror(errnum) : "");
	say_hello(errnum, what, errnum ? strerror(errnum) : NULL);
	exit(1);
}

static void usage(FILE *to)
{
	fputs("usage: mayfly-slirp [--host] [--tcp [ADDRESS:]HOST:GUEST]... "
	      "[--udp [ADDRESS:]HOST:GUEST]... DESCRIPTOR\n"
	      "\n"
	      "A network for a virtual machine, started by mayfly boot. Ethernet frames come "
	      "and go\n"
	      "by DESCRIPTOR, a socket that keeps messages apart.\n"
	      "\n"
	      "  --host  let the guest reach this host, as 10.0.2.2\n"
	      "  --tcp   have the port HOST of this host, on ADDRESS or 127.0.0.1, lead to "
	      "the\n"
	      "          guest's port GUEST\n"
	      "  --udp   the same\n",
	      to);
}

static bool parse_number(const char **text, uint16_t *out)
{
	char *end;
	unsigned long v;

	if (**text < '0' || **text > '9')
		return false;
	v = strtoul(*text, &end, 10);
	if (v == 0 || v > UINT16_MAX)
		return false;
	*text = end;
	*out = (uint16_t)v;
	return true;
}

/* [ADDRESS:]HOST:GUEST */
static bool parse_forward(const char *text, bool udp, struct forward *out)
{
	const char *at = text, *last = strrchr(text, ':');
	const char *first = strchr(text, ':');
	char address[INET_ADDRSTRLEN];

	*out = (struct forward){
		.address.s_addr = htonl(INADDR_LOOPBACK), .udp = udp, .text = text};
	if (first && first != last) {
		size_t len = (size_t)(first - text);

		if (len >= sizeof(address))
			return false;
		memcpy(address, text, len);
		address[len] = '\0';
		if (inet_pton(AF_INET, address, &out->address) != 1)
			return false;
		at = first + 1;
	}
	if (!parse_number(&at, &out->host) || *at++ != ':')
		return false;
	return parse_number(&at, &out->guest) && *at == '\0';
}

struct arguments {
	struct forward forwards[MAX_FORWARDS];
	size_t nforwards;
	bool host;
	int fd;
};

static void parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{"host", no_argument, NULL, 'H'},
		{"tcp", required_argument, NULL, 't'},
		{"udp", required_argument, NULL, 'u'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option, type;
	socklen_t len = sizeof(type);
	uint16_t fd;
	const char *text;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			usage(stdout);
			exit(0);
		}
		if (option == 'H') {
			a->host = true;
		} else if (option == '?' || a->nforwards == MAX_FORWARDS ||
			   !parse_forward(optarg, option == 'u',
					  &a->forwards[a->nforwards++])) {
			usage(stderr);
			exit(1);
		}
	}
	text = argv[optind];
	if (!text || argv[optind + 1] || !parse_number(&text, &fd) || *text) {
		usage(stderr);
		exit(1);
	}
	a->fd = fd;
	if (getsockopt(a->fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    (type != SOCK_SEQPACKET && type != SOCK_DGRAM)) {
		fprintf(stderr,
			"mayfly-slirp: descriptor %d is no socket that keeps messages "
			"apart\n",
			a->fd);
		exit(1);
	}
}

/* No descriptor but the guest's and those of the standard streams, which lead nowhere. */
static void close_all(int guest)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0)
		die(errno, "cannot open /dev/null");
	if (guest != GUEST_FD && dup2(guest, GUEST_FD) < 0)
		die(errno, "dup2");
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		die(errno, "dup2");
	if (close_range(GUEST_FD + 1, ~0u, 0) < 0)
		die(errno, "close_range");
	if (fcntl(GUEST_FD, F_SETFD, FD_CLOEXEC) < 0)
		die(errno, "fcntl");
}

static void open_forwards(struct helper *h, const struct arguments *a)
{
	const struct in_addr guest = {.s_addr = htonl(NET_GUEST)};

	for (size_t i = 0; i < a->nforwards; i++) {
		const struct forward *f = &a->forwards[i];
		char what[160], address[INET_ADDRSTRLEN];

		if (slirp_add_hostfwd(h->slirp, f->udp, f->address, f->host, guest, f->guest) ==
		    0)
			continue;
		inet_ntop(AF_INET, &f->address, address, sizeof(address));
		snprintf(what, sizeof(what), "cannot listen on %s port %u of %s%s",
			 f->udp ? "UDP" : "TCP", f->host, address,
			 errno == EADDRINUSE ? ", where another program does"
			 : errno == EACCES   ? ", which is for root"
					     : "");
		die(errno, what);
	}
}

int main(int argc, char **argv)
{
	static struct arguments arguments;
	static struct helper helper;
	const char *failed;

	parse(argc, argv, &arguments);
	close_all(arguments.fd);
	signal(SIGPIPE, SIG_IGN);
	if (chdir("/") < 0)
		die(errno, "chdir");
	if (!filter_init(&helper.filter, arguments.host))
		die(errno, "cannot list this host's addresses");
	helper.slirp = new_slirp(&helper);
	if (!helper.slirp)
		die(0, "libslirp does not start");
	open_forwards(&helper, &arguments);
	failed = jail_enter();
	if (failed)
		die(errno, failed);
	say_hello(0, NULL, NULL);
	serve(&helper);
	return 0;
}
