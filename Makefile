# What a person and CI run. Needs Python 3.11 or newer, git and make; everything else goes into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
# molecule installs the collection under Ansible's home: not under the person's, where it would be found before the checkout
ANSIBLE_ENV = PATH="$(abspath $(BIN)):$$PATH" ANSIBLE_HOME="$(abspath .ansible)"

.PHONY: demo test test-quick soak lab lab-clean lint bench pictures clean

demo: $(VENV)/.ready-demo  ## a real Ray cluster of four nodes on this machine, a job on it, and its end
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready lint lab  ## everything
	$(PYTEST) -n $(JOBS) -m "not ray and not lab" tests
	$(PYTEST) -n $(JOBS) -m "lab and not ray" tests
	$(PYTEST) -m ray tests
	$(ANSIBLE_ENV) $(BIN)/molecule test --all

test-quick: $(VENV)/.ready  ## what does not start playbooks or Ray: seconds
	$(PYTEST) -q -n $(JOBS) -m "not ray and not ansible and not slow and not lab" tests

soak: $(VENV)/.ready  ## the scaler in rough weather for half an hour; RAYCTL_SOAK_SEED=... tells where to begin
	RAYCTL_SOAK_S=$${RAYCTL_SOAK_S:-1800} $(PYTEST) -q tests/unit/scaler/test_scaler_soak.py

lab: $(VENV)/.ready  ## what tests on real hosts need, made once per machine; without root they are skipped
	$(BIN)/python -m tests.lab.rig prepare

lab-clean: $(VENV)/.ready  ## remove all hosts; what they were made of stays in /var/lib/rayctl-lab
	$(BIN)/python -m tests.lab.rig clean

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	ANSIBLE_INVENTORY="$(abspath extensions/molecule/default/cluster.yaml)" $(ANSIBLE_ENV) $(BIN)/ansible-lint --offline

bench: $(VENV)/.ready  ## side by side with what it is measured against; writes docs/benchmarks.md
	$(BIN)/python -m bench

pictures: $(VENV)/.ready  ## docs/pictures, anew, from real runs
	$(BIN)/python tools/pictures.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible

$(VENV)/.ready-demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("rayctl needs Python 3.11 or newer, and $(PYTHON) is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/link_collection.py --unlink
	$(BIN)/python -m pip install --quiet --editable '.[ray]'
	$(BIN)/python tools/link_collection.py
	touch $@

$(VENV)/.ready: $(VENV)/.ready-demo
	$(BIN)/python tools/link_collection.py --unlink
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python tools/link_collection.py
	touch $@
