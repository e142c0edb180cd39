"""CUDA graphs: one recorded forward pass per input shape, replayed without launching each kernel.

At one face the GPU waits for Python more than it computes. A graph replays the recorded kernels at
once, on the recorded addresses; so inputs are copied in and outputs copied out, and a graph is good
for one shape and for the weights it was recorded with.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .constant_cache import fingerprint

log = logging.getLogger(__name__)

WARM_UP = 3
Forward = Callable[[Tensor], Tensor]


class CudaGraphs:
    """The recordings of one network.

    A new shape, or changed weights, means a new recording, and the log says so. Where none can be
    made, the pass runs as it is, and the log says that.

    Args:
        most: recordings that are kept. Every one keeps its activations; a host with many batch
            sizes must not fill the GPU with them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._graphs: OrderedDict[tuple[Any, ...], _Graph | None] = OrderedDict()

    def run(self, forward: Forward, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """`forward(x)`, replayed where it is recorded."""
        key = _key(x, weights)
        if key not in self._graphs:
            self._forget(key)
            self._graphs[key] = _record(forward, x)
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        return forward(x) if graph is None else graph.replay(x)

    def run_reference(self, forward: Forward, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """What `run` gives."""
        return forward(x)

    def __len__(self) -> int:
        """Recordings that are there."""
        return sum(graph is not None for graph in self._graphs.values())

    def _forget(self, key: tuple[Any, ...]) -> None:
        """Drop the graphs of other weights, and the one longest unused where there are too many."""
        for old in [old for old in self._graphs if old[-1] != key[-1]]:
            del self._graphs[old]
        while len(self._graphs) >= self.most:
            self._graphs.popitem(last=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> CudaGraphs:
        return CudaGraphs(self.most)

    def __reduce__(self) -> tuple[type[CudaGraphs], tuple[int]]:
        return CudaGraphs, (self.most,)


def _key(x: Tensor, weights: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """What a recording is good for: this shape and type, these weights."""
    return tuple(x.shape), x.dtype, x.device, tuple(map(fingerprint, weights))


def _record(forward: Forward, x: Tensor) -> _Graph | None:
    try:
        graph = _Graph(forward, x)
    except RuntimeError as error:  # out of memory is one, too: a plain pass may still fit
        log.warning("No CUDA graph for pictures %s, which run without: %s", tuple(x.shape), error)
        return None
    log.info("Recorded a CUDA graph for pictures %s.", tuple(x.shape))
    return graph


class _Graph:
    """One recording, with its own input and output."""

    def __init__(self, forward: Forward, x: Tensor) -> None:
        if x.device.type != "cuda":
            raise RuntimeError(f"graphs are CUDA's, and the pictures are on {x.device}")
        self.input = x.clone()
        forward(self.input)  # makes the derived constants, on the stream that also uses them later
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):  # lets cuDNN choose
                forward(self.input)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        # Other threads of the host may go on allocating meanwhile.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.output = forward(self.input)

    def replay(self, x: Tensor) -> Tensor:
        self.input.copy_(x)
        self.graph.replay()
        return self.output.clone()
