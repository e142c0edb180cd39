"""The ComfyUI nodes: each translates between the host and `gpen_core`, and holds no more than that.

The host has a top-level module of the same name, so this package is only ever imported relatively.
"""
