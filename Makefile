# Two commands do everything: `make demo` and `make test`.

CARGO ?= cargo
# where cargo puts what it builds; CARGO_TARGET_DIR moves it
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARIES := -p controller -p worker -p ctl

.DEFAULT_GOAL := help
.PHONY: help api build check fmt test sim chaos overload demo bench dev fuzz arm64 packages packages-check

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## agentd, agent-worker and agentctl for use
	$(CARGO) build --release --locked $(BINARIES)

check: ## format, lints, documentation, scripts and (where cargo-deny is there) dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh deploy/install.sh deploy/debian/*.p* .ci/run; \
	else echo "SKIP scripts: shellcheck is not installed"; fi
	@scripts/units.sh
	@if command -v hadolint >/dev/null; then hadolint deploy/Dockerfile; \
	else echo "SKIP deploy/Dockerfile: hadolint is not installed"; fi
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "SKIP dependencies: cargo-deny is not installed"; fi

fmt: ## format the sources
	$(CARGO) fmt --all

test: ## install what the tests need, then check and test everything
	scripts/test-deps.sh
	$(MAKE) check
	$(CARGO) build --workspace --bins --locked
	PATH="$(CURDIR)/.venv-test/bin:$$PATH" scripts/test.sh

sim: ## a million random schedules of both sides, and the exhaustive model of the lease; AGENTD_SEED=… replays one, AGENTD_SCHEDULES=… sets how many
	AGENTD_SCHEDULES=$(or $(AGENTD_SCHEDULES),1000000) $(CARGO) test --config e2e/tests/sim/optimized.toml \
		--workspace --locked --test sim -- $(if $(AGENTD_SEED),schedules) --nocapture --test-threads 1

chaos: ## faults on the real binaries, many times each (an hour or more); AGENTD_CHAOS=… sets how many percent of it, AGENTD_SEED=… repeats
	scripts/test-deps.sh
	$(CARGO) build --workspace --bins --locked
	AGENTD_CHAOS=$(or $(AGENTD_CHAOS),100) $(CARGO) test --locked -p e2e --test chaos -- --nocapture --test-threads 1

overload: ## more than it can take: 1 GB of output, readers that never read, storms (some minutes); AGENTD_OVERLOAD=… sets how many percent of it
	$(CARGO) build --workspace --bins --locked
	AGENTD_OVERLOAD=$(or $(AGENTD_OVERLOAD),100) $(CARGO) test --locked -p e2e --test overload -- --nocapture --test-threads 1

api: ## every call of the API against its own reference, with schemathesis (up to 20 min); AGENTD_API_EXAMPLES=…, AGENTD_API_SECONDS=…, AGENTD_SEED=…
	scripts/test-deps.sh
	$(CARGO) build --workspace --bins --locked
	scripts/api-fuzz.sh

arm64: ## the same programs for 64-bit ARM, such as a Raspberry Pi
	scripts/arm64.sh

packages: ## .deb packages and tarballs in target/packages; ARCH=amd64 or ARCH=arm64 for one alone
	scripts/packages.sh $(ARCH)

packages-check: ## packages in a fresh Debian, as root: install, upgrade, remove, purge (some minutes); ARCH=arm64 for that
	scripts/packages-check.sh $(ARCH)

# how long it is fed, in seconds
AGENTD_FUZZ ?= 600

fuzz: ## hostile bytes for the live MQTT port, before and after a login; AGENTD_FUZZ=… seconds, AGENTD_SEED=… repeats
	AGENTD_FUZZ=$(AGENTD_FUZZ) $(CARGO) test --release --locked -p controller --lib no_bytes_harm_the_broker -- --nocapture

demo: build ## a job from its task to its patch, on this machine alone
	@"$(TARGET)/release/agentctl" demo

bench: build ## measure this machine, agentd on it, and the peers that are installed
	$(CARGO) build --release --locked -p bench
	@"$(TARGET)/release/bench"

dev: ## a controller and two workers in this terminal, until Ctrl-C
	scripts/dev.sh
