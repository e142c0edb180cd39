"""What a node tells its user: in the log and, where the host can, on the node itself."""

from __future__ import annotations

import logging

from comfy_api.latest import io

log = logging.getLogger(__name__)


def say(cls: type[io.ComfyNode], text: str, level: int = logging.INFO) -> str:
    """Log a sentence and show it on the node that is running; returns it."""
    log.log(level, text)
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    node_id = cls.hidden.unique_id if cls.hidden else None
    if server is not None and node_id is not None:
        server.send_progress_text(text, node_id)
    return text


def warn(cls: type[io.ComfyNode], text: str) -> str:
    """`say` something that the user should not miss."""
    return say(cls, text, logging.WARNING)
