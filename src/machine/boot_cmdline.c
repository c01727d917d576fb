/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "machine/boot.h"
#include "virtio/mmio.h"

/*
 * What Linux had better know of this machine (its Documentation/admin-guide/kernel-parameters.txt):
 * a reset is the keyboard controller's, and is what follows a panic; there is no PCI; nothing is
 * behind the keyboard controller, so nobody needs to look for long.
 */
static const char *const linux_words[] = {
	"reboot=k",    "panic=-1",    "pci=off",       "i8042.noaux",
	"i8042.nomux", "i8042.nopnp", "i8042.dumbkbd",
};

struct line {
	char *to;
	size_t size, len;
	bool full;
};

/* A word, after a single space if it is not the first. */
static void add_bytes(struct line *l, const char *word, size_t len)
{
	size_t space = l->len ? 1 : 0;

	if (len == 0)
		return;
	if (l->full || len + space >= l->size - l->len) {
		l->full = true;
		return;
	}
	if (space)
		l->to[l->len++] = ' ';
	memcpy(l->to + l->len, word, len);
	l->len += len;
	l->to[l->len] = '\0';
}

static void add(struct line *l, const char *word)
{
	add_bytes(l, word, strlen(word));
}

/* Whether one of the words of `s` begins with `key`, of `len` bytes. */
static bool says(const char *s, size_t s_len, const char *key, size_t len)
{
	for (size_t i = 0; i < s_len; i++)
		if ((i == 0 || s[i - 1] == ' ') && s_len - i >= len &&
		    memcmp(s + i, key, len) == 0)
			return true;
	return false;
}

static const char *console_word(const struct boot_config *c, enum kernel_system system)
{
	bool serial = c->console == BOOT_CONSOLE_SERIAL;

	if (c->console == BOOT_CONSOLE_UNSAID || system == KERNEL_OTHER)
		return NULL;
	if (system == KERNEL_NETBSD)
		return serial ? "console=com" : "console=viocon";
	return serial ? "console=ttyS0" : "console=hvc0";
}

/* A word counts as said with any value, or none: up to and with its "=". */
static size_t key_len(const char *word)
{
	const char *equal = strchr(word, '=');

	return equal ? (size_t)(equal - word) + 1 : strlen(word);
}

static void add_linux_words(struct line *l, const char *user, size_t user_len)
{
	for (size_t i = 0; i < ARRAY_SIZE(linux_words); i++)
		if (!says(user, user_len, linux_words[i], key_len(linux_words[i])))
			add(l, linux_words[i]);
}

static void add_devices(struct line *l, const struct boot_config *c)
{
	char word[80];

	for (uint32_t i = 0; i < c->ndevices; i++) {
		snprintf(word, sizeof(word), "virtio_mmio.device=%u@0x%llx:%u", VIRTIO_MMIO_LEN,
			 (unsigned long long)c->devices[i].base, c->devices[i].irq);
		add(l, word);
	}
}

/* Where what Linux hands to init begins, at its " -- ", else the end. */
static size_t kernel_part(const char *user, enum kernel_system system)
{
	size_t len = strlen(user);

	if (system != KERNEL_LINUX)
		return len;
	if (strncmp(user, "-- ", 3) == 0)
		return 0;
	for (size_t i = 0; i + 3 <= len; i++)
		if (memcmp(user + i, " --", 3) == 0 && (user[i + 3] == ' ' || !user[i + 3]))
			return i;
	return len;
}

/* Spaces around it go: NetBSD takes the empty word at the end for a device. */
static void add_trimmed(struct line *l, const char *s, size_t len)
{
	while (len && s[len - 1] == ' ')
		len--;
	while (len && *s == ' ') {
		s++;
		len--;
	}
	add_bytes(l, s, len);
}

int boot_cmdline(const struct boot_config *config, enum kernel_system system, char *to,
		 size_t size, mayfly_error *err)
{
	struct line l = {.to = to, .size = size};
	const char *user = config->cmdline;
	size_t part = kernel_part(user, system);
	const char *console = console_word(config, system);

	to[0] = '\0';
	if (config->bare) {
		add(&l, user);
	} else {
		if (console && says(user, part, "console=", 8))
			console = NULL;
		if (console && system == KERNEL_NETBSD)
			add(&l, console);
		add_trimmed(&l, user, part);
		if (console && system == KERNEL_LINUX)
			add(&l, console);
		if (system == KERNEL_LINUX)
			add_linux_words(&l, user, part);
		add_devices(&l, config);
		add_trimmed(&l, user + part, strlen(user + part));
	}
	if (l.full)
		return fail(
			err, MAYFLY_E_TOO_LARGE,
			"the command line is too long: with what is added for the kernel it "
			"may have %zu bytes",
			size - 1);
	return MAYFLY_OK;
}
