"""Print, as pip requirements, the lowest versions that pyproject.toml admits.

Only what the program and its tests import: linters may be new. torchvision is the one that
belongs to the lowest torch.
"""

import re
import tomllib
from pathlib import Path

TORCHVISION_OF = {"2.5": "0.20.0"}
NOT_IMPORTED = {"ruff", "mypy", "comfyui-frontend-package"}

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
    name, bound, version = re.fullmatch(r"([\w.-]+)(?:(>=|==)([\d.]+))?.*", requirement).groups()
    if name in NOT_IMPORTED:
        continue
    if bound is None:
        raise SystemExit(f"pyproject.toml: {requirement} has no lowest version")
    print(f"{name}=={version}")
    if name == "torch":
        print(f"torchvision=={TORCHVISION_OF[version]}")
