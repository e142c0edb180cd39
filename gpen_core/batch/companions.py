"""Pictures that belong to other pictures: a mask or a background for each, matched by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from ..errors import InputError
from ..images.formats import READABLE
from ..images.read import read_picture

_FLAT = 2 / 255


@dataclass(frozen=True)
class Companions:
    """One file for one picture, or a folder of files with the pictures' names.

    Attributes:
        place: the file or folder.
        option: what the user calls it.

    Example:
        >>> Companions(Path("mask.png"), "user_mask").of(Path("scans/one.jpg")).name
        'mask.png'
    """

    place: Path
    option: str

    def check(self, sources: list[Path], *, shared: bool) -> None:
        """Refuse what does not fit the pictures.

        Args:
            sources: the pictures.
            shared: whether one file may serve several pictures.

        Raises:
            InputError: not there, one file for several pictures, or a picture without its file.
        """
        if not self.place.exists():
            raise InputError(f"{self.place}: no such file or folder.", option=self.option)
        if self.place.is_dir():
            for source in sources:
                self.of(source)
        elif len(sources) > 1 and not shared:
            raise InputError(
                f"{self.place} is one file, but there are {len(sources)} pictures; give a folder "
                f"with a file for each, of the same name.",
                option=self.option,
            )

    def of(self, source: Path) -> Path:
        """The file that belongs to a picture.

        Raises:
            InputError: the folder has none of its name.
        """
        if not self.place.is_dir():
            return self.place
        if source.stem in self._by_stem:
            return self._by_stem[source.stem]
        raise InputError(
            f"{self.place} has no picture named {source.stem} for {source}.",
            option=self.option,
        )

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        """The folder's pictures by their names without extension; of several the first."""
        pictures = [p for p in sorted(self.place.iterdir()) if p.suffix.lower() in READABLE]
        return {path.stem: path for path in reversed(pictures)}


def read_mask(path: Path) -> Tensor:
    """A mask as people paint it: by brightness, or by alpha where the colors are flat.

    Returns:
        (1, 1, h, w) 0..1.

    Raises:
        InputError: the file cannot be read.
    """
    from ..images.monochrome import luma

    picture = read_picture(path)
    light = luma(picture.pixels[None])
    if picture.alpha is not None:
        spread = (picture.pixels.amax(dim=(1, 2)) - picture.pixels.amin(dim=(1, 2))).max()
        if float(spread) <= _FLAT:
            return picture.alpha[None]
    return light
