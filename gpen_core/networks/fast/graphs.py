"""CUDA graphs: one recorded forward pass per input shape, replayed without launching each kernel.

At one face the GPU waits for Python more than it computes. A graph replays the recorded kernels at
once, on the recorded addresses; so inputs are copied in and outputs copied out, and a graph is good
for one shape and for the weights it was recorded with.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from .network import FastGPEN
from .prepared import fingerprint

log = logging.getLogger(__name__)

# Every graph keeps its activations; a host with many batch sizes must not fill the GPU with them.
MAX_GRAPHS = 2
WARM_UP = 3


class Graphed(nn.Module):
    """`FastGPEN` by CUDA graphs: same call, same result.

    A new shape, or changed weights, means a new recording, and the log says so; at most
    `MAX_GRAPHS` are kept. The SR form draws its noise on the host and is not graphed: it runs as
    it is, which the log says once.
    """

    def __init__(self, network: FastGPEN) -> None:
        super().__init__()
        self.network = network
        self._graphs: OrderedDict[tuple[Any, ...], _Graph] = OrderedDict()
        self._said = False

    @torch.no_grad()
    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(N, 3, in, in) on a CUDA device -> (N, 3, out, out).

        Raises:
            InputError: the picture is not on a CUDA device.
        """
        if x.device.type != "cuda":
            raise InputError(f"CUDA graphs need a CUDA device, not {x.device}; run without them.")
        if self.network.config.is_sr:
            if not self._said:
                log.warning(
                    "Super-resolution models draw noise on the host; no CUDA graph is used."
                )
                self._said = True
            result: Tensor = self.network(x, generator)
            return result
        return self._graph(x).replay(x)

    def key(self, x: Tensor) -> tuple[Any, ...]:
        """What a recording is good for: this shape and type, these weights."""
        weights = tuple(fingerprint(tensor) for tensor in self.network.state_dict().values())
        return tuple(x.shape), x.dtype, x.device, weights

    def _graph(self, x: Tensor) -> _Graph:
        key = self.key(x)
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        log.info("Recording a CUDA graph for pictures %s.", tuple(x.shape))
        self._forget(key)
        self._graphs[key] = _Graph(self.network, x)
        return self._graphs[key]

    def _forget(self, key: tuple[Any, ...]) -> None:
        """Drop the graphs of other weights, and the one longest unused where there are too many."""
        for old in [old for old in self._graphs if old[-1] != key[-1]]:
            del self._graphs[old]
        while len(self._graphs) >= MAX_GRAPHS:
            self._graphs.popitem(last=False)


class _Graph:
    """One recording, with its own input and output."""

    def __init__(self, network: FastGPEN, x: Tensor) -> None:
        self.input = x.clone()
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):  # makes the derived constants, and lets cuDNN choose
                network(self.input)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = network(self.input)

    def replay(self, x: Tensor) -> Tensor:
        self.input.copy_(x)
        self.graph.replay()
        return self.output.clone()
