"""Print, as pip requirements, the lowest versions that pyproject.toml admits.

Only what the program and its tests import: linters may be new, and so may the host's page.
"""

import re
from pathlib import Path

import tomllib

NOT_IMPORTED = {"ruff", "mypy", "comfyui-frontend-package"}
# What belongs to a lowest version, where pip would take a release that does not go with it.
PARTNERS = {
    "torch==2.5": ("torchvision==0.20.0",),
    "accelerate==1.0": ("huggingface-hub<1",),
}

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
    name, bound, version = re.fullmatch(
        r"([\w.-]+)(?:(>=|==)([\d.]+))?(?:;.*)?", requirement
    ).groups()
    if name in NOT_IMPORTED:
        continue
    if bound is None:
        raise SystemExit(f"pyproject.toml: {requirement} has no lowest version")
    lowest = f"{name}=={version}"
    print(lowest, *PARTNERS.get(lowest, ()), sep="\n")
