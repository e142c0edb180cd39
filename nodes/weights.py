"""Which weights file an entry of a menu means; one marked "download" is fetched when it runs.

Whoever chooses such an entry accepts the license it names. Every other entry means a file that has
to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..gpen_core.errors import GPENError, MissingWeightsError
from ..gpen_core.faces.weights import entry_of
from ..gpen_core.options import TASKS, Options
from ..gpen_core.weights.catalogue import Entry, list_entries, split_label
from ..gpen_core.weights.locate import task_of_ours
from ..gpen_core.weights.verify import check
from . import folders, host
from .menu import Menu

# --- restoration models --------------------------------------------------------------------------


def model_choices(tasks: Sequence[str] = TASKS[:1]) -> Menu:
    """Files that are there, the embedded models first, then what could be downloaded for `tasks`.

    What is known to be for another task is left out.

    Any name of a model file is taken, and any label by its name: whether the file is there is asked
    when it is needed, and what is missing is named with its folder.
    """
    here = [name for name in folders.model_names() if (task_of_ours(name) or tasks[0]) in tasks]
    labels = [
        entry.label
        for entry in downloadable()
        if entry.filename not in here and entry.task in tasks
    ]
    return Menu(here + labels, _means_model)


def _means_model(entry: str) -> bool:
    return entry.lower().endswith(folders.MODEL_SUFFIXES) or model_entry(entry) is not None


def downloadable() -> list[Entry]:
    """The catalogue's restoration models that have an address."""
    return [
        entry
        for entry in list_entries()
        if entry.kind in ("gpen-pth", "gpen-onnx") and entry.urls and entry.name.startswith("GPEN-")
    ]


def model_entry(choice: str) -> Entry | None:
    """The catalogue's entry that a label of the menu stands for; None for the name of a file.

    Only the name counts: a workflow may have been saved when the label gave another size.
    """
    name, download = split_label(choice)
    return next((entry for entry in downloadable() if download and entry.name == name), None)


def model_file_here(choice: str) -> Path | None:
    """The file of the loader's widget as it is now, None before its download.

    Raises:
        GPENError: it is the name of a file, and no folder holds it.
    """
    entry = model_entry(choice)
    if entry is not None:
        return folders.find_model(entry.filename)
    return folders.model_path(choice, _instead_of(choice))


def _instead_of(name: str) -> str:
    """What to do where a model file is missing: its download, where there is one."""
    filename = name.replace("\\", "/").rpartition("/")[2].lower()
    for entry in downloadable():
        if entry.filename.lower() == filename:
            return f"choose {entry.label!r} to download it"
    return "choose another file"


def model_file(choice: str) -> Path:
    """The file of the loader's widget, fetched into models/gpen where the entry says so.

    Raises:
        GPENError: it is not there, not the published one, or could not be fetched.
    """
    entry, path = model_entry(choice), model_file_here(choice)
    if path is None:
        assert entry is not None  # a mere name is found or refused
        return host.fetched(entry, folders.model_downloads())
    if entry is not None and path.name == entry.filename:
        check(entry, path).refuse_wrong().pin_unknown()
    return path


def chosen(file: str | None) -> str:
    """What a node's own menu of models says; graphs saved before there was one mean the first."""
    return model_choices()[0] if file is None else file


def fingerprint(file: str | None) -> str:
    """Changes when the file that such a menu names is replaced; empty where it is not here."""
    try:
        path = model_file_here(chosen(file))
        return "" if path is None else host.identity(path)
    except GPENError:
        return ""  # nobody may need it; the run says so otherwise


# --- detectors and the parser --------------------------------------------------------------------


def choices(names: Sequence[str]) -> Menu:
    """A menu of detectors or masks; those whose file is not there say "download".

    Entries are known by their name, whatever a workflow that was saved before the download says.
    """
    return Menu([_choice(name) for name in names], lambda entry: name_of(entry) in names)


def _choice(name: str) -> str:
    entry = entry_of(name)
    if entry is None or folders.find_detector(entry.filename) is not None:
        return name
    return entry.label_as(name)


def name_of(choice: str) -> str:
    """The detector or mask of a menu's entry, whether or not its file is there by now."""
    return split_label(choice)[0]


def detector(choice: str) -> host.HostDetector:
    """The detector of a menu's entry. Raises as `_file_of` and `host.load_detector`."""
    return host.load_detector(name_of(choice), _file_of(choice))


def embedder(options: Options) -> host.HostEmbedder | None:
    """What tells people apart, None where the options do without. Raises as `load_embedder`."""
    return None if options.gate.resolved.identity is None else host.load_embedder()


SFACE = "SFace"
"""The entry of the network whose figures are known."""


def embedder_choices() -> Menu:
    """SFace, and the files that may hold other face recognition networks."""
    return Menu([SFACE, *folders.embedder_names()], folders.is_embedder)


def chosen_embedder(choice: str) -> host.HostEmbedder:
    """The network of such an entry.

    Raises:
        GPENError: it is not there, or is no recognition network.
    """
    return host.load_embedder(None if choice == SFACE else folders.embedder_path(choice))


def embedder_fingerprint(choice: str) -> str:
    """Changes when the file behind such an entry is replaced; empty where there is none."""
    try:
        return "" if choice == SFACE else host.identity(folders.embedder_path(choice))
    except GPENError:
        return ""  # the run says so


def parser(choice: str) -> host.HostParser | None:
    """The parser behind a mask's entry, None where it needs none. Raises as `_file_of`."""
    path = _file_of(choice)
    return None if path is None else host.load_parser(path)


def _file_of(choice: str) -> Path | None:
    """The file behind an entry; the loader compares its hash.

    Raises:
        MissingWeightsError: it is not there and the entry does not say "download".
        GPENError: it could not be fetched.
    """
    name, download = split_label(choice)
    entry = entry_of(name)
    if entry is None:
        return None
    path = folders.find_detector(entry.filename)
    if path is not None:
        return path
    if download:
        return host.fetched(entry, folders.detector_downloads())
    raise MissingWeightsError(
        f"{name} needs {entry.filename}, which is not in {folders.detector_downloads()}; choose "
        f"{entry.label_as(name)!r} to download it, or put it there yourself from "
        f"{' or '.join(entry.urls)}."
    )
