#!/bin/sh
# Prints a Python that can make Bandari's virtual environment: the one given, or the first on PATH
# that is new enough. Says what is missing otherwise.

is_new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
seen=""

for python in ${1:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
    version="$("$python" -c 'import sys; print(sys.version.split()[0])' 2>/dev/null)" || continue
    if ! "$python" -c "$is_new_enough"; then
        seen="$seen $python is $version."
        continue
    fi
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        seen="$seen $python lacks venv or ensurepip (Debian and Ubuntu: apt install python3-venv)."
        continue
    fi
    command -v "$python"
    exit 0
done

echo "Bandari needs Python 3.11 or later with venv.${seen:- There is no ${1:-python3} here.}" >&2
echo "Install it, or name it: make ${MAKECMDGOALS:-serve} PYTHON=/path/to/python3.11" >&2
exit 1
