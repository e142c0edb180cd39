"""The networks: pure `nn.Module`s, without files, devices or caches."""

from .gpen import GPEN, GPENConfig

__all__ = ["GPEN", "GPENConfig"]
