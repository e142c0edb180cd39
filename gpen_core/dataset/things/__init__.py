"""Things that may be in front of a face, each drawn as layers of color and opacity."""

from collections.abc import Callable, Mapping

from .face import face
from .food import food
from .glasses import glasses
from .hair import hair
from .hand import hand
from .letters import letters
from .mask import mask
from .microphone import microphone
from .pieces import blob, block
from .scene import Layer, Scene

__all__ = ["THINGS", "Layer", "Scene"]

THINGS: Mapping[str, Callable[[Scene], list[Layer]]] = {
    "hand": hand,
    "hair": hair,
    "microphone": microphone,
    "glasses": glasses,
    "text": letters,
    "mask": mask,
    "food": food,
    "face": face,
    "block": block,
    "blob": blob,
}
"""What may be in front of a face, by name: each draws its layers, the last one in front."""
