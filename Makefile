# `make quickstart` and `make test` set up .venv from requirements.lock when it is missing or older.
# Needs Python 3.11 or newer, git and make.

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
STAGE1 = $$(ls -td mlruns/runs/quickstart_stage1* | head -n 1)
STAGE2 = $$(ls -td mlruns/runs/quickstart_stage2* | head -n 1)
UNSEEN = $(RUN) -m experiments.predict --checkpoint "$(STAGE2)" \
    --images 'mlruns/data/unseen/*/images/*.png' --truth mlruns/data/unseen
# A stage that a signal stopped has saved and ended well, but has no results.
FINISHED = || { echo "error: the stage was stopped before its end: go on with it by --resume auto, or begin again" >&2; exit 1; }
# Two workers fit the two cores that the tests are meant for; more only cost memory there.
WORKERS ?= 2

.PHONY: quickstart test lint format setup clean

# Weights, synthetic data, stage 1, stage 2, test; then other words, and three examples of each type.
quickstart: $(STAMP)
	$(RUN) -m experiments.fetch --weights minilm
	$(RUN) -m experiments.fetch --weights efficientnet_lite0
	@mkdir -p mlruns && touch mlruns/.begun
	$(RUN) -m experiments.run --config quickstart_stage1.yaml
	@test "$(STAGE1)/results.json" -nt mlruns/.begun $(FINISHED)
	$(RUN) -m experiments.run --config quickstart_stage2.yaml \
	    --pretrained "$(STAGE1)"
	@test "$(STAGE2)/results.json" -nt mlruns/.begun $(FINISHED)
	$(RUN) -m experiments.prepare --source synthetic --source.image_count 64 \
	    --source.seed 1 --root mlruns/data/unseen --out mlruns/data/unseen
	$(RUN) -m experiments.prepare --source synthetic --source.image_count 24 \
	    --source.good_fraction 0 --source.seed 2 --train_fraction 1 --val_fraction 0 \
	    --test_fraction 0 --root mlruns/data/examples --out mlruns/data/examples
	$(UNSEEN) --out mlruns/predictions/words --overwrite --labels "scuff; fissure; pit; \
	    discoloration; indentation; broken off piece; foreign particle; frayed edge"
	$(UNSEEN) --out mlruns/predictions/examples --overwrite --examples mlruns/data/examples

# Tests of weights are skipped, visibly, where no index has them.
test: lint
	-$(RUN) -m experiments.fetch --weights all
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(WORKERS) --dist loadfile \
	    -m 'slow or not slow'

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@python=; \
	for name in python3 python3.12 python3.11 python3.13; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	      2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: got no Python 3.11 or newer with the venv module on PATH:" \
	    "install python3.11 and python3.11-venv, or put another one on PATH" >&2; exit 2; \
	fi; \
	echo "setting up $(VENV) with $$($$python --version)"; \
	if [ ! -x $(RUN) ]; then $$python -m venv $(VENV); fi
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache build *.egg-info
