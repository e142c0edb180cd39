"""GPEN face restoration."""

__version__ = "0.1.0"
