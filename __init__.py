"""GPEN for ComfyUI: the host imports this folder and asks for its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import GPENExtension

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> GPENExtension:
    """The host's way in; the nodes are imported here so that tests can import this file too."""
    from .nodes import extension

    return await extension.comfy_entrypoint()
