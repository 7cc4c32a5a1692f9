#!/usr/bin/env bash
# Makes .environments/NAME, or brings it up to date: the project and what tests/interop/environments/NAME.txt lists, apart from .venv, since
# these libraries are large and not all of them agree with each other. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=${1:?name an environment: a file in tests/interop/environments}
WANTED=tests/interop/environments/$NAME.txt
VENV=.environments/$NAME
STAMP=$VENV/.hermetic-installed

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }
[ -f "$WANTED" ] || fail "there is no environment $NAME" "there are: $(cd tests/interop/environments && echo *.txt | sed 's/\.txt//g')"

bash scripts/venv.sh
digest=$(cat "$WANTED" pyproject.toml | sha256sum | cut -d' ' -f1)
[ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$digest" ] && exit 0

# The first line may name system packages: `# apt: fuse3 libfuse3-3`.
packages=$(sed -n '1s/^# apt: //p' "$WANTED")
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || bash scripts/venv.sh apt "$package"
done
[ -x "$VENV/bin/python" ] || .venv/bin/python -m venv "$VENV"
printf 'installing %s into %s\n' "$WANTED" "$VENV" >&2
# `# apart` in the first line: a tool that does not agree with the project's own libraries, and that tests in .venv call.
project=(-e . "pytest>=8.4")
[ -n "$(sed -n '1s/^# apart.*/apart/p' "$WANTED")" ] && project=()
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check ${project[@]+"${project[@]}"} -r "$WANTED"
printf '%s\n' "$digest" >"$STAMP"
