# SPDX-License-Identifier: Apache-2.0
# What people type. The build itself is Meson's (meson.build); this file does the set-up before it
# and finds the results after it. `make help` lists what there is.
#
# CC, CFLAGS, CPPFLAGS and LDFLAGS are taken from the environment or the command line, so are:
#   PREFIX, LIBDIR   where to install; /usr/local unless set
#   DESTDIR          put in front of all that is installed
#   WERROR=1         warnings are errors
#   MESON_OPTIONS    more options for `meson setup`
#   STEPS            what `make check` runs, all by default; `tools/check --list` names them
#   CI=1             `make check` installs the programs that it runs in VMs, too; else those that
#                    are missing are skipped, by name (`tools/setup programs` installs them)
#   FUZZ_SECONDS     how long `make fuzz` and `make check` run the fuzzer of system calls, the others a tenth; 60
#   FUZZ_SEED        what they begin from: 1 in `make check`, 0 in `make fuzz`, which is another each time

BUILD := build

# Given options only: what is not given stays as it was configured.
meson_options := \
	$(if $(PREFIX),-Dprefix=$(PREFIX)) \
	$(if $(LIBDIR),-Dlibdir=$(LIBDIR)) \
	$(if $(WERROR),-Dwerror=$(if $(filter 0 no false,$(WERROR)),false,true)) \
	$(MESON_OPTIONS)

.DEFAULT_GOAL := all
.PHONY: all configure demo check test lint bench lab fuzz format install uninstall clean distclean help

all: configure
	@ninja -C $(BUILD) $(if $(V),-v,--quiet)
	@ln -sfn tests/guest $(BUILD)/guests

configure:
	@tools/setup --check build
	@tools/configure $(BUILD) $(strip $(meson_options))

# --- set-up, build and a show, or the tests -------------------------------------------------------

demo:
	@tools/setup build
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

check:
	@tools/setup build check lab $(if $(CI),programs)
	@tools/check --build $(BUILD) $(STEPS)

# The quick part of it, for in between: no set-up, no lab, no sanitizers, no analysers.
test: all
	@tools/check --build $(BUILD) $(or $(STEPS),unit api cli)

lint: all
	@tools/check --build $(BUILD) sources symbols headers format tidy cppcheck scripts

bench: all
	@$(BUILD)/mayfly bench

lab: all
	@tools/setup --check lab
	@tools/check --build $(BUILD) lab

fuzz:
	@tools/setup --check build check
	@FUZZ_SEED=$(or $(FUZZ_SEED),0) tools/check --build $(BUILD) fuzz

format:
	@tools/format

# --- installation ---------------------------------------------------------------------------------

install: all
	@meson install -C $(BUILD) --no-rebuild --quiet $(if $(DESTDIR),--destdir '$(abspath $(DESTDIR))')

uninstall:
	@ninja -C $(BUILD) --quiet uninstall

# --- cleaning -------------------------------------------------------------------------------------

# Keeps how the build was configured, and the lab's kernel, which was downloaded.
clean:
	@[ ! -e $(BUILD)/build.ninja ] || ninja -C $(BUILD) --quiet clean
	@rm -rf $(BUILD)/asan $(BUILD)/fuzz $(BUILD)/check

distclean:
	@rm -rf $(BUILD)

help:
	@printf '%s\n' \
	'make            build the command, the libraries and the guests in $(BUILD)/' \
	'make demo       install what the build needs, build, show the library at work, measure it' \
	'make check      install what the tests need, build, run every test (STEPS="unit api" for some)' \
	'make test       the quick tests, on what is installed' \
	'make lint       the checks of the sources and the static analysers' \
	'make bench      measure: starting, calling, restoring' \
	'make lab        the tests that use KVM, in an emulated PC with hardware virtualisation' \
	'make fuzz       the fuzzers, FUZZ_SECONDS=60' \
	'make format     lay out the sources by .clang-format' \
	'make install    to PREFIX=/usr/local, below DESTDIR if set; uninstall takes it back' \
	'make clean      remove what was built; distclean: the lab and the configuration too'
