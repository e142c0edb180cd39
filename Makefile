# `make demo` restores a photograph, `make test` runs the tests; both make the environment first.
#
# Another build of PyTorch:  make demo TORCH="torch" TORCHVISION="torchvision" PIP_OPTIONS="--index-url URL"
# Another Python:            make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0
PIP_OPTIONS ?=
PYTEST_OPTIONS ?=

RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip --disable-pip-version-check install --quiet $(PIP_OPTIONS)

.PHONY: demo test test-full fuzz lint format clean

demo: $(VENV)/ready
	@mkdir -p out
	@$(VENV)/bin/gpen restore docs/samples/astronaut-damaged.jpg --output out/demo.png --compare --overwrite
	@echo "Before | after: $(CURDIR)/out/demo_compare.png"

test: $(VENV)/ready
	$(RUN) -m pytest -m "not full" $(PYTEST_OPTIONS)

test-full: $(VENV)/ready
	$(RUN) -m pytest -m full $(PYTEST_OPTIONS)

# Half an hour; FUZZ_SECONDS=60 make fuzz is a short one. See tests/fuzz/model_files.py.
fuzz: $(VENV)/ready
	-$(PIP) atheris
	$(RUN) tests/fuzz/model_files.py

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# torch goes first and alone: what follows then finds it there and asks for no other build.
$(VENV)/ready: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$(TORCH)"
	$(PIP) "$(TORCH)" "$(TORCHVISION)" --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
