"""Nodes of other packs that ours can stand in for, on hosts that swap nodes of a missing pack.

The host offers it where the old node's pack is gone, and shows what it did. What the old nodes
called a model was no GPEN file as a rule, so the new ones start with the embedded model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from comfy_api.latest import io

from .load_model import LoadGPENModel
from .restore_image import RestoreImage


@dataclass(frozen=True)
class Old:
    """A node of another pack.

    Attributes:
        id: its name in workflows.
        widgets: its widgets in the order in which a workflow holds their values.
        inputs: ours, by the old input that they take over; the others get our defaults.
    """

    id: str
    widgets: tuple[str, ...] = ()
    inputs: dict[str, str] = field(default_factory=dict)


# Widgets are listed as far as the last one that is taken over. All old nodes give one output.
_REPLACED: dict[type[io.ComfyNode], tuple[Old, ...]] = {
    LoadGPENModel: (Old("FaceRestoreModelLoader"),),
    RestoreImage: (
        Old("FaceRestoreCFWithModel", (), {"image": "image", "facerestore_model": "gpen_model"}),
        Old(
            "ReActorRestoreFace",
            ("facedetection", "model", "visibility"),
            {"image": "image", "visibility": "strength"},
        ),
        Old(
            "ReActorRestoreFaceAdvanced",
            ("facedetection", "model", "visibility"),
            {"image": "image", "visibility": "strength"},
        ),
    ),
}


async def register() -> None:
    """Tell the host, where it knows replacements and runs as a server."""
    from server import PromptServer

    if not hasattr(io, "NodeReplace") or getattr(PromptServer, "instance", None) is None:
        return
    from comfy_api.latest import ComfyAPI

    api = ComfyAPI()
    for new, nodes in _REPLACED.items():
        for old in nodes:
            await api.node_replacement.register(_replacement(new, old))


def _replacement(new: type[io.ComfyNode], old: Old) -> io.NodeReplace:
    """The host's description of one swap.

    A prompt without a page has no defaults, so every widget of ours gets a value.
    """

    class Swap(io.NodeReplace):
        """The output keeps its index, so only the page, which moves the wires, has to be told.

        The host's own pass over a prompt would look the wire up by its old name, and fail where
        the node at its other end was swapped before.
        """

        def as_dict(self) -> dict[str, object]:
            return super().as_dict() | {"output_mapping": [{"new_idx": 0, "old_idx": 0}]}

    described = new.define_schema()
    taken = [{"new_id": ours, "old_id": theirs} for theirs, ours in old.inputs.items()]
    own = {each.id: first_value(each) for each in described.inputs}
    defaults = [
        {"new_id": name, "set_value": value}
        for name, value in own.items()
        if value is not None and name not in old.inputs.values()
    ]
    return Swap(
        new_node_id=described.node_id,
        old_node_id=old.id,
        old_widget_ids=list(old.widgets) or None,
        input_mapping=[*taken, *defaults],
    )


def first_value(each: io.Input) -> object:
    """What a widget shows at first: its default, or a menu's first entry. None for sockets."""
    if isinstance(each, io.Combo.Input) and each.default is None:
        return each.options[0]
    return getattr(each, "default", None)
