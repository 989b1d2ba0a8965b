# Everything is installed from PyPI into virtual environments in this directory; nothing else is touched.

PYTHON ?= python3
ARGS ?=

SHELL := /bin/sh
.SHELLFLAGS := -euc
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
.PHONY: help demo test clean

help:
	echo 'make demo    install into .venv and run `unimmu demo`'
	echo 'make test    lint, types, docs and tests with tox; ARGS="-e tests -- -k walk" goes to tox'
	echo 'make clean   remove the virtual environments and all caches'
	echo 'PYTHON=...   the Python to use, 3.11 or newer (now: $(PYTHON))'

demo: .venv/.ready
	.venv/bin/unimmu demo $(ARGS)

test: .venv-tox/.ready
	.venv-tox/bin/tox run $(ARGS)

# $(call make_venv,DIR): DIR/bin/python, kept where it still starts. A candidate is run, not looked up: a pyenv shim
# may be on PATH with nothing behind it. Debian leaves ensurepip out of python3; pythonX.Y-venv, which python3-venv
# depends on, has it.
define make_venv
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
if ! $(1)/bin/python -c "$$new_enough" 2>/dev/null; then
    python=
    for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3.14; do
        if $$candidate -c "$$new_enough" 2>/dev/null; then python=$$candidate; break; fi
    done
    if [ -z "$$python" ]; then
        echo 'unimmu: Python 3.11 or newer is needed, and $(PYTHON) is not: make PYTHON=/path/to/python' >&2
        exit 1
    fi
    version=$$($$python -c 'import platform; print(platform.python_version())')
    if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then
        package=python$${version%.*}-venv
        if [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
            echo "unimmu: installing $$package, which $$python has no virtual environments without"
            export DEBIAN_FRONTEND=noninteractive
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package; } >/dev/null || true
        fi
        if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then
            echo "unimmu: $$python cannot make a virtual environment: install $$package or python3-venv" >&2
            exit 1
        fi
    fi
    echo "unimmu: making $(1) with Python $$version"
    rm -rf $(1)
    $$python -m venv $(1)
fi
endef

PIP_INSTALL = bin/python -m pip --quiet --disable-pip-version-check install

.venv/.ready: pyproject.toml
	$(call make_venv,.venv)
	echo 'unimmu: installing unimmu and what it depends on into .venv'
	.venv/$(PIP_INSTALL) --editable '.[trace]'
	touch $@

.venv-tox/.ready:
	$(call make_venv,.venv-tox)
	echo 'unimmu: installing tox into .venv-tox'
	.venv-tox/$(PIP_INSTALL) 'tox>=4,<5'
	touch $@

clean:
	rm -rf .venv .venv-tox .tox build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mmu emu msharefs sharing guests tests -name __pycache__ -type d -prune -exec rm -rf {} +
	echo 'unimmu: removed virtual environments, builds and caches'
