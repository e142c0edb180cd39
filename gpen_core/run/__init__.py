"""One run: the five steps in a row, for one picture, a folder, a batch of frames or a film.

    run = Run(Tools(model), Options.of(strength=0.8))
    for result in run(sources):
        ...

A run owns the loaded networks, the options and the hooks, and is the only loop over pictures. What
calls it differs in where pictures come from and where results go; the nodes that do one step each
call that step of it.
"""

from .found import Found, Restored, changed
from .run import Run
from .split import FRAMES_AT_ONCE, groups, split
from .tools import Tools

__all__ = ["FRAMES_AT_ONCE", "Found", "Restored", "Run", "Tools", "changed", "groups", "split"]
