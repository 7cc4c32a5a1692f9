#!/usr/bin/env bash
# Makes .venv, or brings an existing one up to date, and installs the project with what demo and test need.
# Quick when nothing changed: the stamp holds a digest of the dependency lists. With the argument `fuse` it makes sure of fusermount3,
# with `postgresql` of a PostgreSQL server, with `apt PACKAGE` of a system package.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.hermetic-installed
EXTRAS="demo,parquet,recovery,keyring,server,postgresql,mfa,oidc,telemetry,test"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $1"; say "hint: $2"; exit 1; }
recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
wanted() { { sed -n '/^\[build-system\]/,/^\[tool\./p' pyproject.toml; cat constraints.txt; echo "$EXTRAS"; } | sha256sum | cut -d' ' -f1; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null && recent_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  fail "no Python 3.11 or newer found" "install one, or name it: make venv PYTHON=/path/to/python3.11"
}

# Installs a system package because of what is missing.
apt_install() {
  local package=$1 missing=$2
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package")
  command -v apt-get >/dev/null || fail "$missing" "install the package of your system that holds it"
  if [ "$(id -u)" = 0 ]; then
    "${install[@]}" || { apt-get update && "${install[@]}"; }
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo "${install[@]}" || { sudo apt-get update && sudo "${install[@]}"; }
  else
    fail "$missing" "run: sudo apt-get install $package"
  fi
}

# Debian and Ubuntu split ensurepip off into python3-venv.
ensure_venv_module() {
  local python=$1 package
  "$python" -c 'import ensurepip, venv' 2>/dev/null && return
  package=$("$python" -c 'import sys; print(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")')
  apt_install "$package" "this Python has no venv module"
}

if [ "${1:-}" = fuse ]; then
  command -v fusermount3 >/dev/null || apt_install fuse3 "there is no fusermount3"
  exit 0
fi

# Debian starts a server of its own with the package; the tests start theirs.
if [ "${1:-}" = postgresql ]; then
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || apt_install postgresql "there is no PostgreSQL server"
  exit 0
fi

if [ "${1:-}" = apt ]; then
  apt_install "$2" "the system package $2 is missing"
  exit 0
fi

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(wanted)" ] && [ -x "$VENV/bin/python" ]; then
  exit 0
fi

if [ -x "$VENV/bin/python" ]; then
  recent_enough "$VENV/bin/python" || fail "$VENV is older than Python 3.11" "move it away and run make venv again"
else
  python=$(find_python)
  ensure_venv_module "$python"
  say "making $VENV with $python"
  "$python" -m venv "$VENV"
fi

say "installing hermetic[$EXTRAS] into $VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$EXTRAS]"
if "$VENV/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
  say "note: torch is in $VENV; nothing here needs it"
fi
wanted >"$STAMP"
say "$VENV is ready"
