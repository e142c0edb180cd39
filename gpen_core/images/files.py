"""The names other rooms know; new code imports them from where they live."""

from __future__ import annotations

from .formats import READABLE, WRITABLE
from .picture import Metadata, Picture
from .read import read_picture
from .write import check_size, check_writable, encode, write_atomically, write_picture

__all__ = [
    "READABLE",
    "WRITABLE",
    "Metadata",
    "Picture",
    "check_size",
    "check_writable",
    "encode",
    "read_picture",
    "write_atomically",
    "write_picture",
]
