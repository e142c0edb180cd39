"""One run: the five steps in a row, for one picture, a folder, a batch of frames or a film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..errors import InputError
from ..faces.aligned import as_faces, check_aligned
from ..faces.found import Faces
from ..faces.gate import lost_identity, planned_strengths
from ..faces.holes import holes_of_crops
from ..faces.look import covered_share, without_pixels
from ..faces.paste import Canvas, Surface
from ..hooks import Recording
from ..images.layouts import from_network
from ..report import Face, Report
from .found import Found, Restored, changed, places_changed
from .steps import Steps


class Run(Steps):
    """The loaded networks, the options and the hooks, applied to picture after picture.

    Takes what `Steps` takes, and raises what it raises.

    Example:
        >>> import torch
        >>> from gpen_core.models.load import load_model
        >>> from gpen_core.options import Options
        >>> from gpen_core.run import Tools
        >>> run = Run(Tools(load_model()), Options.of(strength=0.8, keep="largest"))
        >>> pictures = (Surface(torch.zeros(1, 3, 48, side)) for side in (64, 80))
        >>> [tuple(result.images.shape) for result in run(pictures)]
        [(1, 3, 48, 64), (1, 3, 48, 80)]
    """

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
            >>> from gpen_core.run import Tools
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
            found = run.find_in(source)
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
        """The faces of all sources in parts, each with its source."""
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
        everywhere = restored.new_ones(len(images), 1, *restored.shape[-2:])
        mask = everywhere if faces.holes is None else faces.holes
        return Restored(restored, mask, faces, report)

    def _reporting(self) -> _ReportingRun:
        """This run with hooks that keep what they are told."""
        tools = replace(
            self.tools, detector=self.detector, mesher=self.mesher, occlusion=self.occlusion
        )
        return _ReportingRun(tools, self.options, Recording(self.hooks))


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
        indices = tuple(self.found.indices[place] for place in places_changed(faces))
        images, mask = self.canvas.images, self.canvas.mask
        return Restored(images, mask, changed(faces), self.report, indices)
