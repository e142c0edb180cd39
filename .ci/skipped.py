"""Files of tests of which a run skipped some; the argument is its report of `--junitxml`."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(report: str) -> None:
    files = set()
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            continue
        # A file that was skipped as a whole has no attribute, but its name with dots.
        name = case.get("file") or f"{case.get('name', '').replace('.', '/')}.py"
        if Path(name).is_file() and not name.startswith("tests/comfyui/"):
            files.add(name)
    print("\n".join(sorted(files)))


if __name__ == "__main__":
    main(*sys.argv[1:])
