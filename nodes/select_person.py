"""Select Person."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_core.errors import InputError
from ..gpen_core.faces.embed import embed_crops, person_threshold
from ..gpen_core.faces.found import Faces
from ..gpen_core.faces.person import Looker, Portrait, Wanted
from ..gpen_core.images.layouts import from_comfy
from ..gpen_core.options import DETECTORS
from ..gpen_core.text import counted
from . import host, preview, weights, widgets
from .say import say, warn
from .schema import later, schema
from .types import GPENFaces


class SelectPerson(io.ComfyNode):
    """The faces of one person, by pictures of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_SelectPerson",
            display_name="Select Person",
            description="Keeps the faces of one person, by one or more pictures of them, or all "
            "but those of some people. The preview shows all faces with their similarity, those "
            "left out dimmed.",
            search_aliases=["face recognition", "same person", "reference face", "identity"],
            has_intermediate_output=True,
            inputs=[
                GPENFaces.Input(id="faces", tooltip="From Detect and Align Faces."),
                widgets.person_threshold(),
                io.Image.Input(
                    id="person",
                    optional=True,
                    tooltip="A picture of the person, with one face in it; a batch is averaged.",
                ),
                io.Image.Input(
                    id="not_person",
                    optional=True,
                    tooltip="Pictures of people to leave out, one face in each.",
                ),
                later(widgets.embedder()),
            ],
            outputs=[
                GPENFaces.Output(
                    id="selected", display_name="GPEN_FACES", tooltip="The person's faces."
                ),
                GPENFaces.Output(id="rest", display_name="rest", tooltip="The other faces."),
                io.Int.Output(id="count", display_name="count", tooltip="Number of faces kept."),
                io.String.Output(
                    id="similarities",
                    display_name="similarity",
                    tooltip="A line for each of the faces: its number, its similarity to the "
                    "person, and why it is left out.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, embedder: str = weights.SFACE, **_: Any) -> str:
        return weights.embedder_fingerprint(embedder)

    @classmethod
    def execute(
        cls,
        faces: Faces,
        person: Tensor | None = None,
        not_person: Tensor | None = None,
        embedder: str = weights.SFACE,
        **values: Any,
    ) -> io.NodeOutput:
        if person is None and not_person is None:
            raise InputError("Nobody to select: connect pictures to person, not_person, or both.")
        hooks = host.HostHooks(cls, stages=())
        network = weights.chosen_embedder(embedder)
        threshold = person_threshold(widgets.read(**values).gate, network)
        if network.origin is not None:
            hooks.event(f"Faces are told apart by {network.origin}.")
        look = Looker(weights.detector(DETECTORS[0]), network, hooks)
        portraits = (_portraits("person", person), _portraits("not_person", not_person))
        wanted = Wanted.of(*portraits, look)
        vectors = embed_crops(faces, network, hooks)
        likeness = wanted.similarities(vectors)
        reasons = wanted.reasons(vectors, threshold)
        faces = faces.with_(person=likeness)
        chosen = [face for face, reason in enumerate(reasons) if reason is None]
        rest = [face for face, reason in enumerate(reasons) if reason is not None]
        figures = [] if likeness is None else [f"{one:.2f}" for one in likeness.tolist()]
        return io.NodeOutput(
            faces.take(chosen),
            faces.take(rest),
            len(chosen),
            _table(figures, reasons),
            ui=preview.shown(
                _told(cls, len(chosen), figures, hooks), preview.sheets(faces, chosen, figures)
            ),
        )


def _portraits(name: str, image: Tensor | None) -> list[Portrait]:
    """Each picture of an IMAGE."""
    if image is None:
        return []
    images, _ = from_comfy(image)
    names = [f"picture {place} of {name}" for place in range(len(images))]
    return [
        Portrait(name if len(images) == 1 else label, one.float())
        for label, one in zip(names, images, strict=True)
    ]


def _table(figures: list[str], reasons: list[str | None]) -> str:
    """A line for each face."""
    rows = [[str(face), *figures[face : face + 1]] for face in range(len(reasons))]
    return "\n".join(
        "  ".join([*row, *filter(None, [reason])])
        for row, reason in zip(rows, reasons, strict=True)
    )


def _told(cls: type[io.ComfyNode], kept: int, figures: list[str], hooks: host.HostHooks) -> str:
    if kept:
        return say(cls, " ".join([f"{counted(kept, 'face')} kept.", *hooks.events]))
    if not figures:
        return warn(cls, "No face to select from, or none is left.")
    likest = max(map(float, figures))
    return warn(
        cls,
        f"No face resembles the person enough; the likest has {likest:.2f}. Lower "
        f"person_threshold, or connect another picture.",
    )
