#!/bin/sh
# The window stream's speed and the leave-one-anatomy-out runs on a machine with one GPU.
# It needs torch, numpy, scipy and safetensors; nothing is downloaded.
#
#   sh benchmarks/stream_gpu.sh CACHE OUT [MINUTES_A_RUN] [MINUTES_IN_ALL]
#
# CACHE holds `skulls` and `judges` (docs/stream.md says how they are made). The same command goes on
# where an earlier one stopped, as long as OUT is there. Estimates for one H100: speed 1 minute;
# a run of leaving out MINUTES_A_RUN and 15 seconds, 5 runs (plus 1 with `sources`, 17 with
# `families`).
set -eu
cache=$1 out=$2 minutes=${3:-1.2} all=${4:-8}
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$here"
mkdir -p "$out"
test -f "$out/stream.json" || python3 "$here/benchmarks/stream.py" --skulls "$cache/skulls" \
  --device cuda --batches 128,512 --seconds 5 -o "$out/stream.json"
python3 -m iac_cli.evaluate.left_out --skulls "$cache/skulls" --judges "$cache/judges" \
  -o "$out/left_out" --minutes "$minutes" --within-minutes "$all" \
  --only "${GROUPS_OF_RUNS:-left_out,sources,families}"
