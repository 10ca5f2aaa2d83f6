# Eddy's build (GNU make).
#
#   make              ./eddy and ./eddyd (links into build/release)
#   make deps         the packages that building and testing need, by apt-get
#   make test         unit tests, cases, fuzz corpus, simulator, mutants,
#                     real processes, power losses
#   make cases        the directed cases alone, a text file for each incident
#                     of HAZARDS.md, and tables of single decisions;
#                     UPDATE=1 rewrites what they expect
#   make cluster      the tests with real processes alone; FULL=1: their long
#                     forms
#   make power        power losses below the real store alone
#   make sim          the simulator alone: SEEDS=1000 FROM=1 JOBS=2, VERBOSE=1
#                     for a line each; or one history again: SEED=4711, in
#                     words with TRACE=1 (tests/sim/README.md)
#   make sim-long     for nights: SIM_LONG_SEEDS=5000 with LENGTH=300 s of faults
#   make mutants      each rule off in turn: the simulator must find it. OFF=S4
#                     one alone; FRESH=1 new seeds; UPDATE=1 keeps what it finds
#   make fuzz         every decoder under libFuzzer, SECONDS=20 each
#   make lint         what STYLE.md says and a machine can check
#   make check        lint and test, and test again with SAN=address
#   make test-long    what takes too long for every push
#   make bench        Eddy against this machine's own limits, 3 to 4 minutes;
#                     QUICK=1: 30 s, for a look
#   make bench-ring   the placement of partitions: how even, how fast
#   make demo         three nodes on loopback, one of them killed
#   make format       clang-format over the tree
#   make install      eddy and eddyd into $(DESTDIR)$(PREFIX)/bin
#   make clean
#
# Programs and tests take SAN=address (with undefined) or SAN=thread. A variant
# (release, test, fuzz; with and without a sanitizer) has its own folder below
# build/, and each room is an archive in it, so that a test links against its
# own room and those below, and builds while others are broken:
#   make VARIANT=test build/test/tests/unit/test_raft

VARIANT ?= release
SAN     ?=
PREFIX  ?= /usr/local
JOBS    ?= $(shell nproc)

# A sanitizer makes the simulator some ten times slower.
SEEDS          ?= $(if $(SAN),50,1000)
FROM           ?= 1
SIM_LONG_SEEDS ?= 5000
SIM_LONG_S     ?= 300
SECONDS        ?= 20

B       := build/$(VARIANT)$(if $(SAN),-$(SAN))
RELEASE := build/release$(if $(SAN),-$(SAN))
TEST    := build/test$(if $(SAN),-$(SAN))

# ---- flags ------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
    -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef \
    -Wswitch-enum -Werror
LANGUAGE := -std=c17 -D_POSIX_C_SOURCE=200809L -I.

# The fuzzer is clang's; warnings are left to gcc, which sees the same files.
CC_release  := gcc
CC_test     := gcc
CC_fuzz     := clang
OPT_release := $(WARNINGS) -O2 -g
OPT_test    := $(WARNINGS) -O2 -g -DEDDY_RULES
OPT_fuzz    := -w -O1 -g -fsanitize=fuzzer-no-link,address
LINK_fuzz   := -fsanitize=fuzzer,address

SAN_address := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_thread  := -fsanitize=thread

ifeq ($(OPT_$(VARIANT)),)
$(error VARIANT=$(VARIANT): know release, test, fuzz)
endif
ifneq ($(SAN),)
ifeq ($(SAN_$(SAN)),)
$(error SAN=$(SAN): know address, thread)
endif
# "We recommend against combining -Werror and the use of sanitizers" (gcc's
# manual): they bring false warnings. The plain build sees the same files.
SANITIZE := $(SAN_$(SAN)) -fno-omit-frame-pointer -Wno-error
endif

ifeq ($(origin CC),default)
CC := $(CC_$(VARIANT))
endif
CC_VERSION = $(shell $(CC) -dumpversion)
COMPILE = $(CC) $(LANGUAGE) $(OPT_$(VARIANT)) $(SANITIZE) $(CFLAGS)
LINK    = $(CC) $(SANITIZE) $(LINK_$(VARIANT)) $(LDFLAGS)
LIBS    = -lzmq -llmdb -lsodium -lpthread
# Tests may use floating point in their slow twins; the rooms do not.
TEST_LIBS = -lcmocka -lm

# ---- what there is ----------------------------------------------------------

# In the order in which they link: each needs only those to its right.
ROOMS := tools node storage net ring

MAINS      := node/main.c tools/eddy.c $(wildcard tools/bench_*.c)
SRC_tools  := $(filter-out $(MAINS),$(wildcard tools/*.c))
SRC_node   := $(filter-out $(MAINS),$(wildcard node/*.c))
SRC_storage := $(wildcard storage/*.c)
SRC_net    := $(wildcard net/*.c)
SRC_ring   := $(wildcard ring/*.c)
# Not rooms: what tests share, and the simulator without its main.
SRC_unit   := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
SRC_sim    := $(filter-out tests/sim/sim.c,$(wildcard tests/sim/*.c))
MAINS_cases := tests/cases/cases.c tests/cases/decide.c
SRC_cases  := $(filter-out $(MAINS_cases),$(wildcard tests/cases/*.c))

UNITS   := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
CASES   := $(patsubst %.c,$(B)/%,$(wildcard $(MAINS_cases)))
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
SIM     := $(patsubst %.c,$(B)/%,$(wildcard tests/sim/sim.c))
# What the process tests speak and write with, and the failing disk that they
# put below a node.
CLUSTER := $(patsubst %.c,$(B)/%,$(filter-out %/shim.c,\
               $(wildcard tests/cluster/*.c))) \
           $(patsubst %.c,$(B)/%.so,$(wildcard tests/cluster/shim.c))
# The recorder below a store, and who rebuilds what it saw.
SRC_power := $(wildcard tests/power/*.c)
POWER   := $(if $(SRC_power),$(B)/tests/power/power $(B)/tests/power/preload.so)
# One program; bench_rows.c beside it is a probe that builds by itself.
SRC_bench := $(filter-out tests/bench/bench_rows.c,$(wildcard tests/bench/*.c))
EDDYD   := $(if $(wildcard node/main.c),$(B)/eddyd)
EDDY    := $(if $(wildcard tools/eddy.c),$(B)/eddy)

SOURCES := $(foreach r,$(ROOMS) unit sim,$(SRC_$(r))) \
    $(wildcard $(MAINS) tests/sim/sim.c tests/unit/test_*.c tests/cases/*.c \
               tests/fuzz/*.c tests/cluster/*.c tests/power/*.c \
               tests/bench/*.c)
TREE    := $(foreach d,ring storage net node tools tests/unit tests/cases \
               tests/sim tests/cluster tests/power tests/fuzz tests/bench,\
               $(wildcard $(d)/*.[ch]))

libs = $(foreach r,$(1),$(B)/lib$(r).a)

# The rooms that test $(1), test_MODULE or fuzz_MODULE, links: its module's own
# and those below; all of them where no module is called so.
BELOW_ring    := ring
BELOW_storage := storage ring
BELOW_net     := net ring
BELOW_node    := node storage net ring
BELOW_tools   := $(ROOMS)
room_of  = $(firstword $(foreach r,ring storage net node tools,\
               $(if $(wildcard $(r)/$(1).[ch]),$(r))))
first_of = $(firstword $(subst _, ,$(1)))
below_of = $(BELOW_$(or $(call room_of,$(1)),\
               $(call room_of,$(call first_of,$(1)))))
module_of = $(patsubst test_%,%,$(patsubst fuzz_%,%,$(1)))
# Where a name misleads: the rows that it fuzzes are storage's.
ROOMS_fuzz_rows := storage ring
rooms_of = $(or $(ROOMS_$(1)),$(call below_of,$(call module_of,$(1))),$(ROOMS))

# ---- what is called from outside --------------------------------------------

.PHONY: all deps deps-fuzz test cases cluster power sim sim-long mutants \
    check fuzz bench bench-ring test-long format lint demo install clean \
    programs tests cases-programs cluster-programs power-programs \
    sim-program fuzzers objects FORCE
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:

# A target that calls make again passes its jobs on, or starts with JOBS.
SUB = +@$(MAKE) --no-print-directory \
    $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
# $(call need,FILES,WORDS): say plainly what is not there, and fail.
need = @[ -n "$(strip $(1))" ] || { echo "make $@: $(2)" >&2; exit 1; }

all: programs
	$(call need,$(EDDYD),node/main.c is not written yet: no eddyd)
	$(call need,$(EDDY),tools/eddy.c is not written yet: no eddy)

# What to build and test with; fuzzing wants clang besides.
PACKAGES := gcc libc6-dev make pkg-config libzmq3-dev liblmdb-dev \
    libsodium-dev libxxhash-dev libcmocka-dev clang-format strace
deps-fuzz: PACKAGES += clang

# dpkg -s takes no time when all is there, so that everything may depend on it.
deps deps-fuzz:
	@command -v dpkg >/dev/null || { \
	    echo "deps: no dpkg here; needed: $(PACKAGES)"; exit 0; }; \
	missing=; for p in $(PACKAGES); do \
	    dpkg -s $$p 2>/dev/null | grep -q '^Status:.* installed$$' || \
	        missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	echo "deps: installing$$missing"; \
	[ "$$(id -u)" = 0 ] && sudo= || sudo=sudo; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $$missing

RUN := SAN=$(SAN) TEST=$(TEST) RELEASE=$(RELEASE) tests/run.sh
# Of each history; SKIP and NO are what a failure's report says.
SIM_EACH  := $(OFF:%=--off %) $(LENGTH:%=--seconds %) $(SKIP:%=--skip %) \
    $(NO:%=--no %)
SIM_RANGE := --seeds $(SEEDS) --from $(FROM) --jobs $(JOBS) $(SIM_EACH) \
    $(VERBOSE:%=--verbose)
SIM_ONE   := --seed $(SEED) --jobs $(JOBS) $(SIM_EACH) $(TRACE:%=--trace)
MUTANTS   := --jobs $(JOBS) $(OFF:%=--off %) $(FRESH:%=--fresh) \
    $(UPDATE:%=--update) $(TRIES:%=--tries %) \
    $(if $(filter command line,$(origin FROM)),--from $(FROM))
# The seeds that are kept, and some more where the history is another by now.
MUTANTS_KEPT := --jobs $(JOBS) --tries 60
NO_SIM    := there is no simulator yet (tests/sim/sim.c)

test: deps
	$(SUB) VARIANT=release programs cluster-programs power-programs
	$(SUB) VARIANT=test tests
	@SIM_ARGS='$(SIM_RANGE)' MUTANT_ARGS='$(MUTANTS_KEPT)' \
	    $(RUN) unit cases fuzz sim $(if $(SAN),,mutants) cluster power

cases: deps
	$(SUB) VARIANT=test cases-programs
	@UPDATE=$(UPDATE) $(RUN) cases

cluster: deps
	$(SUB) VARIANT=release programs cluster-programs
	@FULL=$(FULL) $(RUN) cluster

power: deps
	$(SUB) VARIANT=release programs cluster-programs power-programs
	@$(RUN) power

sim: deps
	$(call need,$(SIM),$(NO_SIM))
	$(SUB) VARIANT=test sim-program
	$(TEST)/tests/sim/sim $(if $(SEED),$(SIM_ONE),$(SIM_RANGE))

sim-long:
	@$(MAKE) --no-print-directory sim SEEDS=$(SIM_LONG_SEEDS) \
	    LENGTH=$(or $(LENGTH),$(SIM_LONG_S))

mutants: deps
	$(call need,$(SIM),$(NO_SIM))
	$(SUB) VARIANT=test sim-program
	@MUTANT_ARGS='$(MUTANTS)' $(RUN) mutants

check: lint
	@$(MAKE) --no-print-directory test SAN=
	@$(MAKE) --no-print-directory test SAN=address

test-long: check
	@$(MAKE) --no-print-directory test SAN=thread
	@$(MAKE) --no-print-directory cluster FULL=1
	@$(MAKE) --no-print-directory sim-long
	@$(MAKE) --no-print-directory mutants
	@$(MAKE) --no-print-directory fuzz SECONDS=120

fuzz: deps-fuzz
	$(call need,$(FUZZERS),there are no fuzzers yet (tests/fuzz/fuzz_*.c))
	$(SUB) VARIANT=fuzz SAN= fuzzers
	@SECONDS_EACH=$(SECONDS) TEST=build/fuzz tests/run.sh fuzz-new

bench: deps
	$(SUB) VARIANT=release $(RELEASE)/eddyd $(RELEASE)/tests/bench/bench
	@QUICK=$(QUICK) $(RELEASE)/tests/bench/bench $(RELEASE)/eddyd

bench-ring: deps
	$(call need,$(wildcard tools/bench_ring.c),no tools/bench_ring.c yet)
	$(SUB) VARIANT=release $(RELEASE)/bench_ring
	$(RELEASE)/bench_ring

demo: deps
	$(SUB) all
	./eddy demo 3

lint: deps
	$(SUB) VARIANT=release SAN= objects
	@OBJECTS=build/release tools/lint.sh

format:
	clang-format -i $(TREE)

install: all
	install -D -m 755 $(RELEASE)/eddy $(DESTDIR)$(PREFIX)/bin/eddy
	install -D -m 755 $(RELEASE)/eddyd $(DESTDIR)$(PREFIX)/bin/eddyd

clean:
	rm -rf build eddy eddyd

# ---- how it is built: in folder $(B) ----------------------------------------

programs: $(EDDY) $(EDDYD)
tests: $(UNITS) $(CASES) $(FUZZERS) $(SIM)
cases-programs: $(CASES)
cluster-programs: $(CLUSTER)
power-programs: $(POWER)
sim-program: $(SIM)
fuzzers: $(FUZZERS)
objects: $(patsubst %.c,$(B)/%.o,$(wildcard $(foreach r,$(ROOMS),$(r)/*.c)))

# The default variant's programs are also at the root, as links.
ifeq ($(B),build/release)
programs: $(patsubst $(B)/%,%,$(EDDY) $(EDDYD))
eddy eddyd: %: $(B)/%
	ln -sf $< $@
endif

# A stamp is written anew only when its words change: what depends on it is
# rebuilt when the flags, or the files of an archive, are others.
stamp = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@

$(B)/flags: FORCE
	$(call stamp,$(COMPILE) $(LINK) $(TEST_LIBS) $(LIBS) $(CC_VERSION))

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(COMPILE) -MMD -MP -c -o $@ $<

$(B)/lib%.list: FORCE
	$(call stamp,$(SRC_$*))

# From here on $$ is expanded when the target's name is known.
.SECONDEXPANSION:
objects_of = $(patsubst %.c,$(B)/%.o,$(SRC_$(1)))

$(B)/lib%.a: $$(call objects_of,$$*) $(B)/lib%.list
	@rm -f $@
	@ar rcs $@ $(filter %.o,$^)

link = @mkdir -p $(@D); echo "  LD $@"; \
    $(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1) $(LIBS)

$(B)/eddyd: $(B)/node/main.o $(call libs,$(BELOW_node))
	$(call link)

# dump alone looks into storage; node is not for clients.
$(B)/eddy: $(B)/tools/eddy.o $(call libs,tools storage net ring)
	$(call link)

# bench_ring needs no more than ring, bench_storage than storage and ring.
$(B)/bench_%: $(B)/tools/bench_%.o $$(call libs,$$(or $$(BELOW_$$*),$(ROOMS)))
	$(call link)

# It starts eddyd; itself it is a client.
$(B)/tests/bench/bench: $(patsubst %.c,$(B)/%.o,$(SRC_bench)) \
        $(call libs,$(BELOW_net))
	$(call link)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libunit.a \
        $$(call libs,$$(call rooms_of,$$*))
	$(call link,$(TEST_LIBS))

# They drive the pure rooms and the model store; decide needs ring alone.
$(B)/tests/cases/%: $(B)/tests/cases/%.o \
        $(call libs,cases unit sim $(BELOW_node))
	$(call link,$(TEST_LIBS))

$(B)/tests/cluster/%: $(B)/tests/cluster/%.o $(call libs,net ring)
	$(call link)

$(B)/tests/power/power: $(patsubst %.c,$(B)/%.o,\
        $(filter-out %/preload.c,$(SRC_power))) $(call libs,unit storage ring)
	$(call link)

$(B)/tests/power/preload.so: tests/power/tape.h
# Never sanitized: it is loaded before the program's own libraries.
$(B)/%.so: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(LANGUAGE) $(WARNINGS) -O1 -shared -fPIC -o $@ $<

$(B)/tests/sim/sim: $(B)/tests/sim/sim.o $(call libs,sim $(BELOW_node))
	$(call link,-lm)

# libFuzzer brings its own main; elsewhere replay.c is the main.
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o \
        $(if $(filter fuzz,$(VARIANT)),,$(B)/tests/fuzz/replay.o) \
        $$(call libs,$$(call rooms_of,$$*))
	$(call link)

# Objects are kept, and bring the headers that they saw.
.SECONDARY:
-include $(patsubst %.c,$(B)/%.d,$(SOURCES))
