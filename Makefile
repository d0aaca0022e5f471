# make run, make test: the two commands. `make help` lists the rest.
# CONFIG, CORES, SCENARIOS, QUESTIONS, SITE, FORMAT and PROFILE go with all commands that they concern.

CONFIG    ?= config.yaml
CORES     ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SCENARIOS ?=
QUESTIONS ?=
SITE      ?=
PROFILE   ?=
DIR       ?=
NAME      ?=
FILE      ?=
FORMAT    ?=
TOPIC     ?=
PYTHON    ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

PY        := .venv/bin/python
STUDY     := --config "$(CONFIG)" --cores "$(CORES)" --profile "$(PROFILE)"
PIPELINE  := @$(PY) scripts/pipeline.py

# Without bytecode every start would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check lint why clean request send export publish verify-bundle snakemake-report new-study new-site demo bench simulate dictionary lock environment

help:
	@echo "make run        compute the study and its reports      (CONFIG= CORES= SCENARIOS=\"a b\"|all QUESTIONS= PROFILE=)"
	@echo "make check      validate all sites, no analysis        (CONFIG= SITE=)"
	@echo "make why        what would run again, and why          (CONFIG= SCENARIOS=)"
	@echo "make test       run the tests                          (CORES= TESTS=)"
	@echo "make lint       check style"
	@echo "make clean      delete everything computed             (CONFIG=)"
	@echo "make new-study  start a study folder of your own       (DIR=)"
	@echo "make new-site   start a site                           (NAME= CONFIG= FILE=export.csv)"
	@echo "make request    what a site that keeps its rows must answer (SITE= CONFIG= SCENARIOS=)"
	@echo "make send       gather the answer to a request, without rows (CONFIG=)"
	@echo "make export     scores for SPSS, Stata, jamovi, Mplus  (FORMAT=sav|csv|dta CONFIG= SCENARIOS=)"
	@echo "make publish    bring the study up to date and bundle what may be given away (CONFIG= SCENARIOS=)"
	@echo "make verify-bundle  check a bundle: hashes, tables, links, leaks (DIR=)"
	@echo "make snakemake-report  Snakemake's own report of the run, with captions, beside results/ (CONFIG= SCENARIOS=)"
	@echo "make demo       write the demo study's files again"
	@echo "make bench      print speed and memory ratios"
	@echo "make simulate   run the simulations of bias and coverage that the code has changed (CORES= TOPIC=)"

environment:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; install it and run again."; exit 2; }
	@$(PYTHON) scripts/make_environment.py

run: environment
	$(PIPELINE) run $(STUDY) --scenarios "$(SCENARIOS)" --questions "$(QUESTIONS)"

check: environment
	$(PIPELINE) check $(STUDY) --site "$(SITE)"

why: environment
	$(PIPELINE) why $(STUDY) --scenarios "$(SCENARIOS)"

clean: environment
	$(PIPELINE) clean $(STUDY)

request: environment
	$(PIPELINE) request $(STUDY) --site "$(SITE)" --scenarios "$(SCENARIOS)"

send: environment
	$(PIPELINE) send $(STUDY)

export: environment
	$(PIPELINE) export $(STUDY) --scenarios "$(SCENARIOS)" --format "$(FORMAT)"

publish: environment
	$(PIPELINE) publish $(STUDY) --scenarios "$(SCENARIOS)"

snakemake-report: environment
	$(PIPELINE) snakemake-report $(STUDY) --scenarios "$(SCENARIOS)"

verify-bundle: environment
	$(PIPELINE) verify-bundle --config "$(CONFIG)" --folder "$(DIR)"

new-study: environment
	$(PIPELINE) new-study --folder "$(DIR)"

new-site: environment
	$(PIPELINE) new-site --config "$(CONFIG)" --name "$(NAME)" --file "$(FILE)"

test: environment
	@OPENBLAS_NUM_THREADS=1 $(PY) -m pytest --numprocesses "$(CORES)" --dist loadfile --no-loadscope-reorder $(TESTS)

lint: environment
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/snakefmt --check Snakefile workflow/rules

demo: environment
	@$(PY) scripts/generate_demo.py --output data/demo --sites-only

dictionary: environment
	@$(PY) scripts/write_results_dictionary.py

bench: environment
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(PY) $$script || exit 1; done

simulate: environment
	@OPENBLAS_NUM_THREADS=1 $(PY) scripts/simulate.py --processes "$(CORES)" $(if $(TOPIC),--topic $(TOPIC))
	@$(PY) scripts/write_results_dictionary.py

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --output-file envs/requirements.lock envs/requirements.in
	$(PYTHON) scripts/make_environment.py --conda envs/environment.yaml
