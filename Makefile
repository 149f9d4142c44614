# make demo   environment, CARE-S0 to all targets, parity, latency on this machine
# make test   everything CI checks
# make fuzz   damaged files through the real readers; FUZZ="--seconds 600 --seed 7" for longer
# make arm64  an emulator and an Arm Python, for --device qemu-aarch64=build/arm64
# make bench  speed against naive exports, into docs/performance.md; make precision: accuracy
# make control  a bundle against itself, into docs/measuring.md; CONTROL="--sessions 20" for fewer

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed
# torch comes first and by exact version: asked for as a range it may bring gigabytes of CUDA.
TORCH   = torch==2.13.0

.PHONY: arm64 bench control demo fuzz precision test test-slow lint types format wheel clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "care-mobile needs Python 3.10 to 3.13; choose one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/care-export --model care_s0 --weights random:0 --target all --output bundles
	@# 5: on a machine that is too busy figures are shown, and said to be invalid.
	$(BIN)/care-bench --output bundles || [ $$? -eq 5 ]
	@echo
	@echo "bundles/ holds CARE-S0 for Core ML, ONNX and ExecuTorch. Where this machine can run a bundle,"
	@echo "its results were compared with PyTorch's and its latency measured. Next: $(BIN)/care-export --help"

# For `care-bench --device qemu-aarch64=build/arm64`; about 120 MB of downloads.
arm64: $(STAMP)
	@test -e build/arm64 || PYTHON=$(BIN)/python tools/arm64-root build/arm64

bench: $(STAMP)
	$(BIN)/python -m benchmarks.compare --output build/bench
	cp build/bench/performance.md docs/performance.md

precision: $(STAMP)
	$(BIN)/python -m benchmarks.precision --output build/precision --readme README.md
	cp build/precision/precision.md docs/precision.md

control: $(STAMP)
	$(BIN)/python -m benchmarks.control --output build/control --readme docs/measuring.md $(CONTROL)

fuzz: $(STAMP)
	$(BIN)/python -m fuzz $(FUZZ)

test: lint types
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# On an installed copy: export/ and bench/ are only packages once they are installed.
types: $(STAMP)
	rm -rf build/typecheck
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --target build/typecheck .
	MYPYPATH=build/typecheck $(BIN)/mypy -p care_mobile
	MYPYPATH=build/typecheck:examples $(BIN)/mypy -p benchmarks -p digits -p fuzz
	cd build/typecheck && $(CURDIR)/$(BIN)/lint-imports --no-cache --config $(CURDIR)/pyproject.toml

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

clean:
	rm -rf build dist *.egg-info $(VENV)
