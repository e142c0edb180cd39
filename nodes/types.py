"""The two types that travel between the nodes, beside the host's own."""

from __future__ import annotations

from comfy_api.latest import io

GPENModel = io.Custom("GPEN_MODEL")
"""A `host.HostModel`: the network, its descriptor and the host's handle on its memory."""

GPENFaces = io.Custom("GPEN_FACES")
"""A `gpen_core.faces.found.Faces`: what was found, aligned and restored so far."""
