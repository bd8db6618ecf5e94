# Under the Roofline. `make help` lists what there is; `make lab` is all that a learner needs.
# Works with GNU make 3.81, which macOS has, and a POSIX shell. Windows: see the README.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Handed on to the tool that does the work.
LAB_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=

# JupyterLab asks nobody for news or updates, nor the learner whether it may: no network is needed.
# It refuses to serve as root unless told, and in a container one is often root.
LAB := $(BIN)/jupyter lab --ServerApp.root_dir=chapters \
	--LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	--LabApp.app_settings_dir=lib/roofline/lab/jupyter
ifeq ($(shell id -u),0)
LAB += --allow-root
endif

# One process for each core; each computes on one thread, or they fight for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
	--nbval-lax --nbval-cell-timeout=120 --nbval-current-env

.DEFAULT_GOAL := help
.PHONY: help lab test notebooks bench lint instructor venv clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: $(VENV)/.learner ## open the course in JupyterLab (LAB_ARGS="--no-browser --port 8899")
	$(LAB) $(LAB_ARGS)

test: $(VENV)/.developer ## run every test, and every notebook (TEST_ARGS="tests/nn -k gelu")
	$(PYTEST) $(if $(TEST_ARGS),$(TEST_ARGS),tests solutions chapters)

notebooks: $(VENV)/.developer ## build solutions/*/*.ipynb and chapters/ from solutions/*.py
	$(BIN)/python -m roofline.classroom.build

bench: $(VENV)/.developer ## run the benchmarks and write build/bench.json (BENCH_ARGS="backprop")
	$(BIN)/python tests/bench $(BENCH_ARGS)

lint: $(VENV)/.developer ## check format, style and types, sources of the chapters included
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

instructor: $(VENV)/.instructor ## install what releasing and grading need (nbgrader)

venv: $(BIN)/python ## make an empty .venv

clean: ## delete .venv and build
	rm -rf $(VENV) build

# $(call careful,command): run a command; where it fails, turn what a user can mend into one line.
# Its standard output passes through, its standard error is held back until it is known.
define careful
{ said=$$($(1) 2>&1 >&3 3>&-) || { \
	case "$$said" in \
	*"No space left"*|*"Errno 28"*|*"Disk quota"*) echo "The disk is full: free 3 GB here and in $${TMPDIR:-/tmp} (8 GB with CUDA), then call make again." ;; \
	*ensurepip*|*"No module named venv"*) echo "$(NO_VENV)" ;; \
	*) echo "$$said" ;; \
	esac >&2; false; }; } 3>&1
endef

NO_VENV = $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv), then call make again.

# An empty environment. No other file of it counts: an older one is brought up to date by pip.
$(BIN)/python:
	@[ "$$($(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11))' 2>&1)" = True ] || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1): install one and name it, as in make $(or $(MAKECMDGOALS),lab) PYTHON=python3.12." >&2; exit 1; }
	@[ "$$($(PYTHON) -c 'import ensurepip, venv; print(True)' 2>&1)" = True ] || { echo "$(NO_VENV)" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(call careful,$(PYTHON) -m venv $(VENV)) || { rm -rf $(VENV); exit 1; }

# One stamp for each set of packages, so that a second call starts at once. Installing a larger set
# leaves the smaller ones in place, so it stamps them too.
SETS = pyproject.toml constraints.txt
install = @echo "Installing into $(VENV), once: some minutes"; \
	$(call careful,$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e $(1))

$(VENV)/.learner: $(SETS) | $(BIN)/python
	$(call install,.)
	@touch $@

$(VENV)/.instructor: $(SETS) | $(BIN)/python
	$(call install,'.[instructor]')
	@touch $(VENV)/.learner $@

$(VENV)/.developer: $(SETS) | $(BIN)/python
	$(call install,'.[dev]')
	@touch $(VENV)/.learner $(VENV)/.instructor $@
