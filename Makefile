.PHONY: demo test check dev bench docs clean

PYTHON ?= python3
BIN := .venv/bin
CODE := run_assets tests examples benchmarks docs
SETTLED := DAGSTER_DISABLE_TELEMETRY=1 DAGSTER_HOME=$(CURDIR)

demo: .venv/.installed
	$(SETTLED) $(BIN)/run-assets demo .

test: .venv/.installed-dev
	$(SETTLED) $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -q

check: .venv/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --nocolor -q sql
	$(BIN)/python docs/build_tables.py --check
	$(BIN)/python docs/build_rules.py --check

dev: .venv/.installed
	$(BIN)/run-assets ui

bench: .venv/.installed-dev
	$(BIN)/python benchmarks/wandb_files.py
	$(BIN)/python benchmarks/refresh.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/wandb_api.py
	$(BIN)/python benchmarks/results_db.py
	$(BIN)/python benchmarks/statistics.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/family_wise_error.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/trends.py
	$(BIN)/python benchmarks/diagnosis.py
	$(BIN)/python benchmarks/curves.py $(if $(PPO),--ppo $(PPO))

docs: .venv/.installed-dev
	$(BIN)/python docs/build_tables.py
	$(BIN)/python docs/build_rules.py

clean:
	rm -rf .venv data

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,curves]'
	touch $@
