"""What can go wrong, in one sentence each: what, where, what to do.

Every error a user can cause derives from `GPENError`; the command line and the nodes show its text
as it is. Anything else that escapes is a bug and keeps its traceback.
"""


class GPENError(Exception):
    """Base of every error that a user can cause and mend."""


class InputError(GPENError, ValueError):
    """A picture, a mask or an option cannot be used as given."""


class CheckpointError(GPENError, ValueError):
    """A file is not a model this project can run, or is damaged."""


class MissingWeightsError(GPENError, FileNotFoundError):
    """A weights file is not there; the text names the file, its folder and where to get it."""


class MissingDependencyError(GPENError, ImportError):
    """An optional package is absent; the text says which one and how to install it."""
