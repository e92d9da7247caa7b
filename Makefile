# Everything that a user runs. `make` without a target lists the targets.
# Variables: PYTHON VENV TORCH_INDEX | SRC METADATA DATA VARIANT TOKENIZER WORKERS | SCALE SEED RUNS

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# Targets whose default scale is not full.
AT_MINI = bench-train bench-io bench-recipes report symbol-losses
SCALE ?= $(if $(filter demo,$(MAKECMDGOALS)),demo,$(if $(filter $(AT_MINI),$(MAKECMDGOALS)),mini,full))
VARIANT ?= main
TOKENIZER ?= main
SEEDS ?= 0
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
# The default data root, the same as in configs/script.py: data, or data/<scale> for a scale other than full.
ifndef DATA
DATA := $(or $(ARXIV_DATA),data$(if $(filter-out full,$(SCALE)),/$(SCALE)))
endif
ifndef RUNS
RUNS := $(or $(ARXIV_RUNS),runs)
endif
export SRC METADATA VARIANT SCALE TOKENIZER WORKERS DATA
export ARXIV_DATA := $(DATA)
export ARXIV_RUNS := $(RUNS)

.DEFAULT_GOAL := help
.PHONY: demo-corpus $(shell sed -nE 's/^([a-z-]+):.*  ## .*/\1/p' Makefile)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*  ## ' Makefile | sed -E 's/:.*  ## /\t/' | expand -t 16

setup: $(VENV)/.installed  ## make .venv and install requirements-dev.txt

$(VENV)/.installed: requirements.txt requirements-dev.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m virtualenv $(VENV); } || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) can make no virtual environment; on Debian and Ubuntu: apt install python3-venv, elsewhere: $(PYTHON) -m pip install --user virtualenv"; exit 2; }
	$(PY) -m pip install $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") "$$(grep '^torch==' requirements.txt)"
	$(PY) -m pip install -r requirements-dev.txt -c constraints.txt
	@touch $@

download: setup  ## MONTHS=0704-0706 MAX_USD=15 BASE_URL= SRC=: fetch arXiv's bulk tars, price first; resumes
	@$(PY) -c 'import boto3' 2>/dev/null || test -n "$(BASE_URL)" || $(PY) -m pip install -q -e '.[download]' -c constraints.txt
	@$(PY) preprocess/download.py bulk --months "$(MONTHS)" --to "$(or $(SRC),$(DATA)/raw/src)" \
	  $(if $(BASE_URL),--base-url "$(BASE_URL)") $(if $(MAX_USD),--max-usd "$(MAX_USD)")

budget: setup  ## SRC= METADATA= MONTHS=2101-2112 CORES=64 SAMPLE=6 SCALE=: what preprocessing will need: CPU-hours, disk, files, days
	@$(PY) preprocess/budget.py --src "$(or $(SRC),$(DATA)/raw/src)" --metadata "$(or $(METADATA),$(DATA)/raw/metadata.json)" \
	  --scale "$$SCALE" $(if $(MONTHS),--months "$(MONTHS)") $(if $(CORES),--cores "$(CORES)") $(if $(SAMPLE),--sample "$(SAMPLE)")

preprocess: setup $(if $(filter demo,$(MAKECMDGOALS)),demo-corpus)  ## SRC= METADATA= DATA= VARIANT= TOKENIZER= SCALE= WORKERS=: turn raw archives into corpus, tokenizer, token shards
	@set -e; set -- --data "$$DATA" --variant "$$VARIANT" --scale "$$SCALE" --workers "$$WORKERS"; \
	if [ -n "$$SRC" ]; then set -- "$$@" --src "$$SRC"; fi; \
	if [ -n "$$METADATA" ]; then set -- "$$@" --metadata "$$METADATA"; fi; \
	$(PY) preprocess/all_stages.py "$$@" --tokenizer "$$TOKENIZER"

demo: preprocess  ## run the whole path on a small built-in corpus, from archives to model and figures
	@set -e; export OMP_NUM_THREADS=1; for run in run20 run23 run24; do \
	  $(PY) -m torch.distributed.run --standalone --nproc_per_node 2 train/pretrain.py configs/runs/$$run.yaml --scale demo; done
	@$(PY) train/export_hf.py "$$ARXIV_RUNS/demo/run20/seed0" --out "$$ARXIV_RUNS/demo/run20/seed0/hf"
	@$(PY) train/generate.py "$$ARXIV_RUNS/demo/run20/seed0" --prompts configs/prompts.txt
	@$(PY) analysis/yield_report.py --data "$$DATA" --variant "$$VARIANT" --out analysis/out/demo
	@$(PY) analysis/plot_runs.py --scale demo
	@printf '%s\n' "" "The demo is done. What it made:" \
	  "  raw archives, as arXiv packs them   $$DATA/raw/" \
	  "  documents after each stage          $$DATA/corpus/main/<stage>/*.parquet" \
	  "  a verdict for every paper           $$DATA/ledger/main/<stage>/*.parquet" \
	  "  tokenizer, token shards             $$DATA/tokenizers/main/, $$DATA/tokens/main-main/" \
	  "  configuration, log, checkpoints     $$ARXIV_RUNS/demo/run20/seed0/ (run23, run24 beside it)" \
	  "  model for transformers              $$ARXIV_RUNS/demo/run20/seed0/hf/" \
	  "  figures and yield table             analysis/out/demo/"

demo-corpus: setup
	@$(PY) preprocess/sample_corpus.py --out "$$DATA/raw" $(if $(filter mini,$(SCALE)),--papers 1500)

# A process more than cores, because one waits for Slurm; tests/conftest.py divides the tests among them.
PYTEST = $(PY) -m pytest -n $(shell expr $(WORKERS) + 1)

test: setup  ## run all tests; REQUIRE=slurm,real,... makes tests that lack these fail instead of being skipped
	$(PYTEST)

test-fast: setup  ## run the tests that are fast and need no Slurm (a few minutes)
	$(PYTEST) -m "not slow and not slurm"

lint: setup  ## run ruff, mypy, shellcheck and hadolint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/shellcheck -x slurm/*.sh .ci/run
	$(VENV)/bin/hadolint Dockerfile

# The papers of a study: one's own below DATA/raw, or CORPUS=real: those that study_papers.py chooses in
# $ARXIV_REAL, or CORPUS=sample: invented ones (the default at demo scale).
CORPUS ?= $(if $(filter demo,$(SCALE)),sample)
STUDY_INPUT = $(if $(filter sample,$(CORPUS)),demo-corpus) $(if $(filter real,$(CORPUS)),study-papers)
study ladder: SRC := $(if $(filter real,$(CORPUS)),$(ARXIV_REAL)/src,$(SRC))

study-papers: setup
	@$(PY) preprocess/study_papers.py --real "$$ARXIV_REAL" --data "$$DATA"

study: setup $(STUDY_INPUT)  ## SCALE= CORPUS=real RUNS_LIST="run20 run08" SEEDS="0 1" JOBS= PUBLISHED=1 DRY_RUN=1: make every missing corpus, tokenizer and run
	@$(PY) train/study.py --scale "$$SCALE" --runs "$(RUNS_LIST)" --seeds "$(SEEDS)" --data "$$DATA" --workers "$$WORKERS" \
	  $(if $(JOBS),--jobs $(JOBS)) $(if $(PUBLISHED),--published) $(if $(DRY_RUN),--dry-run)

ladder: setup $(STUDY_INPUT)  ## SCALE= CORPUS=real SEEDS= JOBS= PUBLISHED=1 DRY_RUN=1: train the scaling ladder, five data sizes and five model sizes
	@$(PY) train/study.py --ladder --scale "$$SCALE" --seeds "$(SEEDS)" --data "$$DATA" --workers "$$WORKERS" \
	  $(if $(JOBS),--jobs $(JOBS)) $(if $(PUBLISHED),--published) $(if $(DRY_RUN),--dry-run)

# A study of corpora. VALUES: recipe values of all its runs, for instance VALUES="tokens_total=102400".
CORPUS_STUDY = $(PY) train/study.py --scale "$$SCALE" --seeds "$(SEEDS)" --data "$$DATA" --workers "$$WORKERS" \
  $(if $(JOBS),--jobs $(JOBS)) $(if $(DRY_RUN),--dry-run) $(VALUES)
runs_named = $(notdir $(basename $(wildcard configs/runs/$(1).yaml)))
yield-study compat-study: SRC := $(if $(filter real,$(CORPUS)),$(ARXIV_REAL)/src,$(SRC))

yield-study: setup $(STUDY_INPUT)  ## SCALE= SEEDS="0 1 2" RUNS_LIST= JOBS= DRY_RUN=1 SHARE=0.01: what each rule costs and gains, in documents, tokens, bits per byte
	@$(if $(SHARE),$(PY) preprocess/sample_metadata.py --metadata "$$METADATA" --share $(SHARE) --out "$$DATA/raw/share.json")
	@$(if $(SHARE),METADATA="$$DATA/raw/share.json") $(CORPUS_STUDY) --runs "$(or $(RUNS_LIST),run20 run02 $(call runs_named,off_*))"
	@$(if $(DRY_RUN),,$(PY) -m benchmarks.marginal_yield --scale "$$SCALE" --data "$$DATA")

compat-study: setup $(STUDY_INPUT)  ## SCALE= SEEDS="0 1 2" JOBS= DRY_RUN=1: train on corpora cleaned as other pipelines clean arXiv
	@$(CORPUS_STUDY) --runs "run20 run05 $(call runs_named,compat_*)"

yield-tables: setup  ## write the tables of docs/yield.md from what make yield-study and bench-compat measured
	@$(PY) analysis/yield_tables.py --into docs/yield.md

plan: setup  ## RUN=run20 SCALE= GPUS=2 DEVICE=a100-80gb: what a run needs: memory, time, energy, money, disk
	@$(PY) train/plan.py configs/runs/$(or $(RUN),run20).yaml --scale "$$SCALE" $(if $(GPUS),--gpus $(GPUS)) $(if $(DEVICE),--device $(DEVICE))

figures: setup  ## SCALE=: draw the figures from logs
	$(PY) analysis/plot_runs.py --scale "$$SCALE"

scaling-fit: setup  ## SCALE= OTHER=: fit the laws of loss over data and model to the ladder; OTHER: logs of another tokenizer's
	@$(PY) analysis/scaling_fit.py --scale "$$SCALE" $(if $(OTHER),--other "$(OTHER)")

step-time: setup  ## SCALE= RUNS_LIST=run20,run08: show where the time of training runs went
	@$(PY) analysis/step_time.py --scale "$$SCALE" $(if $(RUNS_LIST),--runs "$(RUNS_LIST)")

site-check: setup  ## read the Slurm cluster and propose values for slurm/site.sh
	@$(PY) train/site_check.py

node-checks: setup  ## SCALE= RUNS_LIST=run20,run08: show how healthy the nodes were at each start of a run
	@$(PY) analysis/node_checks.py --scale "$$SCALE" $(if $(RUNS_LIST),--runs "$(RUNS_LIST)")

instruments: setup  ## SCALE=demo VALUES="tokens_total=...": train Run 20 with all instruments (gradient cosines, noise scale, losses by kind of token, norms) and draw what they measure
	@OMP_NUM_THREADS=1 $(PY) -m torch.distributed.run --standalone --nproc_per_node 2 train/pretrain.py configs/runs/run20.yaml \
	  --scale "$$SCALE" --data "$$DATA" --out "$$ARXIV_RUNS/instruments/$$SCALE/run20/seed0" \
	  strategy=ddp instruments='[cosines, noise_scale, losses, norms]' $(VALUES)
	@$(PY) analysis/instruments.py --scale "$$SCALE" --logs "$$ARXIV_RUNS/instruments"

lr-sweep: setup  ## SCALE=mini DATA= JOBS=: train Run 20 with several peak learning rates and record which is best
	@$(PY) -m benchmarks.learning_rate --scale "$$SCALE" --data "$$DATA" $(if $(JOBS),--jobs $(JOBS))

stability: setup  ## SCALE=: show spikes, gradient norms and gaps of all runs, and what each changes, with simultaneous intervals
	@$(PY) analysis/run_stability.py --scale "$$SCALE"

study-corpora: setup  ## DATA=data/mini: how many tokens each preprocessing of the study leaves
	@$(PY) -m benchmarks.study_corpora --data "$$DATA"

symbol-losses: setup  ## SCALE=mini DATA=: what finished runs lose when formulas have other blanks, names or orders
	@$(PY) -m benchmarks.symbol_losses --scale "$$SCALE" --data "$$DATA"

claims: setup  ## judge the paper's claims by the published logs and write analysis/claims.md
	@$(PY) analysis/claims.py

report: setup  ## SCALE=mini LOGS=logs DATA=: write what the study found on one HTML page; with DATA= also the yield of its corpus
	@$(PY) analysis/report.py --scale "$$SCALE" $(if $(LOGS),--logs $(LOGS)) $(if $(findstring command,$(origin DATA)),--data "$$DATA")

compare: setup  ## A=run20 B=run08 SCALE=: show what run B changes against run A, with an interval
	@$(PY) analysis/compare.py $(A) $(B) $(if $(SCALE),--scale "$$SCALE")

tables: setup  ## SCALE= DATA=: write tables of corpus and yield, model, runs with intervals, as Markdown, CSV and LaTeX
	@$(PY) analysis/tables.py --scale "$$SCALE" --data "$$DATA"

yield-report: setup  ## DATA= VARIANT=: check the ledger's laws and show what each stage kept and dropped
	$(PY) analysis/yield_report.py --data "$$DATA" --variant "$$VARIANT"

corpus-card: setup  ## DATA= VARIANT= TOKENIZER= PUSH=OWNER/NAME CONFIRM=1: write the corpus's card; show or make its upload to the Hub
	@$(PY) analysis/corpus_card.py --data "$$DATA" --variant "$$VARIANT" --tokenizer "$$TOKENIZER" \
	  $(if $(PUSH),--push "$(PUSH)") $(if $(CONFIRM),--confirm)

why: setup  ## ID= DATA= VARIANT=: show one paper's path through all stages
	@$(PY) analysis/why.py "$$ID" --data "$$DATA" --variant "$$VARIANT"

publish-logs: setup  ## SCALE=: compact the logs of finished runs into logs/
	$(PY) analysis/publish_logs.py --scale "$$SCALE"

status: setup  ## WATCH=1: show the runs, their state and when they end; with WATCH every 5 s
	@$(PY) analysis/status.py $(if $(WATCH),--watch)

core: setup  ## compile preprocess/latex/core, for who changes its C files
	@$(PY) -c 'import ziglang' 2>/dev/null || $(PY) -m pip install -q -e '.[core]' -c constraints.txt
	$(PY) preprocess/latex/core/build.py

bench-preprocess: setup $(VENV)-bench/.installed  ## ARXIV_REAL=: measure the speed from archive to clean text, compared with other cleaners
	$(PY) -m benchmarks.preprocessing --peers $(VENV)-bench/bin/python

bench-growth: setup  ## measure how the time of cleaning grows with the size of difficult inputs
	$(PY) -m benchmarks.growth

bench-train: setup  ## SCALE=mini VARIANT=: compare training speed with transformers' Trainer; share of the corpus that is seen
	$(PY) -m benchmarks.training --scale "$$SCALE" --data "$$DATA" --variant "$$VARIANT"

bench-gpu: setup  ## measure a step of the 1.36 B model on one GPU, in nine minutes: speed, MFU, memory beside the plan, profile
	@$(PY) -m benchmarks.gpu

bench-figures: setup  ## draw a log of 5 million rows: time, memory, our reader compared with pandas.read_json
	$(PY) -m benchmarks.figures

bench-communication: setup  ## time collectives and training steps with and without them, and fit the ring model
	$(PY) -m benchmarks.communication

bench-loader: setup  ## measure how fast one process reads its batches
	$(PY) -m benchmarks.loader

bench-io: setup  ## SCALE=mini DATA= VARIANT=: compare token shards, Parquet stream and JSONL: speed, bytes, padding, data wait
	@$(PY) -c 'import aiohttp' 2>/dev/null || $(PY) -m pip install -q -e '.[remote]' -c constraints.txt
	$(PY) -m benchmarks.io --scale "$$SCALE" --data "$$DATA" --variant "$$VARIANT"

io-report: setup  ## draw what make bench-io measured
	@$(PY) analysis/io_report.py

bench-recipes: setup  ## DATA=data/mini: short runs with Muon, z-loss, QK-norm, WSD and others beside Run 20's recipe, three seeds
	$(PY) -m benchmarks.recipes --data "$$DATA"

bench-tokenizer: setup  ## ARXIV_REAL=: measure encoding, training, shards and stability of the tokenizer on real papers
	$(PY) -m benchmarks.tokenizer --data "$$DATA/bench-tokenizer"

bench-corpus: setup  ## ARXIV_REAL=: measure every stage's speed, with two workers and with a growing corpus, and its memory
	$(PY) -m benchmarks.corpus

bench-budget: setup  ## ARXIV_REAL=: compare what make budget predicts from six tars with what all of them take
	$(PY) -m benchmarks.budget

bench-before: setup  ## COMMIT= ARXIV_REAL=: compare the CPU time of preprocessing with that of an earlier commit
	$(PY) -m benchmarks.before --commit "$(COMMIT)"

bench-compat: setup  ## ARXIV_REAL= SCALE=, after make compat-study: what other pipelines lose and leak, and their speed
	$(PY) -m benchmarks.compat --scale "$$SCALE" --data "$$DATA"

bench-size: setup  ## PAPERS="40000 160000": time and memory of deduplication, split and sampling up to arXiv's 2.5 million papers
	$(PY) -m benchmarks.size $(if $(PAPERS),--papers $(PAPERS))

size-report: setup  ## draw what make bench-size measured, and write the table of docs/preprocessing.md
	@$(PY) analysis/size_report.py --into docs/preprocessing.md

bench-duplicates: setup $(VENV)-bench/.installed  ## ARXIV_REAL=: measure speed, recall, memory and growth of deduplication and split
	$(PY) -m benchmarks.duplicates --peers $(VENV)-bench/bin/python

prove-resume: setup  ## kill preprocessing, training and a study at random moments and check that the results stay the same
	$(PY) -m benchmarks.prove_preprocess --kills 50
	$(PY) -m benchmarks.prove_training --kills 5
	$(PY) -m benchmarks.prove_clean_exit --runs 50
	$(PY) -m benchmarks.prove_study --kills 5

prove-slurm: setup  ## take time, nodes, processes and disk from runs on a two-node Slurm (as root) and check that results stay the same
	$(PY) -m benchmarks.prove_slurm

$(VENV)-bench/.installed: benchmarks/requirements.txt
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/pip install -q -r $<
	@touch $@
