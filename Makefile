# make demo     find coins in a photograph; train a few-shot detector on generated scenes, evaluate it on unseen classes, draw
# make test     lint, types, all tests, the generated tables up to date, the documentation built strictly
# make browser  Chromium for the tests of the page, where it is missing
# make label-studio  the test with a real Label Studio, in an environment of its own
# make docs     the documentation alone, into build/site
# make types    mypy alone
# make bench    side-by-side measurements, kept in models/results where the checkout is committed
# make results  the tables of README.md and docs/results/ from models/results
# make campaign  thousands of odd files, dozens of kills: the long form of tests/reliability
# make mutate   small faults in chosen modules, one at a time: do the tests see them? (hours; LIMIT=12 takes a dozen of each)
# make audit    the locked packages against the known vulnerabilities (asks the network)
# make portable, make sanitize: csrc's tests under another torch and Python, and under sanitizers
#
# Each sets up what it needs first: a virtual environment, the locked packages, the compiled RoI layers.
# Settings: PYTHON (3.10 or newer), VENV, TORCH_CUDA_ARCH_LIST (CUDA kernels; default: the GPU that is there).

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
DEMO := work_dirs/demo
SHELL := /bin/bash

.PHONY: demo test browser label-studio types docs bench results setup sanitize portable audit campaign mutate lock clean
.DELETE_ON_ERROR:

setup: $(VENV)/.packages $(VENV)/.built

# uv installs ten times as fast as pip; it goes into the environment where the machine has none.
INSTALL = uv=$$(command -v uv || echo $(VENV)/bin/uv); $$uv pip install --quiet --compile-bytecode --python $(RUN) --no-deps

$(VENV)/.packages: requirements.lock
	@echo "== environment $(VENV) and the packages of requirements.lock"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@command -v uv > /dev/null || $(RUN) -m pip install --quiet --disable-pip-version-check uv
	@$(INSTALL) --requirement requirements.lock
	@touch $@

$(VENV)/.packages-dev: requirements-dev.lock $(VENV)/.packages
	@echo "== the packages of requirements-dev.lock: tests, documentation, page, export"
	@$(INSTALL) --requirement requirements-dev.lock
	@touch $@

# No compiler is no error: the layers then come from torchvision, with one notice.
$(VENV)/.built: $(VENV)/.packages setup.py pyproject.toml $(wildcard csrc/*.cpp csrc/*.h csrc/*.cu csrc/*.cuh)
	@echo "== RoI layers of csrc, and this checkout into the environment"
	@$(RUN) setup.py --quiet build develop
	@touch $@

demo: setup
	@echo "== first look: one coin marked in a photograph, the others found"
	@$(RUN) -m detection.first_look
	@echo "== training: scenes, detector, evaluation (6 minutes on two cores with bfloat16 units, up to 22 without)"
	@$(RUN) -m detection.train experiments/detection/demo.yaml --resume auto
	@$(RUN) -m detection.evaluate experiments/detection/demo.yaml $(DEMO)
	@echo "== look at work_dirs/first_look and $(DEMO)/pictures"

# Two processes at once, each with one thread: half of the tests, by their time, in each.
TESTS_APART := tests/detection tests/repmet

test: setup $(VENV)/.packages-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(MAKE) --no-print-directory types
	$(RUN) -m benchmarks.tables --check
	$(MAKE) --no-print-directory docs
	@mkdir -p build
	@export OMP_NUM_THREADS=1; $(RUN) -m pytest $(TESTS_APART) > build/tests.log 2>&1 & first=$$!; \
	    $(RUN) -m pytest $(addprefix --ignore=,$(TESTS_APART)); second=$$?; \
	    wait $$first; first=$$?; cat build/tests.log; exit $$(( first | second ))

# Without it the tests of the page in a browser are skipped, with the reason.
browser: setup $(VENV)/.packages-dev
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null \
	    || { test "$$(id -u)" = 0 && apt-get install --quiet --yes chromium > /dev/null 2>&1; } \
	    || $(RUN) -m playwright install chromium \
	    || echo "no Chromium could be installed: the page's browser tests are skipped"

# Its seventy packages pin what ours do not: they stay out of $(VENV).
label-studio: setup $(VENV)/.packages-dev build/label-studio/.installed
	$(RUN) -m pytest -m labelstudio -q

build/label-studio/.installed:
	@uv=$$(command -v uv || echo $(VENV)/bin/uv); $$uv venv --quiet --clear --python $(RUN) build/label-studio \
	    && $$uv pip install --quiet --python build/label-studio/bin/python label-studio==1.23.2
	@touch $@

# mypy and mkdocstrings read files and run nothing: for them the trees lie inside of `repmet`, as in a wheel.
TREES := classification detection model_definitions experiments data benchmarks
build/tree/repmet: $(wildcard repmet/*)
	@rm -rf build/tree && mkdir -p $@
	@ln -s $(addprefix $(CURDIR)/,$(TREES) $(filter-out %__pycache__,$(wildcard repmet/*))) $@/

types: setup $(VENV)/.packages-dev build/tree/repmet
	$(RUN) -m mypy $(addprefix build/tree/,repmet/model_definitions $(filter-out %__pycache__ %py.typed,$(wildcard repmet/*)))

docs: setup $(VENV)/.packages-dev build/tree/repmet
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet
	@echo "== documentation: build/site/index.html"

bench: setup build/peers/.installed
	$(RUN) -m benchmarks.ops --out build/bench/ops.json
	$(RUN) -m benchmarks.training --out build/bench/training.json
	$(RUN) -m benchmarks.prototypes --out build/bench/prototypes.json
	$(RUN) -m benchmarks.episodic_detection --out build/bench/episodic_detection.json
	$(RUN) -m benchmarks.latency --out build/bench/latency.json
	$(RUN) -m benchmarks.cold_start --out build/bench/cold_start.json
	PYTHONPATH=build/peers $(RUN) -m benchmarks.episodes --out build/bench/episodes.json
	PYTHONPATH=build/peers $(RUN) -m benchmarks.retrieval --out build/bench/retrieval.json
	$(RUN) -m benchmarks.tables --keep benchmarks build/bench/*.json

# What we measure ourselves against and do not depend on lies in a folder of its own.
build/peers/.installed: $(VENV)/.packages
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target build/peers easyfsl==1.5.0 pandas tqdm faiss-cpu packaging \
	    ultralytics ultralytics-thop polars psutil transformers tokenizers huggingface-hub regex filelock fsspec hf-xet \
	    httpx httpcore h11 anyio certifi idna typer-slim requests charset-normalizer urllib3 safetensors
	@touch $@

results: setup
	$(RUN) -m benchmarks.tables

# The operators' tests under the address and undefined-behaviour sanitizers (minutes; not part of `make test`).
sanitize: setup
	FORCE_CUDA=0 CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" \
	    LDFLAGS="-fsanitize=address,undefined" \
	    $(RUN) setup.py build_ext --build-lib build/sanitize --build-temp build/sanitize-objects
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	    REPMET_CSRC=build/sanitize/repmet/csrc REPMET_FUZZ=300 $(RUN) -m pytest tests/csrc -q

# Seeds of the generators (some 400 files each), and rounds of kills (ten each).
REPMET_SEEDS ?= 8
REPMET_KILLS ?= 4
campaign: setup $(VENV)/.packages-dev
	REPMET_SEEDS=$(REPMET_SEEDS) REPMET_KILLS=$(REPMET_KILLS) REPMET_CAMPAIGN=build/campaign/reliability.json OMP_NUM_THREADS=1 \
	    $(RUN) -m pytest tests/reliability -q -m "campaign or not campaign"

# Small faults in the modules of tests/mutation/modules.yaml, one at a time: do their tests see them? LIMIT: so many a module
# (all of them take hours), drawn by SEED. cosmic-ray makes the mutants; it stays out of $(VENV).
mutate: setup $(VENV)/.packages-dev build/cosmic-ray/.installed
	PYTHONPATH=build/cosmic-ray OMP_NUM_THREADS=1 $(RUN) -m tests.mutation $(if $(LIMIT),--limit $(LIMIT)) $(if $(SEED),--seed $(SEED)) --out build/mutation/mutation.json

build/cosmic-ray/.installed:
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --target build/cosmic-ray cosmic-ray==8.7.0 parso stevedore
	@touch $@

# pip-audit depends on what ours do not: it stays out of $(VENV). Of the locks it takes what this system and Python take;
# a package that nobody could be asked about is a failure.
audit: build/audit/bin/pip-audit
	build/audit/bin/pip-audit --strict --requirement requirements.lock --requirement requirements-dev.lock --no-deps \
	    --disable-pip --progress-spinner off

build/audit/bin/pip-audit:
	@$(PYTHON) -m venv --clear build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit

# One binary: the operators' tests on csrc as it is built here, in an environment with another torch and, if wanted, another
# Python, and without torchvision (the definitions are the reference then). For example
#   make portable PORTABLE_PYTHON=python3.13 PORTABLE_TORCH=torch==2.10.0
PORTABLE_PYTHON ?= $(PYTHON)
PORTABLE_TORCH ?= torch
PORTABLE := build/portable
portable: setup
	@echo "== environment $(PORTABLE): $(PORTABLE_TORCH) for $(PORTABLE_PYTHON)"
	@$(PORTABLE_PYTHON) -m venv --clear $(PORTABLE)
	@$(PORTABLE)/bin/python -m pip install --quiet --disable-pip-version-check '$(PORTABLE_TORCH)' pytest
	@$(RUN) -c 'import platform, torch; print("built with  torch", torch.__version__, " Python", platform.python_version())'
	@$(PORTABLE)/bin/python -c 'import platform, torch; print("tested with torch", torch.__version__, " Python", platform.python_version())'
	@$(PORTABLE)/bin/python -c 'from model_definitions import roi_layers as r; assert r.backend() == "csrc", r._REASON'
	$(PORTABLE)/bin/python -m pytest -q tests/csrc tests/model_definitions/test_roi_layers.py

clean:
	rm -rf $(VENV) build *.egg-info csrc/*.so

# New locks: versions and no addresses, for all systems and Pythons from 3.10 on. The first is what `make demo` needs; the
# second what tests, documentation, page and export need on top of it.
COMPILE = uv pip compile pyproject.toml --extra detection --extra timm --extra fonts --universal --python-version 3.10 --no-header --no-annotate
lock:
	$(COMPILE) --constraint <(printf 'torch==2.11.0\ntorchvision==0.26.0\n') --output-file requirements.lock
	@mkdir -p build
	$(COMPILE) --extra page --extra video --extra runtime --extra docs --extra similar --extra test --constraint requirements.lock --output-file build/all.lock
	grep -vxFf requirements.lock build/all.lock > requirements-dev.lock
