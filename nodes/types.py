"""The two types that travel between the nodes, and those of others that they take."""

from __future__ import annotations

from comfy_api.latest import io

GPENModel = io.Custom("GPEN_MODEL")
"""A `host.HostModel`: the network, its descriptor and the host's handle on its memory."""

GPENFaces = io.Custom("GPEN_FACES")
"""A `gpen_core.faces.found.Faces`: what was found, aligned and restored so far."""

# By their names, since older hosts have no class for them.
BoundingBox = io.Custom("BOUNDING_BOX")
"""Boxes `{"x", "y", "width", "height"}`: one, a list, or a list for each picture."""

FaceLandmarks = io.Custom("FACE_LANDMARKS")
"""Faces with a mesh of landmarks, of the host's MediaPipe node."""

Segs = io.Custom("SEGS")
"""Segments of the Impact Pack: the picture's size, and elements with `bbox` and `confidence`."""
