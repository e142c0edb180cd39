"""One run: the five steps in a row, for one picture, a folder, a batch of frames or a film.

    run = Run(Tools(model), Options.of(strength=0.8))
    for result in run(sources):
        ...

A run owns the loaded networks, the options and the hooks, and is the only loop over pictures. What
calls it differs in where pictures come from and where results go; the nodes that do one step each
call that step of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from .errors import InputError
from .faces.align import align
from .faces.aligned import as_faces, check_aligned
from .faces.detect import Detector, detect, load_detector
from .faces.found import Faces
from .faces.given import Given, given_faces
from .faces.look import covered_share, looked_at, without_pixels
from .faces.mask import crop_masks
from .faces.mesh import Mesher, load_mesh
from .faces.occlusion import OcclusionFinder, load_occlusion
from .faces.parse import Parser
from .faces.paste import Canvas, Surface
from .faces.restore import at_once, restore
from .faces.select import kept_indices, sorted_indices
from .faces.sharp import REASON as SHARPER
from .faces.sharp import are_sharper, pixel_scales
from .hooks import Hooks, Recording
from .images.layouts import from_network
from .memory.allowance import Allowance
from .models.model import Model
from .options import Options
from .report import Face, Report

Result = TypeVar("Result")

FRAMES_AT_ONCE = 4
"""Images of a batch that are worked on together; bounds the memory."""

# Aligned and restored crops held at once, bytes; ten faces of 512 px.
_PIXEL_MEMORY = 64 << 20


@dataclass(frozen=True)
class Tools:
    """The loaded networks of a run; what a run does not need may be missing.

    Attributes:
        model: restores; from `load_model`.
        detector: finds faces; the embedded one by default.
        parser: labels faces, for the parsing mask.
        mesher: finds outlines, for the face mask and parts; the embedded one by default.
        occlusion: sees what is in front of faces; the embedded one by default.

    Example:
        >>> Tools(detector=load_detector("mtcnn")).model is None
        True
    """

    model: Model | None = None
    detector: Detector | None = None
    parser: Parser | None = None
    mesher: Mesher | None = None
    occlusion: OcclusionFinder | None = None


@dataclass(frozen=True)
class Found:
    """The faces of some images, in order, and which of them are to be restored.

    Attributes:
        everyone: sorted; a face's place among those of its image is its index.
        chosen: indices into `everyone`.
        sharp: those that would be chosen, but are left for being sharper than the model.
        scales: of everyone, see `faces.sharp.pixel_scales`; None without a model.

    Example:
        >>> len(Found(Faces.empty([(48, 64)]), []).faces)
        0
    """

    everyone: Faces
    chosen: list[int]
    sharp: tuple[int, ...] = ()
    scales: Tensor | None = None

    @cached_property
    def faces(self) -> Faces:
        """The chosen ones."""
        return self.everyone.take(self.chosen)

    @property
    def indices(self) -> tuple[int, ...]:
        """The number of each chosen face among those of its image."""
        sources = self.everyone.source.tolist()
        return tuple(sources[:face].count(sources[face]) for face in self.chosen)

    def lines(self, first: int = 0) -> list[Face]:
        """The report's lines: every face found, and why some are not restored.

        Args:
            first: index of the first of these images in the whole batch.
        """
        reasons = dict.fromkeys(self.chosen) | dict.fromkeys(self.sharp, SHARPER)
        count = dict[int, int]()
        lines = []
        for i, image in enumerate(self.everyone.source.tolist()):
            count[image] = count.get(image, -1) + 1
            lines.append(
                Face(
                    image=image + first,
                    index=count[image],
                    box=_rounded(self.everyone.boxes[i].tolist()),
                    score=round(float(self.everyone.scores[i]), 4),
                    landmarks=[_rounded(point) for point in self.everyone.landmarks[i].tolist()],
                    restored=i in reasons and reasons[i] is None,
                    reason=reasons.get(i, "not selected"),
                    scale=None if self.scales is None else round(float(self.scales[i]), 3),
                )
            )
        return lines + [
            Face(
                image=one.source + first,
                index=None,
                box=_rounded(one.box),
                score=round(one.score, 4),
                landmarks=[_rounded(point) for point in one.landmarks],
                restored=False,
                reason=one.reason,
            )
            for one in self.everyone.rejected
        ]


@dataclass(frozen=True)
class Restored:
    """What became of one group of images.

    Attributes:
        images: (B, 3, H', W') 0..1.
        mask: (B, 1, H', W') 0..1, how much of each pixel was replaced.
        faces: those restored; with `Options.keep_crops` their crops too.
        report: what was found, how long it took, what fell back.
        indices: the numbers of `faces` in the report, each in its own image.

    Example:
        >>> import torch
        >>> from gpen_core.models.load import load_model
        >>> result = Run(Tools(load_model())).restored(Surface(torch.zeros(1, 3, 48, 64)))
        >>> result.images.shape, result.mask.shape, result.report.found
        (torch.Size([1, 3, 48, 64]), torch.Size([1, 1, 48, 64]), 0)
    """

    images: Tensor
    mask: Tensor
    faces: Faces
    report: Report
    indices: tuple[int, ...] = ()


class Run:
    """The loaded networks, the options and the hooks, applied to picture after picture.

    Args:
        tools: the networks; a step whose network is missing raises `InputError`.
        options: the defaults unless given.
        hooks: of the host.

    Raises:
        InputError: the parsing mask is asked for without a parser.

    Example:
        >>> import torch
        >>> from gpen_core.models.load import load_model
        >>> run = Run(Tools(load_model()), Options.of(strength=0.8, keep="largest"))
        >>> pictures = (Surface(torch.zeros(1, 3, 48, side)) for side in (64, 80))
        >>> [tuple(result.images.shape) for result in run(pictures)]
        [(1, 3, 48, 64), (1, 3, 48, 80)]
    """

    def __init__(
        self, tools: Tools, options: Options | None = None, hooks: Hooks | None = None
    ) -> None:
        self.tools = tools
        self.options = options or Options()
        self.hooks = hooks or Hooks()
        if self.options.mask.mask == "parsing" and tools.parser is None and tools.model is not None:
            raise InputError(
                "The parsing mask needs a face parser; load one or choose another mask.",
                option="mask",
            )

    def __call__(self, sources: Iterable[Surface]) -> Iterator[Restored]:
        """Results in the order of the sources, one at a time; nothing is held between them."""
        first = 0
        for source in sources:
            yield self.restored(source, first)
            first += len(source.images)

    def restored(self, source: Surface, first: int = 0) -> Restored:
        """One group of images through the five steps; reads like the recipe.

        Args:
            source: the images, with a background or a mask where there is one.
            first: index of the first image in the whole batch, for the report.

        Returns:
            Images without a face, or with none chosen, come back bit for bit (enlarged where
            `upscale` asks for it).

        Raises:
            GPENError: bad input, missing weights; what and where is in its text.
        """
        report, run = Report(), self._reporting()
        with report.stage("detect"):
            found = run.find(source.images)
        run.hooks.found(len(found.chosen))
        report.faces = found.lines(first)
        run.say_softer(found.faces)
        with report.stage("paste"):
            canvas = run.canvas(source)
        parts, covered = [found.faces.take([])], list[float]()
        for part in run.parts(found.faces):
            with report.stage("align"):
                part = run.align(source.images, part)
            with report.stage("restore"):
                part = run.restore(part)
            with report.stage("mask"):
                part = run.look(part)
                masks = run.masks(part)
            with report.stage("paste"):
                run.paste(canvas, part, masks)
            covered += covered_share(part)
            parts.append(part if self.options.keep_crops else without_pixels(part))
        report.events = run.hooks.events
        faces = Faces.merge(parts)
        report.tell_covered(found.chosen, covered)
        return Restored(canvas.images, canvas.mask, faces, report, found.indices)

    def crops(self, images: Tensor, *, check: bool = True) -> Restored:
        """Ready face crops (N, 3, S, S) 0..1 through the network, without pasting.

        Args:
            images: each one centered face.
            check: look first whether each is.

        Raises:
            InputError: a picture that is no ready crop.
        """
        report, run = Report(), self._reporting()
        if check:
            with report.stage("detect"):
                for image in images:
                    check_aligned(image[None], run.detector, run.template)
        run.hooks.found(len(images))
        with report.stage("restore"):
            faces = run.restore(as_faces(images, run.template))
        report.events = run.hooks.events
        assert faces.restored is not None
        restored = from_network(faces.restored)
        everywhere = restored.new_ones(len(images), 1, *restored.shape[-2:])
        return Restored(restored, everywhere, faces, report)

    def _reporting(self) -> _ReportingRun:
        """This run with hooks that keep what they are told."""
        tools = replace(
            self.tools, detector=self.detector, mesher=self.mesher, occlusion=self.occlusion
        )
        return _ReportingRun(tools, self.options, Recording(self.hooks))

    # --- the single steps --------------------------------------------------------------------

    def find(self, images: Tensor) -> Found:
        """Detect and select: the faces of (B, 3, H, W) 0..1 images."""
        return self._with_memory(
            "detecting faces",
            lambda: self.choose(detect(images, self.detector, self.options.detect, self.hooks)),
        )

    def take_given(self, images: Tensor, given: Sequence[Sequence[Given]]) -> Found:
        """Faces that somebody else has found in (B, 3, H, W) 0..1 images, selected as ours."""
        detector, options = self.detector, self.options.detect
        return self._with_memory(
            "looking at given faces",
            lambda: self.choose(given_faces(images, given, detector, options, self.hooks)),
        )

    def choose(self, everyone: Faces) -> Found:
        """Select: which of the faces of some images, in which order."""
        everyone = everyone.take(sorted_indices(everyone, self.options.select.sort))
        kept = kept_indices(everyone, self.options.select.keep)
        if self.tools.model is None:
            return Found(everyone, kept)
        scales = self._scales(everyone)
        sharp = are_sharper(scales) if self.options.select.skip_sharp else scales < 0
        chosen = [face for face in kept if not sharp[face]]
        return Found(everyone, chosen, tuple(face for face in kept if sharp[face]), scales)

    def say_softer(self, faces: Faces) -> None:
        """Tell the hooks where faces to be restored have more pixels than the model makes."""
        if bool(are_sharper(self._scales(faces)).any()):
            self.hooks.event(
                f"Some faces have more pixels than the {self.model.output_size} px that the model "
                f"makes, and come back softer; use a larger model, or set skip_sharp to leave "
                f"them as they are."
            )

    def _scales(self, faces: Faces) -> Tensor:
        return pixel_scales(faces, self.model.output_size, self.template)

    def align(self, images: Tensor, faces: Faces, size: int | None = None) -> Faces:
        """Cut the faces out; `size` is the model's input unless given."""
        size = size or self.model.input_size
        return self._with_memory(
            "aligning faces", lambda: align(images, faces, size, self.template, self.hooks)
        )

    def restore(self, faces: Faces) -> Faces:
        """The aligned crops through the network."""
        return self._with_memory(
            "restoring faces",
            lambda: restore(faces, self.model, self.options.restore, self.hooks),
        )

    def look(self, faces: Faces) -> Faces:
        """Aligned faces with what the masks ask for: their outlines, what is in front of them."""
        return self._with_memory(
            "looking at faces",
            lambda: looked_at(faces, self.mesher, self.occlusion, self.hooks),
        )

    def masks(self, faces: Faces) -> Tensor:
        """(N, 1, T, T) 0..1: how much of each crop is pasted; of faces that were looked at."""
        return self._with_memory(
            "making masks",
            lambda: crop_masks(faces, self.options.mask, self.tools.parser, self.hooks),
        )

    def canvas(self, source: Surface) -> Canvas:
        """What faces are pasted into."""
        return self._with_memory(
            "making the result's picture", lambda: Canvas(source, self.options.paste, self.hooks)
        )

    def paste(self, canvas: Canvas, faces: Faces, masks: Tensor) -> None:
        """Restored faces into their pictures."""
        self._with_memory("pasting faces", lambda: canvas.add(faces, masks))

    def _with_memory(self, doing: str, work: Callable[[], Result]) -> Result:
        """A step; what the step itself does not do with less is done a second time."""
        return Allowance(doing, self.hooks.event)(lambda *_: work())

    def parts(self, faces: Faces) -> Iterator[Faces]:
        """The faces in parts of whole batches whose pixels fit a fixed memory, or of one batch."""
        pixels = 3 * 4 * (self.model.input_size**2 + self.model.output_size**2)
        batch = at_once(self.model, self.options.restore)
        step = max(1, _PIXEL_MEMORY // pixels // batch) * batch
        for start in range(0, len(faces), step):
            yield faces.take(range(start, min(start + step, len(faces))))

    # --- what the steps need -----------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The network.

        Raises:
            InputError: this run has none.
        """
        if self.tools.model is None:
            raise InputError("This run has no model; load one with `load_model`.")
        return self.tools.model

    @cached_property
    def detector(self) -> Detector:
        """The detector given, or the embedded one."""
        if self.tools.detector is not None:
            return self.tools.detector
        model = self.tools.model
        return load_detector("mtcnn", device="cpu" if model is None else str(model.device))

    @cached_property
    def mesher(self) -> Mesher | None:
        """What finds outlines, where the options need it: the one given, or the embedded one."""
        if not self.options.mask.needs_mesh:
            return None
        return self.tools.mesher or load_mesh(self._device)

    @cached_property
    def occlusion(self) -> OcclusionFinder | None:
        """What sees things in front, where it is wanted: the one given, or the embedded one."""
        if not self.options.mask.occlusion:
            return None
        return self.tools.occlusion or load_occlusion(self._device)

    @property
    def _device(self) -> torch.device | str:
        """Where the model is."""
        return "cpu" if self.tools.model is None else self.tools.model.device

    @property
    def template(self) -> str:
        """The alignment template: the one chosen, the model's own, or GPEN's."""
        if self.options.template is not None:
            return self.options.template
        return "gpen" if self.tools.model is None else self.tools.model.info.template


class _ReportingRun(Run):
    hooks: Recording


def groups(count: int, size: int = FRAMES_AT_ONCE) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` images.

    Example:
        >>> list(groups(6))
        [slice(0, 4, None), slice(4, 6, None)]
    """
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def split(source: Surface, size: int = FRAMES_AT_ONCE) -> Iterator[Surface]:
    """A batch as groups of images; one background or mask serves every group.

    Example:
        >>> import torch
        >>> [len(part.images) for part in split(Surface(torch.zeros(6, 3, 48, 64)))]
        [4, 2]
    """

    def part(images: Tensor | None, chosen: slice) -> Tensor | None:
        return images if images is None or len(images) == 1 else images[chosen]

    for chosen in groups(len(source.images), size):
        yield Surface(
            source.images[chosen],
            part(source.background, chosen),
            part(source.user_mask, chosen),
        )


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]
