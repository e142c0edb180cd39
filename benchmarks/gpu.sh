#!/usr/bin/env bash
# Everything there is to know of a GPU, in one command of at most eight minutes:
#
#   benchmarks/gpu.sh [FILE.json]       # out/gpu.json unless given
#   benchmarks/gpu.sh --rehearse        # the same with tiny networks on the CPU; says nothing of speed
#
# Needs python3 with pip and venv; a PyTorch that is there is used, and what is missing is installed
# into an environment of its own. PYTHON, TORCH and PIP_OPTIONS as in the Makefile; without a
# network, PIP_OPTIONS="--no-index --find-links FOLDER" takes wheels from a folder.
# Exit code 0: all parts ran, 1: some failed, 2: there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

if [ "${1:-}" != --rehearse ]; then
    if "$python" -c "import torch" 2>/dev/null; then
        "$python" -c "import torch; raise SystemExit(not torch.cuda.is_available())" || {
            echo "PyTorch finds no CUDA GPU on this machine, so there is nothing to measure." >&2
            exit 2
        }
    elif ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
        echo "There is no NVIDIA GPU on this machine, so there is nothing to measure." >&2
        exit 2
    fi
fi

# Name to import, and where it differs, the package that has it.
modules="numpy PIL:pillow safetensors kornia filelock httpx joblib lz4 typer rich pydantic yaml:pyyaml
    pytest pytest_timeout:pytest-timeout hypothesis"
missing=()
for entry in torch $modules; do
    "$python" -c "import ${entry%%:*}" 2>/dev/null || missing+=("${entry##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]} ..."
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$python" -m venv --system-site-packages "$scratch/venv"
    python=$scratch/venv/bin/python
    # shellcheck disable=SC2086  # options are several words
    "$python" -m pip install --quiet --disable-pip-version-check ${PIP_OPTIONS:-} \
        "${missing[@]/#torch/${TORCH:-torch}}"
fi
"$python" benchmarks/gpu.py "$@"
