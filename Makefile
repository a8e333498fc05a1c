# Everything that a user or a test run needs, from a fresh machine on.
#
#   make run      build and start the relay with etc/baton.toml (CONFIG=file for another)
#   make demo     relay and sink on loopback, three messages through them, what happened
#   make test     all tests
#   make bench    the measurements of the README: baton and Postfix in turns; as root, or Postfix is
#                 left out. SCENARIOS=.. others (see `baton-load run --help`), RELAYS=.. others,
#                 ROUNDS=.., FLAGS=.. more arguments, such as FLAGS=--quick to see whether it works
#   make bench-scale      whether a message costs more with more domains, senders, or mail that waits,
#                         and what a second shard is worth; ROUNDS and FLAGS as above
#                         Both leave report.json and report.html, or scale.* and shards.*, in the
#                         folder `bench` beside the binaries' (target/bench)
#   make bench-others     the same relay between Debian's smtp-source and smtp-sink
#   make bench-backlog    a million messages that wait: memory, disk, start, drop, drain; FLAGS=.. as
#                         benches/backlog.sh says, such as FLAGS=--large for five million
#   make bench-micro      how long parsers, records and picks take: criterion, on a quiet machine
#   make bench-counts     how many instructions they take, the same in every run, compared with
#                         benches/counts.txt; FLAGS=--bless writes that anew, FLAGS=content picks
#   make lint     format and clippy  make build     the binaries; then, as root,
#                                    make install   binary, unit file and example configuration
#
# The build takes a quarter of an hour the first time: RocksDB is compiled.

SHELL := /bin/bash
CONFIG ?= etc/baton.toml
PREFIX ?= /usr/local
DESTDIR ?=

# To build: a C++ compiler for RocksDB and libclang for its bindings. To test: clients and servers
# that we did not write.
BUILD_PACKAGES := g++ libclang-dev make
TEST_PACKAGES := $(BUILD_PACKAGES) swaks libnet-ssleay-perl postfix openssl curl python3 \
	python3-aiosmtpd prometheus strace valgrind
RUST_MIN := 1.95

CARGO := cargo
TARGET := $(or $(shell $(CARGO) metadata --no-deps --format-version 1 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'),target)
BIN := $(TARGET)/release
BENCH := $(TARGET)/bench

# Of the measurements. Postfix changes users.
ROUNDS ?= 2
SCENARIOS ?= small large many-domains new-connections
RELAYS ?= baton $(if $(filter 0,$(shell id -u)),postfix)
SCALES := domains-1 domains-1k domains-20k senders-1 senders-1k senders-100k \
	queued-0 queued-100k queued-1m
REPORT = --report $(BENCH)/$(1).json --html $(BENCH)/$(1).html

.PHONY: run demo test bench bench-scale bench-others bench-backlog bench-micro bench-counts lint \
	install build packages test-packages rust

run: build
	$(BIN)/baton run --config $(CONFIG)

demo: build
	loadtest/demo.sh $(BIN)

# Tests of the real binary come after the build, because they start what it made.
test: test-packages rust
	$(CARGO) build --release --workspace
	$(CARGO) test --release --workspace

bench: test-packages build
	@mkdir -p $(BENCH)
	@[ $(words $(RELAYS)) -gt 1 ] || echo "one relay only: $(RELAYS) (Postfix needs root)"
	$(BIN)/baton-load run $(SCENARIOS) $(RELAYS:%=--relay %) --rounds $(ROUNDS) \
		$(call REPORT,report) $(FLAGS)

bench-scale: test-packages build
	@mkdir -p $(BENCH)
	$(BIN)/baton-load run $(SCALES) --rounds $(ROUNDS) $(call REPORT,scale) $(FLAGS)
	$(BIN)/baton-load run small --relay baton:1 --relay baton:2 --rounds $(ROUNDS) \
		$(call REPORT,shards) $(FLAGS)

bench-others: test-packages build
	benches/relay.sh $(BIN)

bench-backlog: test-packages build
	benches/backlog.sh $(FLAGS) $(BIN)

bench-micro: packages rust
	$(CARGO) bench --bench micro -- $(FLAGS)

bench-counts: test-packages rust
	$(CARGO) bench --bench counts -- $(FLAGS)

lint: packages rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

# Does not build: root has no business compiling, and often no cargo.
install:
	@test -x $(BIN)/baton || { echo "build first, as yourself: make build" >&2; exit 1; }
	install -D -m 755 $(BIN)/baton $(DESTDIR)$(PREFIX)/bin/baton
	install -D -m 644 etc/baton.toml $(DESTDIR)/etc/baton/baton.toml.example
	install -D -m 644 etc/providers.toml $(DESTDIR)/etc/baton/providers.toml.example
	install -D -m 644 etc/baton.service $(DESTDIR)/etc/systemd/system/baton.service

build: packages rust
	$(CARGO) build --release --workspace

packages:
	@etc/packages.sh $(BUILD_PACKAGES)

test-packages:
	@etc/packages.sh $(TEST_PACKAGES)

rust:
	@version=$$($(CARGO) --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p'); \
	if [ -z "$$version" ] || [ "$$(printf '%s\n' $(RUST_MIN) "$$version" | sort -V | head -1)" != "$(RUST_MIN)" ]; then \
		echo "Rust $(RUST_MIN) or newer is needed (found: $${version:-none}); rustup installs it" >&2; exit 1; \
	fi
