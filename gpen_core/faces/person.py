"""Person: which of the faces show somebody, by pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..errors import InputError
from ..hooks import Hooks
from ..options import DetectOptions
from .aligned import main_faces
from .detect import detect
from .detector import Detector
from .embed import Embedder, embed

NOT_THEM, LEFT_ALONE = "not this person", "a person to leave alone"
"""Why a face is left as it is."""

# The picture is known to show a face.
_CONFIDENCE = 0.7


@dataclass(frozen=True)
class Portrait:
    """A picture of somebody.

    Attributes:
        name: what messages call it.
        image: (3, H, W) RGB 0..1.

    Example:
        >>> Portrait("me.jpg", torch.zeros(3, 48, 64)).name
        'me.jpg'
    """

    name: str
    image: Tensor


@dataclass(frozen=True)
class Wanted:
    """Who is to be restored, and who is not.

    Attributes:
        person: (D,) unit vector of the person looked for; None is anybody.
        others: (K, D) unit vectors of people who are left alone, K from 0.

    Example:
        >>> vectors = torch.eye(3)
        >>> Wanted(person=vectors[0], others=vectors[1:2]).reasons(vectors, 0.36)
        [None, 'a person to leave alone', 'not this person']
    """

    person: Tensor | None = None
    others: Tensor | None = None

    @classmethod
    def of(
        cls,
        person: Sequence[Portrait],
        others: Sequence[Portrait],
        look: Callable[[Portrait, str], Tensor],
    ) -> Wanted:
        """Who these pictures show.

        Args:
            person: several are averaged.
            others: each stands for itself.
            look: the unit vector of a portrait given for an option, such as `Looker`.

        Raises:
            InputError: as `look`.
        """
        mine = [look(one, "person") for one in person]
        theirs = [look(one, "not_person") for one in others]
        return cls(
            normalize(torch.stack(mine).mean(0), dim=0) if mine else None,
            torch.stack(theirs) if theirs else None,
        )

    def similarities(self, vectors: Tensor) -> Tensor | None:
        """(N,) cosines -1..1 of faces (N, D) to the person; None where nobody is looked for."""
        if self.person is None:
            return None
        # Vectors of nobody have no length that is known.
        return vectors @ self.person if len(vectors) else torch.zeros(0)

    def reasons(self, vectors: Tensor, threshold: float) -> list[str | None]:
        """Why each of the faces (N, D) is left alone; None where it is not.

        A face that resembles both the person and somebody to leave alone counts as whom it
        resembles more.

        Args:
            vectors: of the faces.
            threshold: the similarity from which two faces are taken for one person.
        """
        if len(vectors) == 0:
            return []
        own = self.similarities(vectors)
        likest = None if self.others is None else (vectors @ self.others.T).amax(dim=1)

        def reason(face: int) -> str | None:
            mine = threshold if own is None else float(own[face])
            if likest is not None and float(likest[face]) >= max(threshold, mine):
                return LEFT_ALONE
            return None if mine >= threshold else NOT_THEM

        return [reason(face) for face in range(len(vectors))]


@dataclass(frozen=True)
class Looker:
    """Finds out who portraits show.

    Attributes:
        detector: finds their face.
        embedder: makes its vector.
        hooks: told what was passed over.

    Example:
        >>> from gpen_core.faces.detector import load_detector
        >>> look = Looker(load_detector(), lambda crops: crops.mean(dim=(2, 3)), Hooks())
        >>> look(Portrait("me.jpg", torch.zeros(3, 64, 64)), "person")
        Traceback (most recent call last):
        gpen_core.errors.InputError: me.jpg shows no face; give a picture of the person's face.
    """

    detector: Detector
    embedder: Embedder
    hooks: Hooks = field(default_factory=Hooks)

    def __call__(self, portrait: Portrait, option: str) -> Tensor:
        """The (D,) unit vector of the one face in a portrait.

        Faces less than half as large as the largest are bystanders.

        Args:
            portrait: the picture.
            option: whose picture it is, for messages.

        Raises:
            InputError: no face, or several.
        """
        images = portrait.image[None]
        found = detect(images, self.detector, DetectOptions(confidence=_CONFIDENCE), self.hooks)
        main = main_faces(found)
        if len(main) != 1:
            what = f"{len(main)} faces; cut out the one that is meant"
            what = what if len(main) else "no face; give a picture of the person's face"
            raise InputError(f"{portrait.name} shows {what}.", option=option)
        if len(found) > 1:
            self.hooks.event(
                f"{portrait.name} shows {len(found)} faces; the largest is taken for the person."
            )
        return embed(images, main, self.embedder, self.hooks)[0]
