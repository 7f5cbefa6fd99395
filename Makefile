# Every command of the project. `make demo` and `make test` do all their set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Queries are checked against .sqlx; `deploy/sqlx-prepare` renews it.
export SQLX_OFFLINE := true
export CARGO_TERM_PROGRESS_WHEN ?= auto

.PHONY: help demo test bench lint fmt fmt-check docs unit suite interop fuzz schedules

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | column -t -l 2

demo: ## a Studio account on loopback, Postgres and the gateway; prints what to type
	@deploy/needs demo
	@cargo build --workspace --bins
	@exec "$$(deploy/target-dir)/debug/demo"

test: ## everything that is checked
	@deploy/needs test
	@echo "== format" && $(MAKE) -s fmt-check
	@echo "== build" && cargo build --workspace --all-targets
	@echo "== unit tests" && $(MAKE) -s unit
	@echo "== end-to-end tests" && $(MAKE) -s suite
	@echo "== other people's clients" && $(MAKE) -s interop
	@echo "== lints" && $(MAKE) -s lint
	@echo "== documentation" && $(MAKE) -s docs
	@echo "== all checks passed"

unit: ## unit tests of every package
	cargo test --workspace --lib --bins

# Always the whole workspace: a selection has other features, and would build the AWS SDK once more.
suite: ## end-to-end tests: OpenSSH, plink, Postgres, the simulator
	cargo build --workspace --all-targets
	SPACEPORT_REQUESTS="$$(deploy/target-dir)/requests.json" cargo test --workspace --test suite -- --test-threads=3 --skip flow:: --skip api::conformance --skip hostile::
	@# These keep every core busy for minutes: nothing that depends on time runs beside them.
	cargo test --workspace --test suite -- --test-threads=3 api::conformance hostile::
	@# These measure latencies: nothing of ours runs beside them.
	cargo test --workspace --test suite -- --test-threads=1 flow::

interop: ## boto3 and an independent data channel client against the simulator, ssh-audit and paramiko against the gateway
	tests/interop/run "$$(deploy/target-dir)/requests.json"

lint: ## clippy with warnings denied, and .sqlx up to date
	cargo clippy --workspace --all-targets -- -D warnings
	deploy/sqlx-prepare --check

docs: ## rustdoc with warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

fmt: ## format
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

bench: ## measure beside an OpenSSH jump host; writes docs/benchmarks.md
	@deploy/needs test
	cargo build --release --workspace --bins
	"$$(deploy/target-dir)/release/bench" docs/benchmarks.md

fuzz: ## each fuzz target for a minute
	for target in frame handshake channel proxy; do tests/fuzz/run $$target 60 || exit 1; done

schedules: ## the data channel and the rules of idleness through a million random schedules each
	SPACEPORT_SCHEDULES=1000000 cargo test -p ssm-datachannel schedules -- --nocapture
	SPACEPORT_SCHEDULES=1000000 cargo test -p spaceport --lib idle::schedules -- --nocapture
