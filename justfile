# Shortcuts; each line is a command that you can type as well, after `source setup.sh`. `just` alone lists them.
set shell := ["bash", "-c"]

default:
    @just --list

# the main job: from simulated events to ROC curves
quickstart:
    source setup.sh && law run ROCCurveTask --config quickstart

# the tests
test *arguments:
    source setup.sh && pytest -n 2 {{arguments}}

# jobs on a Slurm and an HTCondor that are started for it
cluster *arguments:
    source setup.sh && pytest tests/cluster -n 6 --dist load --maxschedchunk 1 {{arguments}}

# lint, types, imports
lint:
    source setup.sh && ruff check . && ruff format --check . && mypy && lint-imports --no-logo

# format the code
format:
    source setup.sh && ruff check --fix . && ruff format .

# everything that CI checks
ci:
    ./.ci/run

# speed of every stage, as a table and JSON
benchmark *arguments:
    source setup.sh && python benchmarks/run.py {{arguments}}

# renew constraints.txt and env.yml
lock:
    source setup.sh && ./.ci/lock
