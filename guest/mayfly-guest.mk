# SPDX-License-Identifier: Apache-2.0
# For makefiles that build function guests:
#
#	include /usr/share/mayfly/mayfly-guest.mk
#
#	plugin: plugin.c
#		$(CC) $(GUEST_CFLAGS) $(CFLAGS) -o $@ $< $(GUEST_LDFLAGS) $(GUEST_LDLIBS)
#
# Set MAYFLY_INCLUDEDIR and MAYFLY_LIBDIR where header and library are not on the compiler's own
# path. GUEST_STATIC may be -static (an executable at a fixed address) or -static-pie, the default.

GUEST_STATIC ?= -static-pie

# -U_FORTIFY_SOURCE: some distributions' compilers set it, and then call the C library's checks.
GUEST_CFLAGS := $(if $(MAYFLY_INCLUDEDIR),-I$(MAYFLY_INCLUDEDIR)) \
	-O2 -g -fPIE -U_FORTIFY_SOURCE \
	-fstack-protector-strong -fstack-clash-protection -fcf-protection=none \
	-ffunction-sections -fdata-sections -fno-math-errno

# -e 0: there is no entry point. norelro: nobody would make that part read-only.
GUEST_LDFLAGS := $(GUEST_STATIC) -nostdlib -nostartfiles \
	-Wl,-e,0 -Wl,--gc-sections -Wl,--build-id \
	-Wl,-z,noexecstack -Wl,-z,separate-code -Wl,-z,norelro -Wl,-z,max-page-size=4096

GUEST_LDLIBS := $(if $(MAYFLY_LIBDIR),-L$(MAYFLY_LIBDIR)) -lmayfly_guest -lgcc
