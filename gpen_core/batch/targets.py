"""Where each result goes; settled before the work, so that nothing takes another's place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from ..errors import InputError
from ..films.formats import FORMATS, is_film
from ..images.formats import READABLE, WRITABLE, written_suffix
from .source import Source

AnyPath = TypeVar("AnyPath", bound=PurePath)

RESTORED, COMPARE, FACES = "restored", "compare", "faces"
SUFFIXES: Mapping[str, str] = {
    "restore": RESTORED,
    "colorize": "colorized",
    "inpaint": "inpainted",
    "paint": "painted",
}
"""What results are marked with beside their inputs, by the run's purpose."""
LABELS = (*SUFFIXES.values(), COMPARE, FACES)
"""What results are marked with; a folder's files marked so are no inputs."""

_SUFFIXES = (*WRITABLE, *FORMATS)
_FORMATS = ", ".join(suffix.removeprefix(".") for suffix in _SUFFIXES)


@dataclass(frozen=True)
class Naming:
    """How results are named.

    Attributes:
        output: file or folder; None: beside each input.
        suffix: put behind the name, after `_`; None: "restored" beside the input, else nothing.
        format: extension of the results without its dot; None: the input's own.
        frames: films become folders of pictures, which have no extension.

    Example:
        >>> source = Source(Path("scans/one.jpg"), Path("scans"))
        >>> plan_outputs([source], Naming(suffix="gpen", format="png"), many=False)[0].name
        'one_gpen.png'
    """

    output: Path | None = None
    suffix: str | None = None
    format: str | None = None
    frames: bool = False

    def __post_init__(self) -> None:
        if self.format is not None and f".{self.format.lower()}" not in _SUFFIXES:
            raise InputError(
                f"format must be one of {_FORMATS}, not {self.format!r}.", option="format"
            )
        if self.suffix is not None and ("/" in self.suffix or "\\" in self.suffix):
            raise InputError("suffix must not contain a slash.", option="suffix")


def plan_outputs(sources: Sequence[Source], naming: Naming, *, many: bool) -> list[Path]:
    """Where each result goes.

    Beside the input as `NAME_restored.EXT`; a single input goes to the file or into the folder that
    `output` names; several go into a folder, which mirrors the tree they were found in.

    Raises:
        InputError: several inputs but `output` is a file, or two results would share a name, on
            systems that do not tell upper from lower case too.
    """
    output = naming.output
    if output is None:
        suffix = RESTORED if naming.suffix is None else naming.suffix
        targets = [named(one.path, suffix, naming) for one in sources]
    elif naming.frames and not many and is_film(sources[0].path):
        targets = [output]
    elif many or output.is_dir() or not output.suffix:
        _check_folder(output, many)
        targets = [named(output / one.place, naming.suffix or "", naming) for one in sources]
    else:
        if naming.format is None:  # a name given is left as it is, and checked when it is written
            suffix = f"_{naming.suffix}" if naming.suffix else ""
            targets = [output.with_name(f"{output.stem}{suffix}{output.suffix}")]
        else:
            targets = [named(output, naming.suffix or "", naming)]
    return targets


def _check_folder(output: Path, many: bool) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file, but there are several inputs; give a folder.")
    if many and output.suffix.lower() in (*READABLE, *FORMATS) and not output.is_dir():
        raise InputError(f"{output} names one file, but there are several inputs; give a folder.")


def named(path: AnyPath, suffix: str, naming: Naming) -> AnyPath:
    """The name of a result, in the folder of `path`.

    Args:
        path: a source's name, wherever it is mirrored to.
        suffix: put behind it, after `_`; may be empty.
        naming: asks for a format.

    Example:
        >>> named(Path("scans/one.heic"), "new", Naming()).name
        'one_new.png'
    """
    asked = None if naming.format is None else f".{naming.format.lower()}"
    extension = "" if naming.frames and is_film(path) else _extension(path, asked)
    return path.with_name(f"{path.stem}{'_' if suffix else ''}{suffix}{extension}")


def _extension(path: PurePath, asked: str | None) -> str:
    """That of the result; a format of pictures means no film, and the other way round."""
    film = is_film(path)
    if asked is not None and film == (asked in FORMATS):
        return asked
    return path.suffix if film else written_suffix(path)


def check_apart(inputs: Iterable[Path], written: Iterable[tuple[Path, str]]) -> None:
    """Refuse a plan in which something would take another thing's place.

    Args:
        inputs: every file that is read.
        written: every file that will be written, with what it is.

    Raises:
        InputError: two of the written files share a name, or one is an input.
    """
    taken = {_key(path): f"the input {path}" for path in inputs}
    for path, what in written:
        key = _key(path)
        if key in taken:
            raise InputError(f"{what} would replace {taken[key]} ({path}); choose another name.")
        taken[key] = what


def _key(path: Path) -> str:
    """Equal for names that some file system takes for one."""
    return str(path.absolute().resolve()).casefold()


def sibling(path: Path, label: str) -> Path:
    """`folder/name.ext` -> `folder/name_label.ext`.

    Example:
        >>> sibling(Path("scans/one.jpg"), "restored").name
        'one_restored.jpg'
    """
    return path.with_name(f"{path.stem}_{label}{path.suffix}")
