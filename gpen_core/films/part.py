"""A part of a film restored: some frames in a row, through the network and into a file.

Three threads: one decodes and cuts the faces out, one has the network, one holds the faces still,
pastes them and encodes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from ..faces.found import Faces
from ..faces.restore import at_once
from ..faces.steady import Moment, steadied
from ..memory.process import return_freed_memory
from ..run import Run
from .ahead import Behind, Later, ahead
from .film import Film
from .output import Output, Writing
from .planes import Planes
from .samples import held_back
from .shot import Shot
from .survey import Survey

# Frames read ahead, and as many that wait to be finished; of huge frames one, and they go through
# the network one by one.
_WAITING = 4


class PartMaker:
    """Makes the frames of a part: what the network is to see in groups, the rest as it is.

    Args:
        film: read.
        output: written.
        run: networks, options, and hooks, which are called in the caller's thread alone.
        known: of the film.
    """

    def __init__(self, film: Film, output: Output, run: Run, known: Survey) -> None:
        self.film, self.output, self.run, self.known = film, output, run, known
        self._later = Later()
        self._beside = Run(run.tools, run.options, self._later)

    def make(self, frames: range, path: Path) -> None:
        """Write these frames into `path`."""
        radius = self.run.options.track.steadiness
        count = len(self.known.times)
        around = range(max(frames.start - radius, 0), min(frames.stop + radius, count))
        waiting = 1 if self.film.is_huge else _WAITING
        with closing(ahead(self._read(around), waiting)) as shots:
            early = deque(itertools.islice(shots, frames.start - around.start + 1))
            with self.output.writing(path, self.known, early[-1].planes) as writing:
                finishing = _Finishing(frames, radius, self._beside, writing)
                with Behind.feeding(finishing.add, waiting) as behind:
                    for shot in self._restored(itertools.chain(_emptied(early), shots)):
                        behind.put(shot)
                        self._later.tell(self.run.hooks)
                        if self.film.is_huge:  # between such frames holes grow to hundreds of MB
                            return_freed_memory()
                        if shot.index in frames:
                            self.run.hooks.progress("film", shot.index + 1, count)
                    for _ in range(radius):
                        behind.put(None)
        self._later.tell(self.run.hooks)

    def _read(self, frames: range) -> Generator[Shot]:
        """The frames, with the faces that the survey knows cut out."""
        stored = self.film.frames_at(self.known.times[frames.start : frames.stop])
        with closing(stored):
            for index, frame in zip(frames, stored, strict=True):
                planes = Planes(frame)
                faces = self.known.faces_of(index, planes.size)
                yield Shot.cut_out(index, planes, faces, self._beside)

    def _restored(self, shots: Iterable[Shot]) -> Iterator[Shot]:
        """With restored faces; those of neighboring frames go through the network together."""
        group: list[Shot] = []
        most = 1 if self.film.is_huge else at_once(self.run.model, self.run.options.restore)
        waiting = 0
        for shot in shots:
            group.append(shot)
            waiting += len(shot.faces)
            if waiting >= most or not waiting:
                yield from self._together(group)
                group, waiting = [], 0
        yield from self._together(group)

    def _together(self, group: Sequence[Shot]) -> Iterator[Shot]:
        if not any(len(shot.faces) for shot in group):
            yield from group
            return
        faces = Faces.concat([shot.faces for shot in group])
        assert faces.crops is not None
        most = self.run.options.restore.strength
        restored = held_back(faces.crops, self.run.restore(faces), self.known.verdicts, most)
        restored = self.run.look(restored)
        for place, shot in enumerate(group):
            faces = restored.of_images(slice(place, place + 1))
            yield shot.with_(Moment(faces, self.run.masks(faces) if len(faces) else None))


def _emptied(shots: deque[Shot]) -> Iterator[Shot]:
    """All of them, held no longer than until they are asked for."""
    while shots:
        yield shots.popleft()


class _Finishing:
    """Restored frames held still, pasted and written, each once those after it are there.

    Args:
        frames: those to be written.
        radius: frames before and after that a frame is averaged with.
        run: pastes.
        writing: takes them.
    """

    def __init__(self, frames: range, radius: int, run: Run, writing: Writing) -> None:
        self._frames, self._run, self._writing = frames, run, writing
        self._radius = radius
        self._window: deque[Moment | None] = deque(maxlen=2 * radius + 1)
        # Of frames that are written only the faces are needed.
        self._unwritten: deque[Shot] = deque()

    def add(self, shot: Shot | None) -> None:
        """The next frame; after the last one, as many times None as the radius."""
        self._window.append(None if shot is None else shot.moment)
        if shot is not None:
            self._unwritten.append(shot)
        center = len(self._window) - 1 - self._radius
        if center < 0 or self._window[center] is None:
            return
        middle = self._unwritten.popleft()
        if middle.index not in self._frames:
            return
        if len(middle.faces):
            around = [one for one in self._window if one is not None]
            middle = middle.with_(steadied(around, center))
        middle.paste(self._run)
        self._writing.add(middle.planes, middle.index)
