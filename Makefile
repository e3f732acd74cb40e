# The two commands: `make run` serves the sample workspace, `make test` checks everything that must hold.
# Both need Rust, Python 3 with pip, git and a C compiler, and are safe to repeat.

CARGO  ?= cargo
PYTHON ?= python3

# The models themselves are tiny; what the store is made of decides when it is made anew.
WORKSPACE := $(shell find models -type f -not -name '*.py' -not -name '*.md' -not -name '*.txt' 2>/dev/null)
VENV      := var/venv
TARGET    := $(or $(CARGO_TARGET_DIR),target)
BINARY    := $(abspath $(TARGET)/release/proffer)
# Models of trees by the libraries that people train with.
TREES     := var/trees

# The S3-compatible server that tests run against, by exact version: https://github.com/versity/versitygw, Apache-2.0.
VERSITYGW := v1.8.0
S3        := $(if $(shell command -v go),var/s3/versitygw-$(VERSITYGW))

# An OpenTelemetry collector for tests, by the exact versions of its go.mod: https://github.com/open-telemetry/opentelemetry-collector, Apache-2.0.
COLLECTOR := $(if $(shell command -v go),var/collector/collector)

# Prometheus's own judge of metrics: the one that is installed, else the one of Debian's package, which is unpacked and not installed.
PROMTOOL  := $(or $(shell command -v promtool),$(if $(shell command -v apt-get),var/promtool/usr/bin/promtool))

# The load generator, by exact version: https://github.com/bojand/ghz, Apache-2.0.
GHZ_VERSION := v0.121.0
GHZ         := $(if $(shell command -v go),var/ghz/ghz-$(GHZ_VERSION))
# Draws flame graphs: https://github.com/jonhoo/inferno, CDDL-1.0, a tool beside the product.
INFERNO_VERSION := 0.12.8
# The settings of load tests that may be given to make: `python3 benches/load/load.py help`.
SETTINGS    := RPS P99_MS SECONDS WARMUP CALL ADDRESS ADMIN MODELS ERRORS_PERCENT DEADLINE_MS CONNECTIONS MINUTES SLICE \
               GROWTH_PERCENT P99_FACTOR EVERY PROFFER GHZ

# The seed of property tests is fixed here, so that a change is judged by what it changes; `make properties` draws others.
PROPTEST_RNG_SEED ?= 1

.PHONY: run test lint docs build onnxruntime fuzz properties chaos replay-test swap-test swap-costs shadow-memory lanes stats bench-hostile bench bench-records bench-limits bench-experiments bench-shadows bench-report bench-history bench-segment bench-peers flame ghz load-test load-swap soak clean

run: build var/store/CURRENT
	@scripts/run.sh $(BINARY)

# What tests run against beside the server.
TEST_TOOLS := $(VENV)/.installed $(TREES)/.trained $(S3) $(PROMTOOL) $(COLLECTOR)

# The lints need the processor, the tools mostly the network: they are made side by side.
test: export PROPTEST_RNG_SEED := $(PROPTEST_RNG_SEED)
test: onnxruntime
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line lint $(TEST_TOOLS)
	@test -n "$(S3)" || echo "Go is not installed: the tests that need an S3-compatible server or a collector of traces are skipped"
	PROFFER_TEST_PYTHON=$(CURDIR)/$(VENV)/bin/python PROFFER_TEST_S3=$(if $(S3),$(CURDIR)/$(S3)) PROFFER_TEST_PROMTOOL=$(abspath $(PROMTOOL)) PROFFER_TEST_COLLECTOR=$(abspath $(COLLECTOR)) PROFFER_TEST_TREES=$(CURDIR)/$(TREES) $(CARGO) test --locked --workspace --lib --bins --tests
	$(CARGO) test --locked --workspace --doc
	$(PYTHON) -B -m unittest discover --quiet --start-directory benches/load
	$(PYTHON) -B -m unittest discover --quiet --start-directory benches/peers
	$(PYTHON) -B -m unittest discover --quiet --start-directory scripts

lint:
	$(PYTHON) -B scripts/check_docs.py
	$(PYTHON) -B scripts/check_dependencies.py
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

# The pages of docs/ as a site in target/book.
docs: var/mdbook/bin/mdbook
	$(PYTHON) -B scripts/reference.py
	var/mdbook/bin/mdbook build docs

# https://github.com/rust-lang/mdBook, MPL-2.0, a tool beside the product; takes some minutes, once.
MDBOOK_VERSION := 0.5.4
var/mdbook/bin/mdbook:
	$(CARGO) install --quiet --locked --root var/mdbook --version $(MDBOOK_VERSION) mdbook

build: onnxruntime
	$(CARGO) build --locked --release

onnxruntime:
	@$(PYTHON) scripts/fetch_onnxruntime.py

# Every decoder with mutated inputs, for MINUTES in all; `make test` does some thousands of each. What fails is kept in target/fuzz.
FUZZ_TARGETS := 24
fuzz: MINUTES ?= 10
fuzz: export PROFFER_TEST_FUZZ_SECONDS = $(shell expr $(MINUTES) \* 60 / $(FUZZ_TARGETS))
fuzz:
	$(CARGO) test --locked --test fuzz -- --nocapture --test-threads 1
	$(CARGO) test --locked --workspace --lib -- --nocapture --test-threads 1 tests::fuzz_

# A server under load is killed KILLS times at any moment; no acknowledged decision may be lost, and its history must be what
# the log says; takes minutes.
chaos: KILLS ?= 200
chaos: onnxruntime $(VENV)/.installed
	PROFFER_TEST_KILLS=$(KILLS) PROFFER_TEST_PYTHON=$(CURDIR)/$(VENV)/bin/python $(CARGO) test --locked --test server -- --nocapture --test-threads 1 \
		records::what_was_acknowledged outcomes::history

# DECISIONS of every kind over three releases, in a directory and in a bucket, decided again to the byte; takes minutes.
replay-test: DECISIONS ?= 100000
replay-test: onnxruntime $(S3)
	PROFFER_TEST_DECISIONS=$(DECISIONS) PROFFER_TEST_S3=$(if $(S3),$(CURDIR)/$(S3)) $(CARGO) test --locked --test server records_replay:: -- --nocapture

# Every property with ROUNDS new seeds. A failing one prints its input and is kept in proptest-regressions/, which later runs try first.
properties: ROUNDS ?= 5
properties: onnxruntime
	for round in $$(seq $(ROUNDS)); do $(CARGO) test --locked --workspace --lib --bins --quiet || exit 1; done

# A changed workspace makes a store of its own beside the old one, which is kept: it may hold releases of yours.
var/store/CURRENT: $(WORKSPACE) | build
	@if [ -e $@ ]; then mv var/store "var/store.$$(date +%Y%m%d-%H%M%S)"; echo "models/ has changed: the old store was moved aside"; fi
	@$(BINARY) init --store var/store --from models

# Python clients and references that the tests compare with, by exact version.
$(VENV)/.installed: tests/requirements.txt examples/retrain/requirements.txt models/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	touch $@

# What the native engine is held against ONNX Runtime with.
$(TREES)/.trained: tests/golden/trees.py tests/golden/requirements-trees.txt
	$(PYTHON) -m venv var/venv-trees
	var/venv-trees/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/golden/requirements-trees.txt
	var/venv-trees/bin/python tests/golden/trees.py $(TREES)
	touch $@

# Go checks what it downloads against its checksum database.
var/s3/versitygw-$(VERSITYGW):
	GOBIN=$(CURDIR)/var/s3 CGO_ENABLED=0 go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW)
	mv var/s3/versitygw $@

# Takes two to three minutes of one core, once.
var/collector/collector: tests/collector/go.mod tests/collector/main.go
	cd tests/collector && CGO_ENABLED=0 go build -buildvcs=false -ldflags "-s -w" -o $(CURDIR)/$@ .

# Without it the test that wants it is skipped. Any version will do: what it finds has grown little in years.
var/promtool/usr/bin/promtool:
	@mkdir -p var/promtool
	@cd var/promtool && { apt-get -qq download prometheus || { apt-get -qq update && apt-get -qq download prometheus; }; } \
		&& dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb \
		|| echo "promtool cannot be had: the test that judges the metrics is skipped"

# A thousand swaps under load, at most ten minutes: what `make test` shows in a short form, with its figures held to their limits.
swap-test: build
	PROFFER_TEST_BINARY=$(BINARY) $(CARGO) test --locked --test server swap::full -- --ignored --nocapture --exact

# What a swap costs beside latency: from a push to live, memory of a warm release, convergence of a replica.
swap-costs: build $(S3)
	PROFFER_TEST_BINARY=$(BINARY) PROFFER_TEST_S3=$(if $(S3),$(CURDIR)/$(S3)) $(CARGO) test --locked --test server swap_costs::costs -- --ignored --nocapture --exact

# Memory of a server all of whose DECISIONS are compared with a shadow, across promotions; takes minutes. `make test` does it with
# 20,000.
shadow-memory: DECISIONS ?= 1000000
shadow-memory: build
	PROFFER_TEST_SHADOWED=$(DECISIONS) PROFFER_TEST_BINARY=$(BINARY) $(CARGO) test --locked --test server shadows::memory:: -- --nocapture

# Latency of Rank alone and beside a stream of bulk work that runs flat out; exits non-zero where its p99 more than doubles.
lanes: build
	PROFFER_TEST_BINARY=$(BINARY) $(CARGO) test --locked --test server lanes::interactive_latency_beside_bulk_work -- --ignored --nocapture --exact

# Inverse propensity weighting with the probabilities of exploration recovers the value of another policy, in REPETITIONS
# simulations: what `make test` shows with 1,000. Then 2,000 A/A tests of which each is looked at 1,000 times: what
# `make test` shows with 200. Takes minutes.
stats: REPETITIONS ?= 5000
stats:
	PROFFER_TEST_REPETITIONS=$(REPETITIONS) $(CARGO) test --locked -p proffer-experiment --lib -- --nocapture inverse_propensity
	$(CARGO) test --locked -p proffer-statistics --lib -- --ignored --nocapture over_2000_tests

# Latency of Rank alone and under each attack of the hostile client; exits non-zero where its p99 more than doubles.
bench-hostile: build
	PROFFER_TEST_BINARY=$(BINARY) $(CARGO) test --locked --test server hostile::latency_under_attack -- --ignored --nocapture --exact

# The figures of docs/benchmarks.md; CI does not run them.
bench: onnxruntime
	$(CARGO) bench --locked --bench serving
	$(CARGO) bench --locked --bench customer_store
	$(CARGO) bench --locked --bench rules
	$(CARGO) bench --locked --bench trees

# What records cost and how fast they are read and decided again, with their goals; exits non-zero where one is missed.
# Takes some minutes and three gigabytes of disk. PROFFER_TEST_EVENTS=10000000 adds reading back that many.
bench-records: onnxruntime
	$(CARGO) bench --locked --bench serving -- records

# What limits cost a call, and how many outcomes a server takes beside calls, with their goals; exits non-zero where one is
# missed.
bench-limits: onnxruntime
	$(CARGO) bench --locked --bench serving -- limits

# What experiments cost a customer and a call, with their goals; exits non-zero where one is missed.
bench-experiments: onnxruntime
	$(CARGO) bench --locked -p proffer-experiment --bench assignment
	$(CARGO) bench --locked --bench serving -- experiments

# What shadows cost calls, and what a report of a million comparisons costs, with their goals; exits non-zero where one of
# the first is missed.
bench-shadows: onnxruntime
	$(CARGO) bench --locked -p proffer-shadow --bench comparisons
	$(CARGO) bench --locked --bench serving -- shadows

# What the report of an experiment takes, of one and of two million recorded decisions: time and memory.
bench-report:
	$(CARGO) bench --locked -p proffer-analysis --bench report

# What the history of a million customers takes, and a view of one of them; exits non-zero where a goal is missed.
bench-history:
	$(CARGO) bench --locked -p proffer-history --bench history

# Segments beside scikit-learn, in turn, from the same points.
bench-segment: var/venv-bench/.installed
	CARGO="$(CARGO)" var/venv-bench/bin/python benches/segment/peers.py

var/venv-bench/.installed: benches/segment/requirements.txt
	$(PYTHON) -m venv var/venv-bench
	var/venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# The same model and rows through other servers and libraries, in one run; what it needs goes into a virtual environment.
bench-peers: onnxruntime var/venv-peers/.installed
	CARGO="$(CARGO)" var/venv-peers/bin/python -B benches/peers/peers.py

var/venv-peers/.installed: benches/peers/requirements.txt
	@echo "installing the peers of $< into var/venv-peers"
	$(PYTHON) -m venv var/venv-peers
	var/venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Where the server's CPU time goes under load, drawn; perf itself comes from the system's packages.
flame: onnxruntime $(GHZ) var/inferno/.installed
	RUSTFLAGS="-C force-frame-pointers=yes" $(CARGO) build --locked --release --bin proffer --target-dir $(TARGET)/flame
	@scripts/flame.sh $(TARGET)/flame/release/proffer

var/inferno/.installed:
	$(CARGO) install --quiet --locked --root var/inferno --version $(INFERNO_VERSION) inferno
	touch $@

ghz: $(GHZ)
	@test -n "$(GHZ)" || { echo "ghz is installed by Go, which is not there"; exit 1; }

var/ghz/ghz-$(GHZ_VERSION):
	GOBIN=$(CURDIR)/var/ghz CGO_ENABLED=0 go install github.com/bojand/ghz/cmd/ghz@$(GHZ_VERSION)
	mv var/ghz/ghz $@

# A rate of varied calls and a verdict, as in `make load-test RPS=500 P99_MS=20`: benches/load/load.py says what else may be set.
# A server of its own is built and started unless ADDRESS names one.
load-test load-swap soak: $(GHZ) $(if $(ADDRESS)$(PROFFER),,build)
	@$(PYTHON) benches/load/load.py $(@:load-%=%) $(if $(ADDRESS)$(PROFFER),,'PROFFER=$(BINARY)') $(foreach name,$(SETTINGS),$(if $($(name)),'$(name)=$($(name))'))

clean:
	rm -rf target var
