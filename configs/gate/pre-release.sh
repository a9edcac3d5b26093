#!/bin/sh
# Stops a release unless these weights were audited lately and the verdict is PASS.
#
#   cuecheck gate-file script > pre-release.sh
#   sh pre-release.sh RUN WEIGHTS [options of cuecheck gate] && ./release.sh
#
# Exits as `cuecheck gate` does: 0 PASS, 1 FAIL, 2 bad input, 3 internal error, 4 ERROR,
# 5 INCONCLUSIVE. CUECHECK_MAX_AGE is the days that a run stands for (30).
set -eu

if [ "$#" -lt 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
  echo "usage: $0 RUN WEIGHTS [options of cuecheck gate]" >&2
  exit 2
fi
run=$1
weights=$2
shift 2

# exec: the exit code is that of the gate, and nothing can come after it.
exec cuecheck gate "$@" --expect-model "$weights" --max-age "${CUECHECK_MAX_AGE:-30}" -- "$run"
