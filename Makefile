# Everything needed on a fresh machine: `make demo` and `make test`. Python >= 3.11 and PyPI.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-benchmarks lint types docs clean

demo: $(READY)
	$(BIN)/python demo/demo.py

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-benchmarks: $(READY)
	$(BIN)/python -m pytest benchmarks/tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/python .ci/write_stubs.py
	$(BIN)/mypy

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

$(READY): setup.cfg setup.py pyproject.toml constraints.txt
	rm -rf *.egg-info  # of an earlier installation, which Python would read first
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python .ci/write_stubs.py  # for editors
	touch $@

clean:
	rm -rf .venv .typings demo-output build *.egg-info
