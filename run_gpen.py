"""Restore faces without installing anything: `python run_gpen.py --input photo.jpg --face_align`.

The same as `gpen restore`; only the default differs: without `--face_align` every picture must be
one centered face already, and is refused with a hint where it is not.
"""

import sys

from gpen_core.cli.app import run_gpen

if __name__ == "__main__":
    sys.exit(run_gpen())
