# make train: a network trained on the embedded digits. make test: every equation against torch.autograd.
# Both make .venv first. PYTHON=python3.12 chooses the interpreter it is made from.

PYTHON ?= python3
BIN := .venv/bin

# make benchmark: an epoch against the peers, in 12 minutes or so; results in benchmarks/.
# make help: keeps what --help of the programs prints, after a change of options.
.PHONY: train test slow lint mutants benchmark help

train: .venv/installed
	$(BIN)/python scripts/train.py --dataset digits

test: .venv/installed
	$(BIN)/python -m pytest -q -n 2

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

slow: .venv/installed
	$(BIN)/python -m pytest -q -n 2 -m slow

benchmark: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[benchmark]'
	$(BIN)/python scripts/benchmark --memory

help: .venv/installed
	$(BIN)/python tests/keep_help.py

mutants: .venv/installed
	$(BIN)/python tests/mutants.py

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'bp_torch needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
