# SPDX-License-Identifier: Apache-2.0
# Builds, tests, installs and demonstrates Baton. `make help` lists what there is.
#
# Source files are found by directory, so a new file needs no line here. What each binary links is
# written out at "Binaries": that is where "the supervisor links no database library" is kept
# (tests/unit/test_linkage.sh looks at the result).

ifeq ($(origin CC),default)
CC := gcc
endif
comma := ,
# Sanitized, crash and coverage builds get a directory of their own, so that objects never mix.
BUILD ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(CRASH),-crash)$(if $(COVERAGE),-coverage)
PREFIX ?= /usr/local
LIBEXECDIR ?= $(PREFIX)/lib/baton
CFLAGS ?= $(if $(COVERAGE),-O0,-O2) -g

# gcov, with counters that survive SIGKILL (tests/coverage/counters.c). Else gcc makes a fork() that locks and
# an exec() that writes files first.
COVERAGE_CFLAGS := $(if $(COVERAGE),--coverage -fprofile-update=atomic -fdata-sections -Wno-format-truncation \
	$(addprefix -fno-builtin-,fork execv execve execl execlp execle execvp))
COUNTERS := $(if $(COVERAGE),$(BUILD)/obj/tests/coverage/counters.o)

BATON_CFLAGS := -std=gnu17 -Wall -Wextra -Werror -pthread -D_GNU_SOURCE -I. $(CPPFLAGS) $(CFLAGS) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(findstring undefined,$(SANITIZE)),-DSANITIZE_UNDEFINED=1) \
	$(if $(CRASH)$(COVERAGE),-DBATON_CRASH_POINTS) $(COVERAGE_CFLAGS)
# gcc warns that ThreadSanitizer knows no fences. Each of ours stands between atomic accesses, of which a race
# detector asks nothing; what the fence orders is tested, not detected.
ifeq ($(SANITIZE)$(findstring clang,$(CC)),thread)
BATON_CFLAGS += -Wno-tsan
endif
BATON_LDFLAGS := -pthread -Wl,--as-needed $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) \
	$(if $(COVERAGE),--coverage -Wl$(comma)--wrap=__gcov_exit -Wl$(comma)-T$(comma)tests/coverage/counters.ld $(COUNTERS))

# All processors, unless told otherwise (a make below this one has the jobs of its parent).
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-print-directory --no-builtin-rules
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2:$(BUILD)/%=%))

.PHONY: default
default: all

# ---- Libraries: one for each directory -------------------------------------------------------------
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %/main.c,$(wildcard $(1)/*.c)))

OBJECTS_base := $(call objects,base)
OBJECTS_shm := $(call objects,shm)
OBJECTS_journal := $(call objects,worker/journal)
OBJECTS_source := $(call objects,worker/source)
OBJECTS_destination := $(call objects,worker/destination)
OBJECTS_worker := $(call objects,worker)
OBJECTS_supervisor := $(call objects,supervisor)
OBJECTS_cli := $(call objects,supervisor/cli)
OBJECTS_checker := $(call objects,prove/checker)
OBJECTS_world := $(call objects,prove/world)
OBJECTS_tracer := $(call objects,prove/tracer)
OBJECTS_power := $(call objects,prove/power)
OBJECTS_crash := $(call objects,prove/crash)
OBJECTS_torture := $(call objects,prove/torture)
OBJECTS_prove := $(call objects,prove)
OBJECTS_benchlib := $(call objects,tests/bench/lib)
OBJECTS_fuzzlib := $(call objects,tests/fuzz/lib)
OBJECTS_powerhost := $(call objects,tests/powercut/host)
OBJECTS_powerguest := $(call objects,tests/powercut/guest)
OBJECTS_systemdguest := $(call objects,tests/systemd/guest)

PRODUCT_LIBRARIES := cli supervisor worker destination source journal shm base
LIBRARIES := $(PRODUCT_LIBRARIES) checker world tracer crash torture power prove benchlib powerhost powerguest
LIBRARIES += fuzzlib systemdguest
archives = $(foreach library,$(1),$(BUILD)/lib/lib$(library).a)

# The list changes when a file comes or goes, so that no archive keeps the object of a removed file.
$(BUILD)/lib/lib%.list: FORCE
	@mkdir -p $(@D)
	@echo '$(OBJECTS_$*)' | cmp -s - $@ || echo '$(OBJECTS_$*)' >$@

define library_rule
$(BUILD)/lib/lib$(1).a: $(OBJECTS_$(1)) $(BUILD)/lib/lib$(1).list
	$$(Q)rm -f $$@ && ar rcs $$@ $(OBJECTS_$(1))
endef
$(foreach library,$(LIBRARIES),$(eval $(call library_rule,$(library))))

# ---- Objects ---------------------------------------------------------------------------------------
# Everything is compiled anew when the compiler or its flags change; only supervisor/ knows the prefix.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(BATON_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(BATON_CFLAGS)' >$@
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(LIBEXECDIR)' | cmp -s - $@ || echo '$(LIBEXECDIR)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BATON_CFLAGS) $(DEFINES) -MMD -MP -c -o $@ $<

ifdef COVERAGE
$(COUNTERS): tests/coverage/counters.c
	@mkdir -p $(@D) $(BUILD)/counters
	$(Q)$(CC) $(filter-out $(COVERAGE_CFLAGS),$(BATON_CFLAGS)) \
		-DCOUNTERS_DIRECTORY='"$(abspath $(BUILD)/counters)"' -c -o $@ $<
endif

SUPERVISOR_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard supervisor/*.c supervisor/cli/*.c))
$(SUPERVISOR_OBJECTS): DEFINES = -DLIBEXECDIR='"$(LIBEXECDIR)"'
$(SUPERVISOR_OBJECTS): $(BUILD)/prefix

# ---- Binaries --------------------------------------------------------------------------------------
DATABASE_LDLIBS := -lsqlite3 -ljansson -lxxhash
ALL_LDLIBS := $(DATABASE_LDLIBS) -lurcu-memb -lurcu-common -lseccomp -linih -lsystemd

# $(1) path below BUILD, $(2) sources, main() among them, $(3) libraries, $(4) what the linker needs besides
define program_rule
$(BUILD)/$(1): $(2:%.c=$(BUILD)/obj/%.o) $(call archives,$(3)) $(COUNTERS)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(BATON_LDFLAGS) -o $$@ $(2:%.c=$(BUILD)/obj/%.o) \
		-Wl,--start-group $(call archives,$(3)) -Wl,--end-group $(4)
endef
program = $(if $(wildcard $(2)),$(eval $(call program_rule,$(1),$(2),$(3),$(4)))$(BUILD)/$(1))

PROGRAMS := \
	$(call program,bin/batond,supervisor/main.c,supervisor shm base,-linih -lsystemd) \
	$(call program,bin/baton-worker,worker/main.c,worker destination source journal shm base,$(DATABASE_LDLIBS) -lurcu-memb -lurcu-common -lseccomp -lsystemd) \
	$(call program,bin/baton,supervisor/cli/main.c,cli supervisor destination source journal shm base,$(DATABASE_LDLIBS) -linih -lsystemd)
CHECKER := $(call program,bin/baton-checker,prove/checker/main.c,checker,$(DATABASE_LDLIBS))
PROVE := $(call program,bin/baton-prove,prove/main.c,crash power torture prove tracer world shm base,$(DATABASE_LDLIBS) -lseccomp -lsystemd)

# The product as the next layout would have it (LAYOUT_NEXT in shm/layout.h), into $(BUILD)/next/bin, for
# tests/integration/test_layout.c: what knows the layout is compiled a second time, the rest is shared.
NEXT := $(BUILD)/next
next_objects = $(patsubst %.c,$(NEXT)/obj/%.o,$(filter-out $(2),$(wildcard $(1)/*.c)))
NEXT_SUPERVISOR := $(call next_objects,supervisor,supervisor/main.c)
NEXT_CLI := $(call next_objects,supervisor/cli)
NEXT_SHM := $(call next_objects,shm)
$(NEXT_SUPERVISOR) $(NEXT_CLI) $(NEXT)/obj/supervisor/main.o: DEFINES = -DLIBEXECDIR='"$(LIBEXECDIR)"'
$(NEXT)/obj/%.o: %.c $(BUILD)/flags $(BUILD)/prefix
	@mkdir -p $(@D)
	$(call say,CC,$(NEXT)/$<)
	$(Q)$(CC) $(BATON_CFLAGS) -DLAYOUT_NEXT $(DEFINES) -MMD -MP -c -o $@ $<

# $(1) path below NEXT, $(2) objects, $(3) archives, $(4) what the linker needs besides
define next_rule
$(NEXT)/$(1): $(2) $(call archives,$(3)) $(COUNTERS)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(BATON_LDFLAGS) -o $$@ $(2) -Wl,--start-group $(call archives,$(3)) -Wl,--end-group $(4)
endef
next_program = $(eval $(call next_rule,$(1),$(2),$(3),$(4)))$(NEXT)/$(1)

NEXT_PROGRAMS := \
	$(call next_program,bin/batond,$(NEXT)/obj/supervisor/main.o $(NEXT_SUPERVISOR) $(NEXT_SHM),base,-linih -lsystemd) \
	$(call next_program,bin/baton-worker,$(call next_objects,worker) $(NEXT_SHM),destination source journal base,$(DATABASE_LDLIBS) -lurcu-memb -lurcu-common -lseccomp -lsystemd) \
	$(call next_program,bin/baton,$(NEXT_CLI) $(NEXT_SUPERVISOR) $(NEXT_SHM),destination source journal base,$(DATABASE_LDLIBS) -linih -lsystemd)

# Preloaded into real processes by tests and by `baton prove`; never sanitized, so that they can stand
# before any runtime.
FAULTS := $(addprefix $(BUILD)/bin/baton-,faults.so clock.so identity.so)
$(FAULTS): $(BUILD)/bin/baton-%.so: prove/preload/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(filter-out -fsanitize=% $(COVERAGE_CFLAGS),$(BATON_CFLAGS)) -fPIC -shared $(LDFLAGS) -o $@ $<

# Sanitizers: what lets Criterion run under one, and a program whose reports must be seen.
ARENA := $(if $(filter thread,$(SANITIZE)),$(BUILD)/obj/tests/sanitize/arena.o)
TEST_LDLIBS := $(ARENA) -lcriterion $(ALL_LDLIBS)
PLANTED := $(call program,tests/planted,tests/sanitize/planted.c,base)

test_programs = $(foreach source,$(1),$(call program,$(source:%.c=%),$(source),$(2),$(3)))
UNIT_TESTS := $(call test_programs,$(wildcard tests/unit/test_*.c),$(PRODUCT_LIBRARIES) checker powerhost crash power torture prove tracer world,$(TEST_LDLIBS))
# Tests whose name ends in _failing: these calls of ours fail in turn (tests/unit/failing_calls.h).
FAILING_CALLS := malloc calloc realloc reallocarray strdup posix_memalign asprintf vasprintf open openat fdopendir \
	readdir stat fstat fstatat statx realpath mkdir mkdirat pread pwrite fsync fdatasync ftruncate fchmod \
	posix_fallocate renameat renameat2 unlinkat flock mmap eventfd socket inotify_init1 inotify_add_watch \
	pthread_mutexattr_init pthread_mutexattr_setrobust pthread_mutexattr_setpshared pthread_mutex_init \
	$(addprefix sqlite3_,open_v2 prepare_v2 prepare_v3 step exec column_text \
	value_text create_function_v2 wal_checkpoint_v2)
$(BUILD)/tests/unit/test_%_failing: private BATON_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(FAILING_CALLS))
INTEGRATION_TESTS := $(call test_programs,$(wildcard tests/integration/test_*.c),world $(PRODUCT_LIBRARIES),$(TEST_LDLIBS))
BENCHES := $(patsubst tests/bench/%.c,bench/%,$(wildcard tests/bench/bench_*.c))
BENCHES := $(foreach bench,$(BENCHES),$(call program,$(bench),tests/$(bench).c,benchlib world $(PRODUCT_LIBRARIES),$(ALL_LDLIBS)))
$(UNIT_TESTS) $(INTEGRATION_TESTS): $(ARENA) | $(PLANTED)
$(BUILD)/tests/integration/test_layout: | $(NEXT_PROGRAMS)
# The same test where the layout before has other strides.
NEXT_TEST := $(call next_program,tests/test_shm_layout_next,$(NEXT)/obj/tests/unit/test_shm_layout.o $(NEXT_SHM),base,$(TEST_LDLIBS))
$(NEXT_TEST): $(ARENA)

POWERCUT := $(call program,powercut/powercut,tests/powercut/host/main.c,powerhost base) \
	$(call program,powercut/guest,tests/powercut/guest/main.c,powerguest world shm base,-lsqlite3)

# Fuzz targets: a replay of inputs with any compiler, and with FUZZ=1 (clang) libFuzzer in its place.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MAIN := $(if $(FUZZ),,tests/fuzz/lib/main.c)
FUZZ_LDLIBS := $(if $(FUZZ),-fsanitize=fuzzer) $(ALL_LDLIBS)
# Targets that let workers be born and die in one thread (tests/fuzz/lib/fake_process.h).
FUZZ_WRAPS := $(patsubst %,-Wl$(comma)--wrap=%,process_open process_start_ticks process_state process_signal \
	process_has_thread kill getpid readlink clock_usec clock_realtime_usec spawn_worker workers_lock_exclusive \
	pthread_mutex_trylock pthread_mutex_clocklock pthread_mutex_unlock sd_bus_wait \
	$(addprefix __sanitizer_cov_trace_,cmp1 cmp4 cmp8 const_cmp1 const_cmp4 const_cmp8))
FUZZ_WRAPPED := segment control
# They have one thread, which forgets locks that it holds: ThreadSanitizer has no part in that.
FUZZ_TARGETS := $(filter-out $(if $(filter thread,$(SANITIZE)),$(FUZZ_WRAPPED)),$(FUZZ_TARGETS))
FUZZERS := $(foreach target,$(FUZZ_TARGETS),$(call program,tests/fuzz/fuzz_$(target),tests/fuzz/fuzz_$(target).c $(FUZZ_MAIN),fuzzlib $(PRODUCT_LIBRARIES),$(FUZZ_LDLIBS) $(if $(filter $(target),$(FUZZ_WRAPPED)),$(FUZZ_WRAPS))))

# ---- What a person asks for ------------------------------------------------------------------------
.PHONY: model all tests check unit integration crash errors crash-points power torture mutants demo install lint format bench clean help
all: $(PROGRAMS) $(CHECKER) $(PROVE) $(FAULTS)
tests: all $(NEXT_TEST) $(UNIT_TESTS) $(INTEGRATION_TESTS)

tests: $(FUZZERS)

UNIT_SCRIPTS := $(wildcard tests/unit/test_*.sh)
INTEGRATION_SCRIPTS := $(wildcard tests/integration/test_*.sh)
# A real systemd, which needs root (tests/systemd/container.sh); elsewhere they say what they lack.
CONTAINER_SCRIPTS := tests/systemd/test_service.sh tests/package/test_package.sh
run_tests = BATON_BIN=$(abspath $(BUILD)/bin) BATON_PREFIX='$(PREFIX)' BATON_LIBEXECDIR='$(LIBEXECDIR)' tests/run.sh

# The containers first: they take longest, and sleep most of the time. Their figures mean nothing beside the others.
check:
	$(Q)packaging/install-deps.sh check
	$(Q)$(MAKE) tests $(SYSTEMD_GUEST)
	$(Q)BENCH_QUICK=1 $(run_tests) $(CONTAINER_SCRIPTS) $(UNIT_TESTS) $(NEXT_TEST) $(UNIT_SCRIPTS) $(FUZZERS) $(INTEGRATION_TESTS) $(INTEGRATION_SCRIPTS)

unit: all $(UNIT_TESTS) $(NEXT_TEST)
	$(Q)$(run_tests) $(UNIT_TESTS) $(NEXT_TEST) $(UNIT_SCRIPTS)

integration: all $(INTEGRATION_TESTS)
	$(Q)$(run_tests) $(INTEGRATION_TESTS) $(INTEGRATION_SCRIPTS)

# Lines and branches of shm/ and worker/ that the proof reaches, by gcov: a build of its own (which has the crash points
# compiled in, too), a table, and a failure below 90 % and 80 %. Units and integration run whole, with the crash points;
# of crash, errors, power and torture a part, so that it ends within eight minutes.
.PHONY: coverage
coverage:
	$(Q)packaging/install-deps.sh coverage
	$(Q)$(MAKE) COVERAGE=1 BUILD=$(BUILD)-coverage tests
	$(Q)rm -f $(BUILD)-coverage/counters/* && find $(BUILD)-coverage/obj -name '*.gcda' -delete
	$(Q)$(MAKE) COVERAGE=1 BUILD=$(BUILD)-coverage coverage-run
	$(Q)tests/coverage/report.sh $(BUILD)-coverage

.PHONY: coverage-run
coverage-run:
	$(Q)BATON_CRASH_BIN=$(abspath $(BUILD)/bin) BATON_TEST_FAILING=200 $(run_tests) $(UNIT_TESTS) $(FUZZERS) $(INTEGRATION_TESTS)
	$(Q)$(BUILD)/bin/baton-prove crash --sample 90
	$(Q)$(BUILD)/bin/baton-prove errors --sample 400
	$(Q)BATON_BIN=$(abspath $(BUILD)/bin) $(BUILD)/bin/baton-prove power --points 12 --states 6
	$(Q)$(BUILD)/bin/baton-prove torture --seed 1 --seconds 20

# Every system call, and every numbered crash point; POINT=mover:takeover:137:exit VARIANT=file: one alone.
crash: all
ifdef POINT
	$(Q)$(BUILD)/bin/baton-prove crash --point $(POINT) $(if $(VARIANT),--variant $(VARIANT))
else
	$(Q)packaging/lint/numbers.sh
	$(Q)$(BUILD)/bin/baton-prove crash $(if $(VARIANT),--variant $(VARIANT))
	$(Q)$(MAKE) crash-points
endif

# The same calls fail instead; POINT=mover:life:fdatasync.3:EIO VARIANT=file: one alone.
errors: all
	$(Q)$(BUILD)/bin/baton-prove errors $(if $(POINT),--point $(POINT)) $(if $(VARIANT),--variant $(VARIANT)) \
		$(if $(SAMPLE),--sample $(SAMPLE))

# Every numbered crash point of the READMEs, in real processes: a build of its own has them compiled in.
crash-points: all $(BUILD)/tests/integration/test_crash
	$(Q)$(MAKE) CRASH=1 BUILD=$(BUILD)-crash all
	$(Q)BATON_CRASH_BIN=$(abspath $(BUILD)-crash/bin) $(run_tests) $(BUILD)/tests/integration/test_crash

# POINT=M:K with TAPE=FILE repeats one state of a failure that was kept.
power: all
	$(Q)BATON_BIN=$(abspath $(BUILD)/bin) $(BUILD)/bin/baton-prove power $(if $(SEED),--seed $(SEED)) \
		$(if $(STATES),--states $(STATES)) $(if $(POINTS),--points $(POINTS)) $(if $(POINT),--point $(POINT)) \
		$(if $(VARIANT),--variant $(VARIANT)) $(if $(TAPE),--tape $(TAPE)) $(if $(BLIND),--blind $(BLIND))

# Planted faults (tests/mutants/): is each noticed, and by what? MUTANT=name plants that one alone.
mutants:
	$(Q)packaging/install-deps.sh proof
	$(Q)$(MAKE) tests
	$(Q)MAKE='$(MAKE)' tests/mutants/run.sh $(BUILD) $(MUTANT)

# Everything at once, at random, for SECONDS; SEED repeats a schedule. DIRECTORY: whose disk is meant.
torture: all
	$(Q)$(BUILD)/bin/baton-prove torture $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(DIRECTORY),--directory $(DIRECTORY))

# libFuzzer (tests/fuzz/README.md). TARGET=journal: that one alone; INPUT=file: replays it; SECONDS for each.
.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)
fuzz:
	$(Q)packaging/install-deps.sh fuzz
	$(Q)$(MAKE) FUZZ=1 CC=clang SANITIZE=fuzzer-no-link$(comma)address$(comma)undefined BUILD=$(BUILD)-fuzz fuzzers
	$(Q)TARGET=$(TARGET) SECONDS_EACH=$(SECONDS) INPUT=$(INPUT) MINIMIZE=$(MINIMIZE) tests/fuzz/run.sh $(BUILD)-fuzz $(FUZZ_TARGETS)

# The unit tests under memcheck (tests/sanitize/valgrind.sh). TEST=test_shm_words: that one alone.
.PHONY: valgrind
VALGRIND_TESTS := $(if $(TEST),$(BUILD)/tests/unit/$(TEST),$(UNIT_TESTS))
valgrind:
	$(Q)packaging/install-deps.sh valgrind
	$(Q)$(MAKE) all $(VALGRIND_TESTS)
	$(Q)BATON_BIN=$(abspath $(BUILD)/bin) tests/sanitize/valgrind.sh $(VALGRIND_TESTS)

demo:
	$(Q)packaging/install-deps.sh build
	$(Q)$(MAKE) all
	$(Q)$(BUILD)/bin/baton demo

# CUTS=20 SEED=n; IMAGE=DIR repeats a boot that failed; LIE=1: with a drive that lies, which must fail.
# The protocol of ownership, fence and segment change, searched whole; planted faults must be found.
model:
	$(Q)packaging/install-deps.sh test
	$(Q)tests/model/model.sh

# The service under a real systemd, in a container; STEP=…: one of guest/'s steps.
SYSTEMD_GUEST := $(call program,systemd/guest,tests/systemd/guest/main.c,systemdguest benchlib world shm base,-lsqlite3)
.PHONY: systemd
systemd:
	$(Q)packaging/install-deps.sh systemd
	$(Q)$(MAKE) all $(SYSTEMD_GUEST)
	$(Q)BATON_BIN=$(abspath $(BUILD)/bin) BATON_PREFIX='$(PREFIX)' BATON_LIBEXECDIR='$(LIBEXECDIR)' \
		tests/systemd/test_service.sh "$(STEP)"

.PHONY: powercut
powercut:
	$(Q)packaging/install-deps.sh build
	$(Q)$(MAKE) all $(POWERCUT)
	$(Q)CUTS=$(CUTS) SEED=$(SEED) IMAGE=$(IMAGE) LIE=$(LIE) BATON_BIN=$(or $(BATON_BIN),$(abspath $(BUILD)/bin)) \
		tests/powercut/run.sh $(BUILD)/powercut

# BENCH=takeover runs that one alone.
bench: all $(BENCHES)
	$(Q)set -e; for bench in $(if $(BENCH),$(BUILD)/bench/bench_$(BENCH),$(BENCHES)); do BATON_BIN=$(abspath $(BUILD)/bin) $$bench; done

lint:
	$(Q)packaging/install-deps.sh lint
	$(Q)packaging/lint.sh

format:
	$(Q)find base include shm worker supervisor prove tests -name '*.[ch]' -exec clang-format -i {} +

# What goes where: packaging/install.sh. UNITDIR: systemd's units (PREFIX/lib/systemd/system).
install: all
	$(Q)DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBEXECDIR='$(LIBEXECDIR)' UNITDIR='$(UNITDIR)' packaging/install.sh $(BUILD)/bin

# Debian packages into $(BUILD)/deb, from a copy of the tracked files. DEB_VERSION=x: under
# a later version, for tests of upgrades.
.PHONY: deb
deb:
	$(Q)packaging/install-deps.sh deb
	$(Q)DEB_VERSION='$(DEB_VERSION)' packaging/deb.sh $(BUILD)/deb

# Installed, upgraded, removed and purged, under a real systemd in a container.
.PHONY: deb-check
deb-check:
	$(Q)packaging/install-deps.sh check
	$(Q)$(MAKE) all $(SYSTEMD_GUEST)
	$(Q)BATON_BIN=$(abspath $(BUILD)/bin) tests/package/test_package.sh

clean:
	rm -rf $(BUILD)

help:
	@echo 'make              builds batond, baton-worker and baton into $(BUILD)/bin'
	@echo 'make demo         installs what is missing, builds, shows a session that survives kill -9'
	@echo 'make check        installs what is missing, builds, runs all tests; as root with the service and its package in containers'
	@echo 'make unit         runs the unit tests alone; make integration: the tests with real processes'
	@echo 'make crash        kills at every system call, and at every crash point; POINT=… VARIANT=fused|row|file: one alone'
	@echo 'make errors       lets system calls fail, in every way that fits them; POINT=… VARIANT= SAMPLE=number'
	@echo 'make crash-points kills real processes at every numbered crash point of the READMEs'
	@echo 'make power        cuts the power after each recorded write, recovers, judges; SEED= STATES= POINTS= VARIANT=,'
	@echo '                  TAPE=file POINT=moment:state (one of a failure again); baton-prove power --help'
	@echo 'make torture      everything at once, at random: SEED=n SECONDS=s (60) DIRECTORY=dir (its disk)'
	@echo 'make mutants      plants faults in a copy of the tree, one after another: each must be noticed; MUTANT=name (not in check)'
	@echo 'make model        searches the model of the protocol with spin; planted faults must make it fail'
	@echo 'make systemd      the service under a real systemd, in a container; STEP=part of a name (needs root)'
	@echo 'make powercut     pulls the plug of a virtual machine; CUTS=20 SEED=n (2 to 7 minutes; installs qemu)'
	@echo 'make fuzz         libFuzzer on every parser of foreign bytes; TARGET=name, SECONDS=60 each, INPUT=file: a replay'
	@echo 'make valgrind     the unit tests under memcheck; TEST=test_shm_words: that one alone'
	@echo 'make coverage     lines and branches of shm/ and worker/ that the tests reach'
	@echo 'make lint         format, static analysis, include direction, sizes, numbered rules'
	@echo 'make format       formats every C file as lint demands'
	@echo 'make bench        measures; prints each figure with its floor; BENCH=takeover|movement|latency|footprint: one part'
	@echo 'make install      DESTDIR= PREFIX=$(PREFIX) UNITDIR= (of systemd)'
	@echo 'make deb          Debian packages baton and baton-dev in $(BUILD)/deb, judged by lintian; DEB_VERSION=: under a later version'
	@echo 'make deb-check    the same, then installs, upgrades, removes and purges it in a container (needs root)'
	@echo 'make clean        removes $(BUILD)'
	@echo
	@echo 'CC=clang  SANITIZE=address,undefined|thread  CRASH=1 (numbered crash points)  COVERAGE=1  BUILD=dir  V=1'

.PHONY: FORCE
.SECONDARY:
-include $(shell test -d $(BUILD)/obj && find $(BUILD)/obj $(wildcard $(NEXT)/obj) -name '*.d')
