"""One run: the five steps in a row, for one picture, a folder, a batch of frames or a film.

    run = Run(Tools(model), Options.of(strength=0.8))
    for result in run(sources):
        ...

A run owns the loaded networks, the options and the hooks, and is the only loop over pictures. What
calls it differs in where pictures come from and where results go; the nodes that do one step each
call that step of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from torch import Tensor

from .errors import InputError
from .faces.align import align
from .faces.aligned import as_faces, check_aligned
from .faces.detect import Detector, detect, load_detector
from .faces.embed import Embedder, embed
from .faces.found import Faces
from .faces.gate import Gate, lost_identity, planned_strengths, too_good, with_quality
from .faces.given import Given, given_faces
from .faces.mask import crop_masks
from .faces.parse import Parser
from .faces.paste import Canvas, Surface
from .faces.person import Wanted
from .faces.quality import find_quality
from .faces.restore import at_once, restore
from .faces.select import kept_indices, sorted_indices
from .faces.sharp import REASON as SHARPER
from .faces.sharp import are_sharper, pixel_scales
from .faces.steady import steadied_batch
from .faces.track import Track, chosen_tracks, followed, tracks
from .hooks import Hooks, Recording
from .images.layouts import from_network
from .images.scenes import cuts_of
from .memory.allowance import Allowance
from .models.model import Model
from .options import Options
from .report import NOT_SELECTED, Face, Report

Result = TypeVar("Result")

FRAMES_AT_ONCE = 4
"""Images of a batch that are worked on together; bounds the memory."""

# Aligned and restored crops held at once, bytes; ten faces of 512 px.
_PIXEL_MEMORY = 64 << 20


@dataclass(frozen=True)
class Tools:
    """What a run works with: loaded networks, and who is looked for; what it does not need may
    be missing.

    Attributes:
        model: restores; from `load_model`.
        detector: finds faces; the embedded one by default.
        parser: labels faces, for the parsing mask.
        embedder: tells whom a face shows; from `load_embedder`.
        wanted: who is restored and who is not, which takes an embedder; None: everybody is.

    Example:
        >>> Tools(detector=load_detector("mtcnn")).model is None
        True
    """

    model: Model | None = None
    detector: Detector | None = None
    parser: Parser | None = None
    embedder: Embedder | None = None
    wanted: Wanted | None = None


@dataclass(frozen=True)
class Found:
    """The faces of some images, in order, and which of them are to be restored.

    Attributes:
        everyone: sorted; a face's place among those of its image is its index.
        chosen: indices into `everyone`.
        left: why those are left that would be chosen otherwise, by their indices.
        scales: of everyone, see `faces.sharp.pixel_scales`; None without a model.

    Example:
        >>> len(Found(Faces.empty([(48, 64)]), []).faces)
        0
    """

    everyone: Faces
    chosen: list[int]
    left: Mapping[int, str] = field(default_factory=dict)
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
        reasons = {**dict.fromkeys(self.chosen), **self.left}
        likeness, quality = self.everyone.person, self.everyone.quality
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
                    reason=reasons.get(i, NOT_SELECTED),
                    scale=None if self.scales is None else round(float(self.scales[i]), 3),
                    person=None if likeness is None else round(float(likeness[i]), 3),
                    quality=None if quality is None else round(float(quality[i]), 3),
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

    def restored(
        self, source: Surface, first: int = 0, narrow: Callable[[Found], Found] | None = None
    ) -> Restored:
        """One group of images through the five steps; reads like the recipe.

        Args:
            source: the images, with a background or a mask where there is one.
            first: index of the first image in the whole batch, for the report.
            narrow: leaves out some of the faces found, as somebody chose.

        Returns:
            Images without a face, or with none chosen, come back bit for bit (enlarged where
            `upscale` asks for it).

        Raises:
            GPENError: bad input, missing weights; what and where is in its text.
        """
        report, run = Report(), self._reporting()
        with report.stage("detect"):
            found = run.find(source.images)
            found = found if narrow is None else narrow(found)
        run.hooks.found(len(found.chosen))
        run.say_softer(found.faces)
        with report.stage("paste"):
            canvas = run.canvas(source)
        parts = []
        for part in run.parts(found.faces):
            with report.stage("align"):
                part = run.align(source.images, part)
            with report.stage("restore"):
                part = run.restore(part)
            pasted = changed(part)
            with report.stage("mask"):
                masks = run.masks(pasted)
            with report.stage("paste"):
                run.paste(canvas, pasted, masks)
            keep = self.options.keep_crops
            parts.append(part if keep else part.with_(crops=None, restored=None))
        report.events = run.hooks.events
        faces = Faces.merge([found.faces.take([]), *parts])
        report.faces = run.told(found, faces, first)
        indices = tuple(found.indices[place] for place in _places_changed(faces))
        return Restored(canvas.images, canvas.mask, changed(faces), report, indices)

    def told(self, found: Found, restored: Faces, first: int = 0) -> list[Face]:
        """The report's lines with what became of the chosen faces, in their order."""
        lines = found.lines(first)
        if restored.strengths is None or restored.quality is None:
            return lines
        gate = self.gate
        planned = planned_strengths(restored.quality, gate.options, gate.most).tolist()
        for place, face in enumerate(found.chosen):
            strength = float(restored.strengths[place])
            identity = restored.identity
            lines[face] = replace(
                lines[face],
                restored=strength > 0,
                reason=lost_identity(planned[place], strength),
                strength=round(strength, 3),
                identity=None if identity is None else round(float(identity[place]), 3),
            )
        return lines

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
        tools = replace(self.tools, detector=self.detector)
        return _ReportingRun(tools, self.options, Recording(self.hooks))

    # --- the single steps --------------------------------------------------------------------

    def find(self, images: Tensor) -> Found:
        """Detect and select: the faces of (B, 3, H, W) 0..1 images."""
        return self._with_memory(
            "detecting faces",
            lambda: self.choose(
                images, detect(images, self.detector, self.options.detect, self.hooks)
            ),
        )

    def take_given(self, images: Tensor, given: Sequence[Sequence[Given]]) -> Found:
        """Faces that somebody else has found in (B, 3, H, W) 0..1 images, selected as ours."""
        detector, options = self.detector, self.options.detect
        return self._with_memory(
            "looking at given faces",
            lambda: self.choose(images, given_faces(images, given, detector, options, self.hooks)),
        )

    def choose(self, images: Tensor, everyone: Faces) -> Found:
        """Select: which of the faces of some images, in which order, and why others are left."""
        everyone = everyone.take(sorted_indices(everyone, self.options.select.sort))
        kept = kept_indices(everyone, self.options.select.keep)
        left: dict[int, str] = {}
        scales = None if self.tools.model is None else self._scales(everyone)
        if scales is not None and self.options.select.skip_sharp:
            left |= dict.fromkeys(are_sharper(scales).nonzero().flatten().tolist(), SHARPER)
        everyone = everyone.with_(quality=find_quality(images, everyone, self.hooks))
        assert everyone.quality is not None
        left |= too_good(everyone.quality, self.options.gate)
        everyone, strangers = self._told_apart(images, everyone)
        left = {face: reason for face, reason in (left | strangers).items() if face in kept}
        return Found(everyone, [face for face in kept if face not in left], left, scales)

    def _told_apart(self, images: Tensor, faces: Faces) -> tuple[Faces, dict[int, str]]:
        """With similarities to the person looked for, and which are left alone for who they are."""
        wanted = self.tools.wanted
        if wanted is None:
            return faces, {}
        vectors = embed(images, faces, self.embedder, self.hooks)
        reasons = wanted.reasons(vectors, self.options.gate.person_threshold)
        left = {face: reason for face, reason in enumerate(reasons) if reason is not None}
        return faces.with_(person=wanted.similarities(vectors)), left

    def spare(self, faces: Faces) -> Faces:
        """Those of some aligned faces that are not good already, with their quality."""
        if self.options.gate.resolved.only_below is None or faces.crops is None:
            return faces
        faces = with_quality(faces)
        assert faces.quality is not None
        good = too_good(faces.quality, self.options.gate)
        return faces.take([face for face in range(len(faces)) if face not in good])

    def follow(self, images: Tensor, faces: Faces, rate: float) -> tuple[list[Track], Faces]:
        """The faces of frames in a row as those of persons: gaps closed, tremor gone.

        Args:
            images: (B, 3, H, W) 0..1, all frames.
            faces: found in them.
            rate: frames a second.

        Returns:
            Every track, and the faces of those that `keep` keeps, to be aligned.

        Example:
            >>> import torch
            >>> frames = torch.zeros(2, 3, 48, 64)
            >>> run = Run(Tools())
            >>> ways, faces = run.follow(frames, run.find(frames).everyone, 25.0)
            >>> len(ways), len(faces)
            (0, 0)
        """
        frames = range(len(faces.image_sizes))
        seen = {i: faces.of_images(slice(i, i + 1)) for i in frames}
        found = tracks(seen, cuts_of(images), rate, self.options.track)
        ordered, kept = chosen_tracks(found, self.options.select, faces.image_sizes[0])
        return ordered, followed(faces, [ordered[number] for number in kept])

    def hold_still(self, faces: Faces) -> Faces:
        """Restored faces of frames in a row, each averaged with those of its track around it."""
        return self._with_memory(
            "holding faces still", lambda: steadied_batch(faces, self.options.track.steadiness)
        )

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
        """The aligned crops through the network, each as far as its gate lets it."""
        return self._with_memory("restoring faces", lambda: self._gated(faces))

    def _gated(self, faces: Faces) -> Faces:
        options, gate = self.options.restore, self.gate
        if gate.open:
            return restore(faces, self.model, options, self.hooks)
        before = faces.crops if faces.restored is None else faces.restored
        full = restore(faces, self.model, replace(options, strength=1.0), self.hooks)
        assert before is not None  # or restoring had refused
        return gate.passed(before, full, self.hooks)

    def masks(self, faces: Faces) -> Tensor:
        """(N, 1, T, T) 0..1: how much of each crop is pasted."""
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

    @property
    def gate(self) -> Gate:
        """What decides on the strength of each face."""
        options = self.options
        return Gate(options.gate, options.restore.strength, self.tools.embedder)

    @property
    def embedder(self) -> Embedder:
        """Tells whom a face shows.

        Raises:
            InputError: this run has none.
        """
        if self.tools.embedder is None:
            raise InputError("This run has no face embedder; load one with `load_embedder`.")
        return self.tools.embedder

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


def changed(faces: Faces) -> Faces:
    """Those of the restored faces that are not left as they were.

    Example:
        >>> len(changed(Faces.empty([(48, 64)])))
        0
    """
    return faces.take(_places_changed(faces))


def _places_changed(faces: Faces) -> list[int]:
    if faces.strengths is None:
        return list(range(len(faces)))
    return faces.strengths.nonzero().flatten().tolist()


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]
