"""The single steps of a run, and what they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import InputError
from ..faces.align import align
from ..faces.detect import detect
from ..faces.detector import Detector, load_detector
from ..faces.embed import Embedder, embed, person_threshold
from ..faces.found import Faces
from ..faces.gate import Gate, too_good, with_quality
from ..faces.given import Given, given_faces
from ..faces.holes import UNTOUCHED, holes_of, is_hole, touches, with_holes
from ..faces.look import looked_at
from ..faces.mask import crop_masks
from ..faces.mesh import Mesher, load_mesh
from ..faces.occlusion import OcclusionFinder, load_occlusion
from ..faces.paste import Canvas, Surface
from ..faces.quality import find_quality
from ..faces.restore import at_once, restore
from ..faces.select import kept_indices, sorted_indices
from ..faces.sharp import REASON as SHARPER
from ..faces.sharp import are_sharper, pixel_scales
from ..faces.steady import steadied_batch, steadied_masks
from ..faces.track import Track, chosen_tracks, followed, tracks
from ..hooks import Hooks
from ..images.fill import smoothly_filled
from ..images.scenes import cuts_of
from ..memory.allowance import Allowance
from ..models.model import Model
from ..models.task import SOURCES
from ..options import Options
from ..tasks.known import task_named
from ..tasks.task import Task
from .found import Found
from .tools import Tools

Result = TypeVar("Result")

# Aligned and restored crops held at once, bytes; ten faces of 512 px.
_PIXEL_MEMORY = 64 << 20

# Share of a mask that may stay unfilled without a word.
_LEFT = 0.02


class Steps:
    """The five steps, each for itself; nodes that do one of them call it here.

    Args:
        tools: the networks; a step whose network is missing raises `InputError`.
        options: the defaults unless given.
        hooks: of the host.

    Raises:
        InputError: the parsing mask is asked for without a parser, or there is no such task.

    Example:
        >>> steps = Steps(Tools())
        >>> len(steps.find(torch.zeros(1, 3, 48, 64)).faces)
        0
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
        reasons = wanted.reasons(vectors, person_threshold(self.options.gate, self.embedder))
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

    def find_in(self, source: Surface) -> Found:
        """Detect and select; of a task with holes, the faces that the holes touch.

        Detectors know no face behind a white scratch: those are looked for in a copy whose holes
        are filled from around them, and only where that shows none in the pictures as they are.

        Raises:
            InputError: there is no mask of the holes, or one of another shape.
        """
        if not self.task.needs_holes:
            return self.find(source.images)
        holes = holes_of(source)
        filled = self._with_memory(
            "filling holes for the search", lambda: smoothly_filled(source.images, is_hole(holes))
        )
        found = self._touched(self.find(filled), holes)
        if found.chosen:
            return found
        found = self._touched(self.find(source.images), holes)
        if found.chosen:
            self.hooks.event("With the holes filled no face was found; as it is, one was.")
        elif UNTOUCHED in found.left.values():
            self.hooks.event("The mask touches no face; nothing is drawn.")
        return found

    def _touched(self, found: Found, holes: Tensor) -> Found:
        """Without the faces that the holes (B or 1, 1, H, W) of their pictures do not touch."""
        aligned = found.everyone.with_(template=self.template)
        touching = [touches(aligned, face, holes) for face in found.chosen]
        left = [f for f, touched in zip(found.chosen, touching, strict=True) if not touched]
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
            >>> run = Steps(Tools())
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

    def hold_masks_still(self, faces: Faces, masks: Tensor) -> Tensor:
        """The masks (N, 1, T, T) of such faces, averaged as the faces are."""
        return self._with_memory(
            "holding faces still",
            lambda: steadied_masks(faces, masks, self.options.track.steadiness),
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

    @property
    def _faces_in_part(self) -> int:
        """Faces worked on together: whole batches whose pixels fit a fixed memory, or one batch."""
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
