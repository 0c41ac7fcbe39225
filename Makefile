# The commands of this repository. `make serve` and `make test` are all that a newcomer needs.

# A Python to build .venv with; left out, the first on PATH that is new enough.
PYTHON ?=
# More arguments for `make serve`, `make test`, `make bench`: make serve ARGS="--port 9000"
ARGS ?=
# The short form of `make bench`: make bench QUICK=1
QUICK ?=
# Where `make serve` keeps its books. The commands find this directory when they run beside it.
BANDARI_DATA ?= $(CURDIR)/.bandari
UV ?= uv

VENV := .venv
BIN := $(VENV)/bin
BENCH := .bench
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCK := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
	--group build --extra postgresql

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve test coverage check bench bench-peers soak lock clean

help:
	@echo "make serve     start Bandari with the model in the box on 127.0.0.1:8080"
	@echo "make test      run every test that this machine can run"
	@echo "make coverage  branch coverage of domain, wire and service: at least 95 %"
	@echo "make setup     install into .venv, and nothing else"
	@echo "make check     ruff, mypy --strict, import-linter"
	@echo "make bench     Bandari beside nginx and its peers, about 30 minutes; QUICK=1 for three"
	@echo "make bench-peers  install LiteLLM's proxy and Portkey's gateway for make bench"
	@echo "make soak      the long forms of the tests"
	@echo "make lock      write requirements/*.txt again (needs uv)"
	@echo "make clean     remove .venv and what the tools leave behind"

setup: $(VENV)/.package $(VENV)/.engine

setup-dev: $(VENV)/.dev setup

serve: setup
	@BANDARI_DATA="$(BANDARI_DATA)" exec $(BIN)/bandari serve $(ARGS)

# With ARGS, just the tests that they name, in one process.
test: setup-dev
	@$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),$(BIN)/python -m tools.test_in_two)

coverage: setup-dev
	@$(BIN)/python -m pytest tests/unit/domain tests/unit/wire tests/unit/service --cov-branch \
		--cov=bandari.domain --cov=bandari.wire --cov=bandari.service --cov-fail-under=95 $(ARGS)

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	@$(BIN)/python -m tools.bench $(if $(QUICK),--quick) $(ARGS)

# The newest of each, into environments that nothing else uses.
bench-peers: $(VENV)/.created
	$(BIN)/python -m venv --clear $(BENCH)/litellm
	$(BENCH)/litellm/bin/python -m pip --disable-pip-version-check install --quiet "litellm[proxy]"
	mkdir -p $(BENCH)/portkey && cp tools/bench/peers/package.json $(BENCH)/portkey/
	cd $(BENCH)/portkey && npm install --silent --no-audit --no-fund --no-package-lock

soak: setup-dev
	BANDARI_SOAK=1 $(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

lock:
	$(LOCK) -o requirements/runtime.txt $(ARGS)
	$(LOCK) --extra engine -c requirements/runtime.txt -o requirements/engine.txt $(ARGS)
	$(LOCK) --extra engine --group dev -c requirements/engine.txt -o requirements/dev.txt $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache

# Each stamp says that what it is named for was installed from the lock as it is now.

$(VENV)/.created:
	@python="$$(sh tools/find_python.sh $(PYTHON))" && \
		echo "making $(VENV) with $$python" && \
		"$$python" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: requirements/runtime.txt $(VENV)/.created
	@echo "installing requirements/runtime.txt"
	@$(PIP) install --quiet --require-hashes -r requirements/runtime.txt
	@touch $@

# Without a wheel for this platform, the gateway works and the engine in the box does not. There is
# no stamp then, so that the next start tries again.
$(VENV)/.engine: requirements/engine.txt $(VENV)/.runtime
	@echo "installing requirements/engine.txt"
	@if $(PIP) install --quiet --require-hashes --only-binary xllamacpp -r $<; then touch $@; else \
		echo "The engine in the box could not be installed (the reason is above)." >&2; \
		echo "Bandari serves other providers' models without it, but not bandari-tiny." >&2; fi

$(VENV)/.dev: requirements/dev.txt $(VENV)/.engine
	@echo "installing requirements/dev.txt"
	@$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.package: pyproject.toml src/bandari/__init__.py $(VENV)/.runtime
	@echo "installing bandari"
	@$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@
