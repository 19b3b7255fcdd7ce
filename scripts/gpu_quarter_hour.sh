#!/bin/sh
# A quarter of an hour with a GPU: one prepared run for a machine that has CUDA and PyTorch and nothing else of ours.
#
#   scripts/gpu_quarter_hour.sh prepare [3.12] [130]   where there is a package index: wheels into gpu_wheels/, to be taken along
#   scripts/gpu_quarter_hour.sh [OUT]                  on the machine: at most 9 minutes; a log and JSON rows into OUT (gpu_results)
#   scripts/gpu_quarter_hour.sh --tiny [OUT]           the same at sizes that a CPU can do, to rehearse it
#
# Parts come in the order of their worth, each with a limit. What is measured is written at once: a run that is cut off loses
# nothing but the part it was in. Weights are random, at the sizes of released models, and are made there.
set -u
cd "$(dirname "$0")/.."
WHEELS=gpu_wheels

prepare() {
    rm -rf "$WHEELS"
    mkdir "$WHEELS"
    for package in bitsandbytes peft transformers tokenizers datasets soundfile regex pyyaml; do
        wanted=$("$PYTHON" -c "import importlib.metadata as m; print(m.version('$package'))")
        "$PYTHON" -m pip download --quiet --no-deps --only-binary :all: --python-version "${1:-3.12}" \
            --platform manylinux2014_x86_64 --platform manylinux_2_24_x86_64 --platform manylinux_2_28_x86_64 \
            --platform manylinux_2_31_x86_64 --platform any -d "$WHEELS" "$package==$wanted" || exit 1
    done
    slim "${2:-130}"
    du -sh "$WHEELS"
}

slim() { # bitsandbytes for one CUDA only: 4 MB in place of 60
    "$PYTHON" - "$WHEELS" "$1" <<'PY'
import sys, zipfile
from pathlib import Path
folder, cuda = Path(sys.argv[1]), sys.argv[2]
(wheel,) = folder.glob('bitsandbytes-*.whl')
kept = f'libbitsandbytes_cuda{cuda}.so', 'libbitsandbytes_cpu.so'
small = wheel.with_suffix('.part')
with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(small, 'w', zipfile.ZIP_DEFLATED) as new:
    for item in old.infolist():
        name = item.filename.rpartition('/')[2]
        if name.startswith('libbitsandbytes_') and name not in kept:
            continue
        new.writestr(item, old.read(item))
small.replace(wheel)
PY
}

part() { # LIMIT NAME...
    limit=$1
    shift
    names=$(printf "'%s'," "$@")
    timeout "$limit" "$PYTHON" -c "
from functools import partial
from qlora_audio.bench.gpu import bench_gpu
bench_gpu([$names], tiny=$TINY, repeat=$REPEAT, say=partial(print, flush=True), rows='$OUT/rows.jsonl')
" 2>>"$OUT/errors.log" | tee -a "$OUT/log.txt"
    echo "[$*: $(($(date +%s) - START)) s since the start]" | tee -a "$OUT/log.txt"
}

PYTHON=${PYTHON:-python3}
if [ "${1:-}" = prepare ]; then
    shift
    prepare "$@"
    exit
fi
TINY=False REPEAT=15
if [ "${1:-}" = --tiny ]; then
    shift
    TINY=True REPEAT=2
fi
OUT=${1:-gpu_results}
START=$(date +%s)
mkdir -p "$OUT"
if [ -d "$WHEELS" ] && [ $TINY = False ]; then
    "$PYTHON" -m venv --system-site-packages /tmp/gpu_quarter_hour && PYTHON=/tmp/gpu_quarter_hour/bin/python
    "$PYTHON" -m pip install --quiet --no-index --no-deps "$WHEELS"/*.whl 2>&1 | tee -a "$OUT/log.txt"
fi
export PYTHONPATH=. HF_HUB_OFFLINE=1
if ! "$PYTHON" -c 'import torch, qlora_audio.bench.gpu' 2>>"$OUT/errors.log"; then
    echo "$PYTHON cannot run this: $(tail -n 1 "$OUT/errors.log"); name another with PYTHON=, or run prepare first" | tee -a "$OUT/log.txt"
    exit 1
fi
part 90 machine exact
part 100 kernels
part 150 step
part 60 product
part 60 paging
part 80 generate
if [ ! -s "$OUT/rows.jsonl" ]; then
    echo "nothing was measured: $(tail -n 1 "$OUT/errors.log")" | tee -a "$OUT/log.txt"
    exit 1
fi
echo "done in $(($(date +%s) - START)) s: $OUT/log.txt, $OUT/rows.jsonl" | tee -a "$OUT/log.txt"
