#!/bin/sh
# Makes the virtual environment $2 with the Python $1, and says plainly what is missing where that cannot be.
set -eu
python=$1 venv=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "Eco-Orchestrator needs Python 3.11 or newer; '$python' is not. Try: make PYTHON=python3.12 ..." >&2
  exit 1
}
[ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
rm -rf "$venv"
"$python" -m venv "$venv" >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  # Debian ships ensurepip apart, in python3-venv.
  { apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; } >/dev/null
  rm -rf "$venv"
  exec "$python" -m venv "$venv"
fi
echo "'$python -m venv' does not work here: install Debian's python3-venv (apt-get install python3-venv) and try again." >&2
exit 1
