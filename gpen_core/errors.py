"""What can go wrong, in one sentence each: what, where, what to do.

Every error a user can cause derives from `GPENError`. The library does not know who asked: where an
option is to blame the error names it (`option`), and where only the caller knows the way out it
names that (`remedy`), so that the command line can speak of its flags and a node of its widgets.
Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class GPENError(Exception):
    """Base of every error that a user can cause and mend.

    Attributes:
        option: the field of `gpen_core.options` that is wrong, if one is.
        remedy: what a caller may offer: "overwrite", "align", "license", "offline".

    Example:
        >>> str(InputError("strength must be from 0 to 1, not 2.", option="strength"))
        'strength must be from 0 to 1, not 2.'
    """

    def __init__(self, text: str, *, option: str | None = None, remedy: str | None = None) -> None:
        super().__init__(text)
        self.option, self.remedy = option, remedy


class InputError(GPENError, ValueError):
    """A picture, a mask or an option cannot be used as given.

    Example:
        >>> from gpen_core import Options
        >>> Options.of(strength=2)
        Traceback (most recent call last):
        gpen_core.errors.InputError: strength must be from 0 to 1, not 2.
    """


class CheckpointError(GPENError, ValueError):
    """A file is not a model this project can run, or is damaged.

    Example:
        >>> from gpen_core import load_model
        >>> load_model({})
        Traceback (most recent call last):
        gpen_core.errors.CheckpointError: the state dict: ...
    """


class MissingWeightsError(GPENError, FileNotFoundError):
    """A weights file is not there; the text names the file, its folder and where to get it.

    Example:
        >>> from gpen_core import load_model
        >>> load_model("no-such-model")
        Traceback (most recent call last):
        gpen_core.errors.MissingWeightsError: No model 'no-such-model', neither as a path nor in ...
    """


class MissingDependencyError(GPENError, ImportError):
    """An optional package is absent; the text says which one and how to install it.

    Example:
        >>> error = MissingDependencyError("A graph needs the package onnx: pip install onnx.")
        >>> isinstance(error, ImportError)
        True
    """


class OutOfMemory(GPENError, MemoryError):
    """Memory did not suffice, even for the smallest part and on the CPU.

    Example:
        >>> isinstance(OutOfMemory("Not enough memory for reading a.png."), MemoryError)
        True
    """
