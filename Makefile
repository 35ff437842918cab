# Every target sets up its own environment: a fresh clone needs only Python 3.10 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAUNCH := $(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no
INSTALLED := $(VENV)/.installed
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help install browser quickstart test test-slow style quality clean

help:
	@echo "make install      install the package and its test requirements into .venv"
	@echo "make quickstart   train a small SAT on generated shapes, evaluate it, draw its boxes (8 minutes on two cores)"
	@echo "make test         run the test suite (16 minutes on two cores)"
	@echo "make test-slow    run the tests that train for minutes, on real data too (SAT_REAL_DATA=FOLDER)"
	@echo "make style        format the code"
	@echo "make quality      check format and lint"
	@echo "make clean        remove .venv, outputs and build files"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

quickstart: install
	$(LAUNCH) scripts/train.py --config scripts/configs/shapes/quickstart.yaml
	$(LAUNCH) scripts/evaluate.py --model outputs/quickstart/model --dataset shapes \
		--output_dir outputs/quickstart

# The demo is tested in a real browser; without one, those tests are skipped.
browser:
	@command -v chromedriver >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && \
		apt-get -qq install -y chromium chromium-driver >/dev/null; } || \
		echo "No browser could be installed; the tests of the demo in Chromium will be skipped."

# On all cores; the tests of one file run on the same core, since they share fixtures.
test: install browser
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test-slow: install
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow -s

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) outputs build *.egg-info
