#!/usr/bin/env bash
# Runs every script of a folder, one after the other: each.sh FOLDER INTERPRETER [ARGUMENTS]. Names that start with _ are helpers.
set -euo pipefail
folder=$1 interpreter=$2
shift 2
shopt -s nullglob
ran=0
for script in "$folder"/[!_]*.py; do
  echo "== $script"
  "$interpreter" "$script" "$@"
  ran=$((ran + 1))
done
if [ "$ran" = 0 ]; then
  echo "error: $folder holds no scripts" >&2
  exit 1
fi
