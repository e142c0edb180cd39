"""A small picture of each face of a film, so that whoever reads the report knows who is meant."""

from __future__ import annotations

from collections.abc import Sequence

from ..faces.align import align
from ..faces.found import Faces
from ..faces.track import Track
from ..images.layouts import from_network
from ..images.picture import Picture
from ..images.write import data_url, encode
from .film import Film
from .planes import Planes

_SIDE, _QUALITY = 64, 85

# Each needs a look into the film; crowds have thousands of faces.
_MOST = 200


def thumbnails(film: Film, times: Sequence[int], tracks: Sequence[Track]) -> list[str | None]:
    """The face in the middle of each track, cut out upright, as an address that holds a JPEG.

    Args:
        film: where they are.
        times: of its frames, by index.
        tracks: the longest 200 get a picture, the others none.

    Example:
        >>> from pathlib import Path
        >>> from fractions import Fraction
        >>> film = Film(Path("a.mkv"), 0, "h264", "yuv420p", (48, 64), Fraction(1), 25, None, 9)
        >>> thumbnails(film, range(9), [])
        []
    """
    longest = sorted(tracks, key=lambda one: -len(one.scores))[:_MOST]
    wanted = {one.number for one in longest}
    return [_thumbnail(film, times, one) if one.number in wanted else None for one in tracks]


def _thumbnail(film: Film, times: Sequence[int], track: Track) -> str:
    middle = len(track.scores) // 2
    (frame,) = film.frames_at([times[track.first + middle]])
    planes = Planes(frame)
    face = Faces.empty([planes.size]).with_(
        boxes=track.boxes[middle][None],
        scores=track.scores[middle][None],
        landmarks=track.landmarks[middle][None],
        source=track.landmarks.new_zeros(1).long(),
    )
    crops = align(planes.rgb(), face, _SIDE, "gpen").crops
    assert crops is not None
    return data_url(encode(Picture(from_network(crops)[0]), "JPEG", quality=_QUALITY))
