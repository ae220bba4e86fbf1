# Drawbridge. `make` builds build/drawbridge; `make help` lists the rest.
#
# One archive holds everything but main.c; the program and each test link against it.
# `make SANITIZE=address,undefined` (or thread) builds the same into a folder of its own.

# Debian's own Python: python3-redis is installed for that one.
PYTHON ?= /usr/bin/python3
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD_ROOT ?= build
comma := ,
ifdef SANITIZE
B := $(BUILD_ROOT)/san-$(firstword $(subst $(comma), ,$(SANITIZE)))
else
B := $(BUILD_ROOT)
endif

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
  -Wmissing-prototypes -Wold-style-definition -Wundef -Wvla -Wformat=2 -Wcast-qual \
  -Wwrite-strings -Wswitch-enum -Wnull-dereference -Wdouble-promotion -Wimplicit-fallthrough -Werror
ifneq (,$(findstring gcc,$(CC)))
WARN += -Wlogical-op -Wduplicated-cond -Wjump-misses-init
endif
CPPFLAGS += -I. -I/usr/include/lua5.1
CFLAGS ?= -O2 -g
CFLAGS += -std=c11 -D_GNU_SOURCE -fno-common -fno-omit-frame-pointer -pthread $(WARN)
LDLIBS := -luv -lhiredis -lssl -lcrypto -lzstd -lsqlite3 -lxxhash -lmicrohttpd -lcurl -ljansson \
  -lyaml -llua5.1 -lm -pthread
ifdef SANITIZE
CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -O1
LDFLAGS += -fsanitize=$(SANITIZE)
else
LDLIBS := -ljemalloc $(LDLIBS)
endif

MODULES := lib/base lib/net lib/redis lib/control gateway syncer server state
SOURCES := $(wildcard $(addsuffix /*.c,$(MODULES)) $(addsuffix /*/*.c,gateway syncer server state))
OBJECTS := $(SOURCES:%.c=$(B)/obj/%.o)
ARCHIVE := $(B)/libdrawbridge.a
UNIT := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c tests/unit/*/*/*/test_*.c))
SIM := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/sim/sim_*.c))
HELPERS := $(wildcard tests/support/*.c) $(filter-out tests/sim/sim_%,$(wildcard tests/sim/*.c))
HELPER_OBJECTS := $(HELPERS:%.c=$(B)/obj/%.o)
TOOLS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/tools/*.c))

.PHONY: tidy-files build-unit build-sim all deps unit sim e2e test test-long demo bench bench-pause asan tsan fuzz tidy format layers tools help clean
.SECONDARY:
all: $(B)/drawbridge

help:
	@echo 'make          build $(B)/drawbridge'
	@echo 'make demo     move a live Redis, and back, on this machine'
	@echo 'make test     everything that CI runs (under 15 minutes); make test-long: the rest'
	@echo 'make bench    side by side with redis-server, nutcracker and haproxy'
	@echo 'make asan | tsan | fuzz | tidy | format | layers | unit | sim | e2e | clean'

deps:
	@sh deploy/deps.sh

$(B)/drawbridge: $(B)/obj/main.o $(ARCHIVE)
	@echo "link $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(ARCHIVE): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/%: $(B)/obj/tests/%.o $(HELPER_OBJECTS) $(ARCHIVE)
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS) -o $@ $^ -lcmocka -llzf $(LDLIBS)

# The program with rules of the lanes that can be broken (tests/tools/broken.c).
BROKEN := lane_keys_is_dirty lane_deadlines_find lane_pin lane_unpin lane_pass_name lane_mark_keys journal_entry lane_follower_restarted witness_name witness_owned
$(B)/tests/tools/broken: LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(BROKEN))
$(B)/tests/sim/sim_lane: LDFLAGS += -Wl,--wrap=lane_keys_is_dirty

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Unit tests and simulations: built here by SANITIZE, run one after the other; simulations from the same seed each time.
build-unit: $(UNIT)
build-sim: $(SIM)
tools: $(TOOLS)
SAN := SANITIZE=address,undefined
unit:
	@$(MAKE) --no-print-directory $(SAN) build-unit
	@sh tests/run-binaries.sh $(BUILD_ROOT)/san-address/tests/unit
sim:
	@$(MAKE) --no-print-directory $(SAN) build-sim
	@SEED=$${SEED:-1} sh tests/run-binaries.sh $(BUILD_ROOT)/san-address/tests/sim
e2e: all tools
	@$(PYTHON) tests/e2e/run.py
layers:
	@sh tests/layers.sh
# What has threads: the unit tests, and the simulation whose helper reads a snapshot while the engine writes. The gateway's
# loops under load: tests/threads.sh, which uses this build.
tsan:
	@$(MAKE) --no-print-directory SANITIZE=thread all tools build-unit $(BUILD_ROOT)/san-thread/tests/sim/sim_snapshot
	@sh tests/run-binaries.sh $(BUILD_ROOT)/san-thread/tests/unit $(BUILD_ROOT)/san-thread/tests/sim
asan:
	@$(MAKE) --no-print-directory $(SAN) all
test:
	@sh tests/run.sh
test-long:
	@sh tests/run.sh --long
demo:
	@sh deploy/demo/demo.sh
bench:
	@sh tests/bench/bench.sh
bench-pause:
	@sh tests/bench/bench.sh pause
fuzz:
	@sh tests/fuzz/fuzz.sh
# A file is looked at again when its object is newer, so when it, a header of it or .clang-tidy changed.
TIDY := $(SOURCES:%.c=$(B)/tidy/%.ok) $(B)/tidy/main.ok
tidy:
	@sh deploy/deps.sh clang-tidy
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@$(MAKE) --no-print-directory -s -k -j$$(nproc) tidy-files 2> /dev/null || true
	@sh tests/tidy.sh $(TIDY)
tidy-files: $(TIDY)
$(B)/tidy/%.ok: $(B)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	@echo "tidy $*.c"
	@rm -f $@
	@clang-tidy --quiet --warnings-as-errors='*' $*.c -- $(CPPFLAGS) -std=c11 -D_GNU_SOURCE > $(@:.ok=.txt) 2>&1
	@mv $(@:.ok=.txt) $@
format:
	@sh deploy/deps.sh clang-format
	@clang-format -i $$(git ls-files '*.c' '*.h')
clean:
	rm -rf $(BUILD_ROOT)
