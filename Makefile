# What CI runs, and what people run. Everything that is fetched or compiled goes below SLUICE_CACHE.
#
# Everything is built in one profile (release) and always with `--workspace`: another selection of packages means other
# features of their dependencies, and Cargo would compile 450 crates again. So the tests run the very code that ships.

SLUICE_CACHE ?= $(HOME)/.cache/sluice
CARGO_TARGET_DIR ?= $(SLUICE_CACHE)/target
export SLUICE_CACHE CARGO_TARGET_DIR

CARGO_DENY_VERSION := 0.20.2
BIN := $(CARGO_TARGET_DIR)/release
TOOLS := $(SLUICE_CACHE)/tools/bin
IMAGE ?= localhost/sluice
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)

.PHONY: help setup-build setup build demo test test-most test-takeover test-repair lint generate check-generated deny chart image mutants e2e kube cluster cluster-down soak bench bench-operator fuzz miri

help:
	@echo "make demo             an embedded Kafka, a million records, a folder of Parquet: the whole thing in a minute"
	@echo "make test             all tests that need nothing but this machine"
	@echo "make lint             format, clippy, licences and bans, generated files"
	@echo "make generate         writes the generated files anew (crds/*.yaml, the chart's copy of them, docs/reference)"
	@echo "make check-generated  fails when a generated file is not what the sources say"
	@echo "make chart            the Helm chart: rendered, compared, checked against schemas, alerts and health checks tried"
	@echo "make chart UPDATE=1   writes its README.md and the rendered manifests anew"
	@echo "make image            one image with both programs, as an OCI archive"
	@echo "make mutants          breaks the rules of the ledger one by one and shows the test that notices (some minutes)"
	@echo "make fuzz             the decoder under AddressSanitizer, with a million damaged records and then any bytes (twenty minutes)"
	@echo "make miri             its kernels and whole records under Miri (needs a nightly compiler with it)"
	@echo "make setup            fetches what the chart's checks need, and Kafka, two S3 servers and three readers of Parquet for the next two"
	@echo "make e2e              the promises, against a real Kafka and a real S3 server (about five minutes), then make kube"
	@echo "make kube             the promises on a cluster: brings up a real Kubernetes, runs, takes it down; or on that of KUBECONFIG"
	@echo "make cluster          a Kubernetes of one node with the image in it, to try things on; make cluster-down ends it"
	@echo "make bench            what a record costs, in Sluice, Spark, Flink and others: writes bench/RESULTS.md (an hour; a machine with nothing else to do)"
	@echo "make bench-operator   what the operator costs with a thousand jobs, on a real API server (ten minutes; a machine with nothing else to do)"
	@echo "make soak             the same with a thousand deaths at seeded steps and a hundred kills (hours)"

setup-build:
	@scripts/setup-build.sh

setup: setup-build
	@charts/tests/setup.sh
	@e2e/cluster/setup.sh

build: setup-build
	cargo build --release --workspace --bins

demo: build
	$(BIN)/sluice demo

# The end-to-end tests are marked `test = false`, so this leaves them out; so are two that mostly wait, which run beside the others.
test: setup-build
	cargo test --release --workspace --no-run
	cargo test --release --workspace --no-run --test takeover --test repair
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-most test-takeover test-repair

test-most:
	cargo test --release --workspace

test-takeover test-repair:
	cargo test --release --workspace --test $(@:test-%=%)

# The chart's checks need Helm, which takes minutes to compile: they are made where `make setup` was.
lint: setup-build check-generated deny $(if $(wildcard $(SLUICE_CACHE)/bin/helm),chart)
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

generate: build
	$(BIN)/generate-crds

check-generated: build
	$(BIN)/generate-crds --check

chart:
	@charts/tests/setup.sh
	@charts/tests/run.sh $(if $(UPDATE),--update)

image: build
	@scripts/image.sh $(BIN) $(IMAGE):$(VERSION)

# The database of advisories is fetched from the network, which not every machine may do: SLUICE_ADVISORIES=1 asks for it.
deny: $(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION)
	$< --locked --workspace check --hide-inclusion-graph bans licenses sources $(if $(SLUICE_ADVISORIES),advisories)

# Built beside the workspace, so that no setting of ours changes the tool.
$(TOOLS)/cargo-deny-$(CARGO_DENY_VERSION):
	CARGO_TARGET_DIR=$(SLUICE_CACHE)/tools/target cargo install --locked --quiet --root $(SLUICE_CACHE)/tools cargo-deny@$(CARGO_DENY_VERSION)
	rm -rf $(SLUICE_CACHE)/tools/target
	mv $(TOOLS)/cargo-deny $@

# One rule alone: make mutants MUTANT=gap-twice. SLUICE_MUTANTS_E2E=1 takes those along that only the end-to-end tests notice.
# Not in CI: it compiles the worker and its tests a second time.
mutants: setup-build $(if $(SLUICE_MUTANTS_E2E),setup)
	python3 worker/tests/mutants/run.py $(MUTANT)

# FOR: seconds of any bytes. Not in CI: it compiles Arrow a second time, with the sanitizer.
fuzz: setup-build
	worker/fuzz/run.sh $(FOR)

miri: setup-build
	worker/fuzz/miri.sh

# Some tests of the worker's library need the real servers. This says which program holds them.
WORKER_TESTS = cargo test --release --workspace --lib --no-run --message-format=json-render-diagnostics | python3 -c \
	'import json, sys; [print(m["executable"]) for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "sluice_worker"]'

# One test alone: make e2e TEST=kill_nine. See e2e/tests/e2e/main.rs for the variables.
# Several at a time, however few the cores are: most of a test is waiting for sessions, sockets and windows.
e2e: setup build
	SLUICE_WORKER_TESTS="$$($(WORKER_TESTS))" cargo test --release --workspace --test e2e -- --test-threads=3 --nocapture $(TEST)
	$(if $(TEST),,$(MAKE) --no-print-directory kube)

# One test alone: make kube TEST=scale. A cluster that is there needs the image under the name SLUICE_IMAGE, and must reach this
# machine at SLUICE_HOST; see e2e/tests/kube/main.rs.
kube: setup build $(if $(KUBECONFIG),,image)
	$(if $(KUBECONFIG),,@e2e/cluster/kube/setup.sh)
	@e2e/cluster/kube/with.sh cargo test --release --workspace --test kube -- --test-threads=3 --nocapture $(TEST)

# To try things on. As root on Debian; see docs/install.md.
cluster: image
	@e2e/cluster/kube/setup.sh
	@e2e/cluster/kube/up.sh

cluster-down:
	@e2e/cluster/kube/down.sh

soak: export SLUICE_ROUNDS ?= 100
soak: export SLUICE_KILLS ?= 1000
soak: e2e

# Other flags: make bench FLAGS="--no-peers --runs 3". Not in CI, as the next one.
bench: setup build
	@bench/peers/setup.sh
	@$(BIN)/pipeline --programs $(BIN) --page bench/RESULTS.md --json bench/results.json --profiles bench/profiles $(FLAGS)

# Other flags: make bench-operator FLAGS="--jobs 100 --json". Not in CI: figures of a machine that does other things beside it say little.
bench-operator: setup-build build
	@e2e/cluster/kube/setup.sh
	@bench/operator.sh $(BIN) $(FLAGS)
