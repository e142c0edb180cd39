"""The weights files this project knows: where to get them, their hashes and licenses.

`catalogue.json` holds confirmed facts only. Where no hash was ever published it is null: the hash
of the first use is shown, and pinned beside the file (see `verify.py`).
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, MissingWeightsError
from ..options import TASKS
from .locate import embedded, search, searched_folders

NON_COMMERCIAL = "non-commercial"
_CATALOGUE = Path(__file__).with_name("catalogue.json")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LABEL = re.compile(r"(\S+) \(download.*\)")


@dataclass(frozen=True)
class Entry:
    """One file of the catalogue.

    Attributes:
        name: what to call it; unique.
        kind: "gpen-pth", "gpen-onnx", "detector-pth" or "parser-pth".
        filename: its name on disk; two programs may publish different files under one name.
        urls: mirrors, in the order they are tried; empty where none is known.
        bytes: its size, None where none was published.
        sha256: hexadecimal, None where none was published.
        license: "non-commercial" or "MIT".
        terms: the license in a sentence or two.
        sha256_source: who published the hash.
        note: what else to know.
        task: what a restoration network is for, one of `options.TASKS`.

    Raises:
        InputError: `filename` could leave its folder.

    Example:
        >>> entry = Entry("mine", "gpen-pth", "mine.pth", ("https://example.org/a",), 2_000_000)
        >>> entry.label
        'mine (download, 2 MB, non-commercial)'
    """

    name: str
    kind: str
    filename: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    license: str = NON_COMMERCIAL
    terms: str = ""
    sha256_source: str | None = None
    note: str | None = None
    task: str = TASKS[0]

    def __post_init__(self) -> None:
        if not _SAFE_NAME.fullmatch(self.filename) or ".." in self.filename:
            raise InputError(
                f"The catalogue's file name {self.filename!r} is not a plain name of letters, "
                f"digits, '.', '_' and '-'; it is refused because it could leave its folder."
            )

    @property
    def is_restricted(self) -> bool:
        """Whether the license has to be accepted before a download."""
        return self.license == NON_COMMERCIAL

    @property
    def size_text(self) -> str:
        """The size in decimal megabytes, e.g. "284 MB"."""
        return "size unknown" if self.bytes is None else f"{self.bytes / 1e6:.0f} MB"

    @property
    def label(self) -> str:
        """For a menu, e.g. "GPEN-BFR-512 (download, 284 MB, non-commercial)"."""
        return self.label_as(self.name)

    def label_as(self, name: str) -> str:
        """`label` where the menu calls the file something else."""
        return f"{name} (download, {self.size_text}, {self.license})"


@dataclass(frozen=True)
class Listing:
    """A name and the file it means on this machine, None where there is none."""

    entry: Entry
    path: Path | None


def list_entries() -> tuple[Entry, ...]:
    """Every file of the catalogue, in its order.

    Example:
        >>> "GPEN-BFR-512" in [entry.name for entry in list_entries()]
        True
    """
    content = json.loads(_CATALOGUE.read_text(encoding="utf-8"))
    terms = content["licenses"]
    return tuple(
        Entry(**{**fields, "urls": tuple(fields["urls"]), "terms": terms[fields["license"]]})
        for fields in content["files"]
    )


def split_label(text: str) -> tuple[str, bool]:
    """The name in a menu's entry, and whether the entry says that it is a download.

    Example:
        >>> split_label("GPEN-BFR-512 (download, 284 MB, non-commercial)")
        ('GPEN-BFR-512', True)
    """
    labeled = _LABEL.fullmatch(text.strip())
    return (labeled[1], True) if labeled else (text.strip(), False)


def show(name: str) -> Entry:
    """The entry called `name`: its name, its file name or its label, in any case.

    Raises:
        InputError: there is none; the text suggests the closest.

    Example:
        >>> show("parsenet").filename
        'parsing_parsenet.pth'
    """
    wanted = split_label(name)[0].lower()
    entries = list_entries()
    for field in ("name", "filename"):
        for entry in entries:
            if getattr(entry, field).lower() == wanted:
                return entry
    names = {entry.name.lower(): entry.name for entry in entries}
    close = [names[key] for key in difflib.get_close_matches(wanted, names, n=3, cutoff=0.4)]
    hint = f"did you mean {' or '.join(close)}?" if close else "'gpen models list' names them all."
    raise InputError(f"The catalogue has no {name!r}; {hint}")


def list_models(folders: tuple[Path, ...] = ()) -> list[Listing]:
    """What each name of the catalogue means here; the embedded model, if present, comes first.

    Example:
        >>> list_models()[0].entry.kind
        'embedded'
    """
    listings = [Listing(entry, find_file(entry, folders)) for entry in list_entries()]
    try:
        path = embedded()
    except MissingWeightsError:
        return listings
    own = Entry(path.stem, "embedded", path.name, (), path.stat().st_size, license="MIT")
    return [Listing(own, path), *listings]


def find_file(entry: Entry, folders: tuple[Path, ...] = ()) -> Path | None:
    """The file on this machine that stands for an entry, None where there is none.

    A GPEN `.pth` may be represented by its safetensors twin; detectors and parsers may not.

    Example:
        >>> import tempfile
        >>> entry = Entry("mine", "gpen-pth", "mine.pth", ())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "mine.safetensors").write_bytes(b"")
        ...     find_file(entry, (Path(folder),)).name
        'mine.safetensors'
    """
    twins = entry.kind == "gpen-pth"
    return search(entry.filename, searched_folders(folders), twins)
