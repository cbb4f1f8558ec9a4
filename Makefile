# mals: structured logs in PostgreSQL. PGXS only.
#
#   make, make install, make installcheck    as with every extension
#   make tempcheck [DEBUG=1] [COPT=...]      build, stage, run every test suite; installs nothing
#   make demo, make demo-stop                a throw-away server with real log entries
#   make format, make format-check           clang-format over src/
#   make coverage                            tempcheck, then lines covered by file
#   make upgrade-check                       pg_upgrade across Debian's PostgreSQL versions (root)
#   make freeze                              keep the install script of a release for good
#   make fuzz [SECONDS=60] [TARGETS=...]     libFuzzer over everything that parses
#   make valgrind [VALGRIND=...]             memcheck over SQL tests
#
# COPT adds flags to compiler and linker, such as COPT=-Werror or
# COPT='-fsanitize=undefined -fno-sanitize-recover=all'.

EXTENSION = mals
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" mals.control)

MODULE_big = mals
SOURCES := $(sort $(wildcard src/*.c src/*/*.c))
INCLUDES := $(sort $(wildcard src/*.h src/*/*.h))
OBJS = $(SOURCES:.c=.o)

INSTALL_PARTS := $(sort $(wildcard sql/install/[0-9]*.sql))
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql
# Frozen install scripts of releases, and the scripts from one release to the next.
FROZEN = sql/upgrade/$(notdir $(DATA_built))
DATA = $(filter-out $(FROZEN),$(sort $(wildcard sql/upgrade/*.sql)))

SHLIB_LINK += -lcurl -lzstd

PG_CPPFLAGS = -I$(srcdir)/src -DMALS_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare
ifdef DEBUG
PG_CFLAGS += -DUSE_ASSERT_CHECKING -O1 -g
endif

# Tests are found by wildcard and find the extension created (--load-extension).
REGRESS = $(basename $(notdir $(sort $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION = $(basename $(notdir $(sort $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=. --load-extension=$(EXTENSION)
TAP := $(sort $(wildcard test/t/*.pl))
ifneq ($(TAP),)
TAP_TESTS = 1
PROVE_TESTS = $(TAP)
endif

EXTRA_CLEAN = tmp_check tmp_stage tmp_flags tmp_fuzz tmp_valgrind \
	$(foreach suffix,gcno gcda,$(wildcard src/*.$(suffix) src/*/*.$(suffix)))

PG_CONFIG = pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
PROVE_FLAGS += -I test/lib

# PGXS knows no dependencies on headers: every object depends on all of them,
# and on the flags and the server it is compiled for.
FLAGS := $(VERSION) $(CC) $(CFLAGS)
ifneq ($(FLAGS),$(shell cat tmp_flags 2>/dev/null))
$(shell printf '%s\n' '$(FLAGS)' >tmp_flags)
endif
$(OBJS) $(OBJS:.o=.bc): $(INCLUDES) tmp_flags

# The version is compiled into some.
VERSIONED := $(patsubst %.c,%.o,$(shell grep -l MALS_VERSION $(SOURCES)))
$(VERSIONED) $(VERSIONED:.o=.bc): mals.control

$(DATA_built): $(INSTALL_PARTS) mals.control
	{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	  cat $(INSTALL_PARTS); } >$@.tmp
	mv $@.tmp $@

.PHONY: stage tempcheck demo demo-stop format format-check coverage upgrade-check freeze fuzz valgrind

stage:
	@rm -rf tmp_stage
	@$(MAKE) --no-print-directory install DESTDIR='$(CURDIR)/tmp_stage' with_llvm=no >/dev/null

tempcheck: stage
	@PG_CONFIG='$(PG_CONFIG)' PROVE='$(PROVE)' REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION)' \
		TAP='$(TAP)' test/tempcheck

demo: stage
	@PG_CONFIG='$(PG_CONFIG)' test/demo/run start

demo-stop:
	@PG_CONFIG='$(PG_CONFIG)' test/demo/run stop

# What was released is never changed: it must be the same, or be there for the first time.
freeze: $(DATA_built)
	@if [ -e $(FROZEN) ]; then cmp $(DATA_built) $(FROZEN); else mkdir -p $(dir $(FROZEN)) && cp $(DATA_built) $(FROZEN); fi

format:
	clang-format -i $(SOURCES) $(INCLUDES)

format-check:
	clang-format --dry-run -Werror $(SOURCES) $(INCLUDES)

coverage:
	find src -name '*.gcda' -exec rm -f {} +
	$(MAKE) --no-print-directory tempcheck COPT=--coverage
	@for o in $(OBJS); do gcov -n -r -o "$$o" "$${o%.o}.c"; done | \
		awk '/^File/ { f = $$2 } /^Lines/ && f { sub(/.*:/, ""); print f ": " $$0; f = "" }'

upgrade-check:
	@test/upgrade-check

fuzz: stage
	@PG_CONFIG='$(PG_CONFIG)' LIBS='$(filter -l%,$(SHLIB_LINK))' test/fuzz/run $(or $(SECONDS),60) $(TARGETS)

# what reads, writes and shares memory in ways of its own; all tests take hours
VALGRIND = $(filter-out entry_json %_fuzz %_pages %_memory %_lookalikes,$(filter entry_% export_% group_% ingest_% level_% \
	query_% redact_% resolve_% search_% tail_% trace_% write_%,$(REGRESS)))
valgrind: stage
	@PG_CONFIG='$(PG_CONFIG)' REGRESS='$(VALGRIND)' test/valgrind
