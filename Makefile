# make demo: the main job. make test: the tests. make package: wheel and sdist, each extra
# installed alone and used. Each sets up all it needs on a fresh Debian or Ubuntu machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written when a module is first imported: most of what is installed never is. An image that forbids it would have
# every process compile torch anew.
PIP := -q --no-compile
unexport PYTHONDONTWRITEBYTECODE

ROS := .venv-ros

.PHONY: demo test package setup lint clean ros

demo: setup
	$(BIN)/palmar demo --force $(ARGS)

test: setup $(VENV)/.dev $(VENV)/.browser ros
	$(BIN)/ruff check src tests benchmarks examples studies scripts deploy plugins
	$(BIN)/ruff format --check src tests benchmarks examples studies scripts deploy plugins
	$(BIN)/mypy
	OMP_NUM_THREADS=1 LP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

package: setup
	OMP_NUM_THREADS=1 $(BIN)/python scripts/packages.py $(ARGS)

setup: $(VENV)/.installed $(VENV)/.gl

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "palmar needs Python 3.11 or newer; PYTHON=python3.12 make demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { scripts/apt.sh python3-venv && $(PYTHON) -m venv --clear $(VENV); }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install $(PIP) -c constraints.txt torch
	$(BIN)/python -m pip install $(PIP) -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install $(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

# A browser for the tests of the page: Debian's, or playwright's own; without either they are skipped, by name.
$(VENV)/.browser: | $(VENV)/.dev
	@$(BIN)/python tests/browser/chromium.py || scripts/apt.sh chromium || true
	@$(BIN)/python tests/browser/chromium.py || $(BIN)/playwright install --with-deps chromium || echo "no Chromium: the tests of the page are skipped"
	@touch $@

# The real rclpy and Fast DDS from pip, built by a third party, for tests alone: in an environment of its own, and of no other use.
# Where they are not to be had the tests of ROS 2 are skipped by name.
ros: | $(VENV)/bin/python
	@test -f $(ROS)/.installed || { $(VENV)/bin/python -m venv $(ROS) && $(ROS)/bin/python -m pip install $(PIP) -c constraints.txt \
	  'ros-jazzy-rclpy[fastrtps]' ros-jazzy-sensor-msgs ros-jazzy-std-msgs ros-jazzy-std-srvs numpy rich tyro websockets msgpack \
	  && touch $(ROS)/.installed; } || { rm -rf $(ROS); echo "no rclpy from pip: the tests of ROS 2 are skipped"; }

# Headless rendering: install Mesa's EGL only when it is not there.
$(VENV)/.gl: | $(VENV)/.installed
	@$(BIN)/python -c 'from palmar.sim.camera import check; check()' 2>/dev/null || scripts/apt.sh libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0
	@$(BIN)/python -c 'from palmar.sim.camera import check; check()'
	@touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix src tests benchmarks examples studies scripts deploy plugins
	$(BIN)/ruff format src tests benchmarks examples studies scripts deploy plugins
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(ROS) demo build
