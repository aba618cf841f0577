#!/bin/sh
# Make .venv with the pinned requirements, or say plainly what is missing.
# PYTHON=/path/to/python chooses the interpreter; else the first that fits is taken.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
supported() { case "$1" in 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac; }

if [ -x .venv/bin/python ]; then
    found=$(version_of .venv/bin/python || true)
    if ! supported "$found"; then
        say "The environment .venv runs Python '${found:-none}', which is not supported"
        say "(3.11, 3.12 and 3.13 are). Remove it with 'rm -rf .venv' and call make again."
        exit 1
    fi
else
    chosen='' seen=''
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        found=$(version_of "$candidate" || true) # a shim may exist and not run
        [ -n "$found" ] && seen="$seen $candidate=$found"
        if supported "$found"; then chosen=$candidate && break; fi
    done
    if [ -z "$chosen" ]; then
        say "This project needs Python 3.11, 3.12 or 3.13. Found:${seen:- no Python that runs}."
        say "Install one of them, or name it: make PYTHON=/path/to/python3.12 ..."
        exit 1
    fi
    if ! "$chosen" -c 'import ensurepip, venv' 2>/dev/null; then
        say "$chosen has no working 'venv' module."
        say "On Debian and Ubuntu: apt-get install python$found-venv"
        exit 1
    fi
    say "Creating .venv with $chosen (Python $found) ..."
    if ! "$chosen" -m venv .venv; then
        rm -rf .venv
        say "Creating .venv failed; the lines above say why."
        exit 1
    fi
fi

say "Installing the pinned requirements (about 2 GB on disk the first time) ..."
if ! .venv/bin/python -m pip install --disable-pip-version-check --quiet \
    --requirement requirements.txt; then
    say "Installing requirements.txt failed; the lines above say why."
    say "A connection to a Python package index is needed the first time."
    exit 1
fi
# The package itself: this folder on the path, so that edits count at once.
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$packages/elbo-tfp.pth"
touch .venv/.installed
