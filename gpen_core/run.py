"""One run: the five steps in a row, for one picture, a folder, a batch of frames or a film.

    run = Run(Tools(model), Options.of(strength=0.8))
    for result in run(sources):
        ...

A run owns the loaded networks, the options and the hooks, and is the only loop over pictures. What
calls it differs in where pictures come from and where results go; the nodes that do one step each
call that step of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .errors import InputError
from .faces.align import align
from .faces.aligned import as_faces, check_aligned
from .faces.detect import Detector, detect, load_detector
from .faces.embed import Embedder, embed
from .faces.found import Faces
from .faces.gate import Gate, lost_identity, planned_strengths, too_good, with_quality
from .faces.given import Given, given_faces
from .faces.holes import UNTOUCHED, holes_of, holes_of_crops, touches, with_holes
from .faces.look import covered_share, looked_at, without_pixels
from .faces.mask import crop_masks
from .faces.mesh import Mesher, load_mesh
from .faces.occlusion import OcclusionFinder, load_occlusion
from .faces.parse import Parser, load_parser
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
from .models.device import resolve_device
from .models.load import load_model
from .models.model import Model
from .models.task import SOURCES
from .options import DETECTORS, MASKS, Options
from .report import NOT_SELECTED, Face, Report
from .tasks.known import task_named
from .tasks.task import Task

Result = TypeVar("Result")

FRAMES_AT_ONCE = 4
"""Images of a batch that are worked on together; bounds the memory."""

# Aligned and restored crops held at once, bytes; ten faces of 512 px.
_PIXEL_MEMORY = 64 << 20

# Share of a mask that may stay unfilled without a word.
_LEFT = 0.02


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
        mesher: finds outlines, for the face mask and parts; the embedded one by default.
        occlusion: sees what is in front of faces; the embedded one by default.

    Example:
        >>> Tools(detector=load_detector("mtcnn")).model is None
        True
    """

    model: Model | None = None
    detector: Detector | None = None
    parser: Parser | None = None
    embedder: Embedder | None = None
    wanted: Wanted | None = None
    mesher: Mesher | None = None
    occlusion: OcclusionFinder | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        needed: tuple[str, str] = (DETECTORS[0], MASKS[0]),
        weights_dir: Path | None = None,
    ) -> Tools:
        """Load what every picture needs, so that a missing file is said once and at once.

        Args:
            model: a file, a name, or None for the embedded model.
            device, precision: as `load_model`.
            needed: the detector, and the mask: only the parsing mask needs a parser.
            weights_dir: folder of the detector's and the parser's files; None: the usual ones.

        Raises:
            GPENError: a file is missing or is not what it should be, or an unknown device.

        Example:
            >>> Tools.load().model.output_size
            256
        """
        chosen = resolve_device(device)
        detector, mask = needed
        return cls(
            load_model(model, device=chosen, precision=precision),
            load_detector(detector, device=chosen, weights_dir=weights_dir),
            load_parser(weights_dir, chosen) if mask == "parsing" else None,
        )


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
        InputError: the parsing mask is asked for without a parser, or there is no such task.

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
        self.options = options or Options()
        if tools.model is not None and self.options.model.task is not None:
            tools = replace(tools, model=tools.model.as_task(self.options.model.task))
        self.tools = tools
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
        return self.together([source], first, narrow)[0]

    def together(
        self,
        sources: Sequence[Surface],
        first: int = 0,
        narrow: Callable[[Found], Found] | None = None,
    ) -> list[Restored]:
        """Several groups of images of any sizes, their faces in passes of the network they share.

        All are in memory at once. A face's pixels may differ in the last of their 24 bits with
        what else is in its pass.

        Args:
            sources: in order.
            first: index of the first image in the whole batch, for the report.
            narrow: leaves out some of the faces found in a source, as somebody chose.

        Returns:
            As `restored`, one for each source; seconds of a shared pass are divided by faces.

        Raises:
            GPENError: one of them could not be done; none is returned.

        Example:
            >>> import torch
            >>> from gpen_core.models.load import load_model
            >>> run = Run(Tools(load_model()))
            >>> pair = [Surface(torch.zeros(1, 3, 48, 64)), Surface(torch.zeros(1, 3, 80, 60))]
            >>> [tuple(result.images.shape) for result in run.together(pair)]
            [(1, 3, 48, 64), (1, 3, 80, 60)]
        """
        self.check_task()
        if not self.task.sees_faces:
            raise InputError(
                "A map of a face's parts is a ready crop, with no face in it to be found; give it "
                "as one.",
                option="aligned",
            )
        works = []
        for source in sources:
            works.append(self._begun(source, first, narrow))
            first += len(source.images)
        for shared in self._passes(works):
            aligned = []
            for work, faces in shared:
                with work.report.stage("align"):
                    aligned.append(work.aligned(faces))
            for (work, _), part in zip(shared, self._one_pass(shared, aligned), strict=True):
                with work.report.stage("mask"):
                    part = work.run.look(part)
                    pasted = changed(part)
                    masks = work.run.masks(pasted)
                with work.report.stage("paste"):
                    work.run.paste(work.canvas, pasted, masks)
                work.covered += covered_share(part)
                work.parts.append(part if self.options.keep_crops else without_pixels(part))
        return [work.ended() for work in works]

    def _begun(self, source: Surface, first: int, narrow: Callable[[Found], Found] | None) -> _Work:
        """A source searched, with a canvas for what is found."""
        report, run = Report(), self._reporting()
        with report.stage("detect"):
            found = run.touched(run.find(source.images), source)
            found = found if narrow is None else narrow(found)
        run.hooks.found(len(found.chosen))
        run.say_softer(found.faces)
        with report.stage("paste"):
            canvas = run.canvas(source)
        return _Work(source, run, report, found, canvas, [found.faces.take([])], first)

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

    def _passes(self, works: Sequence[_Work]) -> Iterator[list[tuple[_Work, Faces]]]:
        """The faces of all sources in parts as `parts` makes them, each with its source."""
        step, shared, room = self._faces_in_part, list[tuple[_Work, Faces]](), 0
        for work in works:
            faces, start = work.found.faces, 0
            while start < len(faces):
                room = room or step
                taken = range(start, min(start + room, len(faces)))
                shared.append((work, faces.take(taken)))
                start, room = taken.stop, room - len(taken)
                if not room:
                    yield shared
                    shared = []
        if shared:
            yield shared

    def _one_pass(
        self, shared: Sequence[tuple[_Work, Faces]], aligned: Sequence[Faces]
    ) -> list[Faces]:
        """Aligned faces of several sources through the network, and back to their sources."""
        if len(shared) == 1:
            work = shared[0][0]
            with work.report.stage("restore"):
                return [work.run.restore(aligned[0])]
        run, spent = self._reporting(), Report()
        with spent.stage("restore"):
            everyone = run.restore(Faces.concat(aligned))
        restored, start = [], 0
        for (work, faces), part in zip(shared, aligned, strict=True):
            end = start + len(part.image_sizes)
            restored.append(everyone.of_images(slice(start, end)))
            start = end
            share = spent.seconds["restore"] * len(faces) / len(everyone)
            work.report.seconds["restore"] = work.report.seconds.get("restore", 0.0) + share
            work.run.hooks.events += run.hooks.events
        return restored

    def crops(self, images: Tensor, *, check: bool = True, holes: Tensor | None = None) -> Restored:
        """Ready face crops (N, 3, S, S) 0..1 through the network, without pasting.

        Args:
            images: each one centered face.
            check: look first whether each is.
            holes: (N or 1, 1, h, w) 0..1, 1 where a pixel is missing, for a model that inpaints.

        Raises:
            InputError: a picture that is no ready crop, a model of another task, a mask of another
                shape.
        """
        self.check_task()
        report, run = Report(), self._reporting()
        images, said = self.task.checked(images)
        if said:
            run.hooks.event(said)
        if check and self.task.sees_faces:
            with report.stage("detect"):
                for image in images:
                    check_aligned(image[None], run.detector, run.template)
        run.hooks.found(len(images))
        with report.stage("restore"):
            faces = as_faces(images, run.template)
            if holes is not None:
                faces = faces.with_(holes=holes_of_crops(holes, images))
            faces = run.restore(faces)
        report.events = run.events
        assert faces.restored is not None
        restored = from_network(faces.restored)
        changed = restored.new_ones(len(images), 1, *restored.shape[-2:])
        if faces.holes is not None:
            changed = faces.holes
        return Restored(restored, changed, faces, report)

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

    def check_task(self) -> None:
        """Refuse a model that was made for something else than this run is for.

        Raises:
            InputError: says what the model is for, how that is known, and what to do.
        """
        model, purpose = self.model, self.options.purpose
        if model.task != purpose:
            raise InputError(
                f"{model.info.name} is a model to {model.task} ({SOURCES[model.info.task_source]}),"
                f" not to {purpose}; take another model, or, if you know better, set task to "
                f"{purpose}.",
                remedy="task",
            )

    def touched(self, found: Found, source: Surface) -> Found:
        """Those of the faces that the holes of their pictures touch, where the task has holes.

        Raises:
            InputError: there is no mask of the holes, or one of another shape.
        """
        if not self.task.needs_holes:
            return found
        holes, aligned = holes_of(source), found.everyone.with_(template=self.template)
        touching = [touches(aligned, face, holes) for face in found.chosen]
        left = [f for f, touched in zip(found.chosen, touching, strict=True) if not touched]
        if found.chosen and not any(touching):
            self.hooks.event("The mask touches no face; nothing is drawn.")
        chosen = [f for f, touched in zip(found.chosen, touching, strict=True) if touched]
        return replace(found, chosen=chosen, left={**found.left, **dict.fromkeys(left, UNTOUCHED)})

    def with_holes(self, source: Surface, faces: Faces) -> Faces:
        """The holes of the pictures cut out with their aligned faces, where the task has holes."""
        if not self.task.needs_holes:
            return faces
        return self._with_memory(
            "cutting out the mask", lambda: with_holes(faces, holes_of(source), self.hooks)
        )

    def say_left(self, source: Surface, canvas: Canvas) -> None:
        """Tell the hooks how much of the holes no face reaches, where the task has holes."""
        if not self.task.needs_holes or not bool(canvas.mask.any()):
            return
        holes = holes_of(source).mean(dim=(1, 2, 3)).expand(len(canvas.mask))
        left = 1 - float(canvas.mask.mean(dim=(1, 2, 3)).sum() / holes.sum())
        if left > _LEFT:
            self.hooks.event(
                f"{left:.0%} of the mask lies where no face reaches, and is left as it was."
            )

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
        if not self.task.at_crop_size and bool(are_sharper(self._scales(faces)).any()):
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
        """The aligned crops through the network, each as far as its gate lets it.

        Raises:
            InputError: the model is made for something else, see `check_task`.
        """
        self.check_task()
        return self._with_memory("restoring faces", lambda: self._gated(faces))

    def _gated(self, faces: Faces) -> Faces:
        options, gate = self.options.restore, self.gate
        if gate.open:
            return restore(faces, self.model, options, self.hooks)
        before = faces.crops if faces.restored is None else faces.restored
        full = restore(faces, self.model, replace(options, strength=1.0), self.hooks)
        assert before is not None  # or restoring had refused
        return gate.passed(before, full, self.hooks)

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
            "making the result's picture",
            lambda: Canvas(
                source, self.options.paste, self.hooks, only_colors=self.task.keeps_light
            ),
        )

    def paste(self, canvas: Canvas, faces: Faces, masks: Tensor) -> None:
        """Restored faces into their pictures."""
        self._with_memory("pasting faces", lambda: canvas.add(faces, masks))

    def _with_memory(self, doing: str, work: Callable[[], Result]) -> Result:
        """A step; what the step itself does not do with less is done a second time."""
        return Allowance(doing, self.hooks.event)(lambda *_: work())

    def parts(self, faces: Faces) -> Iterator[Faces]:
        """The faces in parts of whole batches whose pixels fit a fixed memory, or of one batch."""
        step = self._faces_in_part
        for start in range(0, len(faces), step):
            yield faces.take(range(start, min(start + step, len(faces))))

    @property
    def _faces_in_part(self) -> int:
        result = self.task.size(self.model.input_size, self.model.output_size)
        pixels = 3 * 4 * (self.model.input_size**2 + result**2)
        batch = at_once(self.model, self.options.restore)
        return max(1, _PIXEL_MEMORY // pixels // batch) * batch

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

    @property
    def task(self) -> Task:
        """What this run is for."""
        return task_named(self.options.purpose)

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

    @property
    def events(self) -> list[str]:
        """What the hooks were told, and what was logged when the model was loaded."""
        guess = self.model.info.guess
        return [*([guess] if guess else []), *self.hooks.events]


@dataclass
class _Work:
    """One source on its way through the steps."""

    source: Surface
    run: _ReportingRun
    report: Report
    found: Found
    canvas: Canvas
    parts: list[Faces]
    first: int
    covered: list[float] = field(default_factory=list)

    def aligned(self, faces: Faces) -> Faces:
        return self.run.with_holes(self.source, self.run.align(self.source.images, faces))

    def ended(self) -> Restored:
        self.run.say_left(self.source, self.canvas)
        self.report.events = self.run.events
        faces = Faces.merge(self.parts)
        self.report.faces = self.run.told(self.found, faces, self.first)
        self.report.tell_covered(self.found.chosen, self.covered)
        indices = tuple(self.found.indices[place] for place in _places_changed(faces))
        images, mask = self.canvas.images, self.canvas.mask
        return Restored(images, mask, changed(faces), self.report, indices)


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
