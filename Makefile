# Everything that a user or a test run needs, from a fresh machine on.
#
#   make run      build and start the relay with etc/baton.toml (CONFIG=file for another)
#   make demo     relay and sink on loopback, three messages through them, what happened
#   make test     all tests          make bench    the measurements of the README
#   make bench-backlog    a million messages that wait: memory, disk, start, drop, drain
#   make bench-domains    what many destination domains cost; FLAGS=.. as the scripts say, such as
#                         `make bench-backlog FLAGS=--large` for five million
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

.PHONY: run demo test bench bench-backlog bench-domains bench-micro bench-counts lint install build packages test-packages rust

run: build
	$(BIN)/baton run --config $(CONFIG)

demo: build
	loadtest/demo.sh $(BIN)

# Tests of the real binary come after the build, because they start what it made.
test: test-packages rust
	$(CARGO) build --release --workspace
	$(CARGO) test --release --workspace

bench: test-packages build
	benches/relay.sh $(BIN)

bench-backlog: test-packages build
	benches/backlog.sh $(FLAGS) $(BIN)

bench-domains: test-packages build
	benches/domains.sh $(FLAGS) $(BIN)

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
