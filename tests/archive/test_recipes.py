"""The files for clusters are what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from gpen_core.cli.archive import app

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "archive"
KNOWN = {flag for one in get_command(app).commands["run"].params for flag in one.opts}


def flags(text: str) -> set[str]:
    return {word for word in text.split() if word.startswith("--")}


def test_the_job_for_kubernetes():
    yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    entry = job["spec"]["entrypoint"]
    assert entry.startswith("gpen archive s3://") and flags(entry) <= KNOWN
    groups = job["spec"]["rayClusterSpec"]
    heads = [groups["headGroupSpec"], *groups["workerGroupSpecs"]]
    for group in heads:
        [container] = group["template"]["spec"]["containers"]
        assert container["envFrom"] and container["resources"]["limits"]["memory"]


def test_the_script_for_slurm():
    path = FOLDER / "slurm.sh"
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    last = path.read_text().strip().splitlines()[-1]
    assert last.startswith("gpen archive") and flags(last) <= KNOWN
