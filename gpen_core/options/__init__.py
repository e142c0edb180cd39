"""Every option of a restoration: its range, choices, default and help, once and for everybody.

The command line makes its flags from these classes, the nodes their widgets, the documentation its
tables. Nothing here needs PyTorch, so `gpen --help` answers at once.
"""

from .detect import DETECTORS, DetectOptions
from .films import FilmOptions, TrackOptions
from .mask import MASKS, PARTS, MaskOptions, comma_separated
from .model import PRECISIONS, TASKS, ModelOptions
from .options import CHANGED, STEPS, TEMPLATES, Options
from .parsing import PARSING_CLASSES, PARSING_GROUPS, class_indices
from .paste import UPSCALES, PasteOptions
from .restore import RestoreOptions
from .select import CAREFUL, SFACE_THRESHOLD, SORTS, GateOptions, SelectOptions
from .spec import Checked, Spec, default_of, option, spec_of, specs

__all__ = [
    "CAREFUL",
    "CHANGED",
    "DETECTORS",
    "MASKS",
    "PARSING_CLASSES",
    "PARSING_GROUPS",
    "PARTS",
    "PRECISIONS",
    "SFACE_THRESHOLD",
    "SORTS",
    "STEPS",
    "TASKS",
    "TEMPLATES",
    "UPSCALES",
    "Checked",
    "DetectOptions",
    "FilmOptions",
    "GateOptions",
    "MaskOptions",
    "ModelOptions",
    "Options",
    "PasteOptions",
    "RestoreOptions",
    "SelectOptions",
    "Spec",
    "TrackOptions",
    "class_indices",
    "comma_separated",
    "default_of",
    "option",
    "spec_of",
    "specs",
]
