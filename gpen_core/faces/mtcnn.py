"""MTCNN: a cascade of three small networks, on weights that come with `pip install`.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
2016 (arXiv 1604.02878). The proposal network slides over a pyramid of the image, the refinement
and output networks look at the proposals again in 24 and 48 px.

Inside this module coordinates run along pixel *edges* (pixel i covers i..i+1), so that scaling is
a multiplication; results are given with pixel centers at integers.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import CheckpointError, MissingDependencyError
from ..files import sha256, wheel_file
from ..models.device import copied
from .boxes import square_boxes, suppress

log = logging.getLogger(__name__)

_HASHES = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
_INSTALL = 'run `pip install "mtcnn==1.0.0" joblib lz4`'
_REINSTALL = 'run `pip install --force-reinstall --no-deps "mtcnn==1.0.0"`'

_CELL, _STRIDE = 12, 2  # what one output of the proposal network sees, in pixels of its level
_PYRAMID = 0.709  # sqrt(1/2): each level has half the pixels of the one before
# Thresholds of the three networks; the third only chooses what is looked at again.
_PROPOSAL, _REFINEMENT, _CANDIDATE = 0.6, 0.6, 0.5
_VIEWS = (0.83, 0.94, 1.05)  # sizes at which a face is looked at again
_PROPOSALS_A_LEVEL = 2048  # noise can make thousands; a crowd of 67 makes hundreds
_CROPS_AT_ONCE = 1024
_BAND_PIXELS = 1 << 20  # of a level, looked at between two reports of progress


class PNet(nn.Module):
    """(N, 3, H, W) -> face probability (N, h, w) and box offsets (N, 4, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 10, 3),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            *_convolution(10, 16, 3),
            *_convolution(16, 32, 3),
        )
        self.box = nn.Conv2d(32, 4, 1)
        self.face = nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x)
        # One pass over the features instead of two; of two classes softmax is a sigmoid.
        weight = torch.cat([self.face.weight, self.box.weight])
        bias = torch.cat([self.face.bias, self.box.bias])  # type: ignore[list-item]
        x = functional.conv2d(x, weight, bias)
        return (x[:, 1] - x[:, 0]).sigmoid(), x[:, 2:]


class RNet(nn.Module):
    """(N, 3, 24, 24) -> face probability (N,) and box offsets (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 28, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *_convolution(28, 48, 3),
            nn.MaxPool2d(3, 2),
            *_convolution(48, 64, 2),
        )
        self.dense = nn.Sequential(nn.Linear(576, 128), nn.PReLU(128))
        self.box = nn.Linear(128, 4)
        self.face = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.dense(_flattened(self.features(x)))
        return self.face(x).softmax(dim=1)[:, 1], self.box(x)


class ONet(nn.Module):
    """(N, 3, 48, 48) -> face probability (N,), box offsets (N, 4), landmarks (N, 5, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 32, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *_convolution(32, 64, 3),
            nn.MaxPool2d(3, 2),
            *_convolution(64, 64, 3),
            nn.MaxPool2d(2, 2, ceil_mode=True),
            *_convolution(64, 128, 2),
        )
        self.dense = nn.Sequential(nn.Linear(1152, 256), nn.PReLU(256))
        self.box = nn.Linear(256, 4)
        self.landmarks = nn.Linear(256, 10)
        self.face = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.dense(_flattened(self.features(x)))
        points = self.landmarks(x).reshape(-1, 2, 5).transpose(1, 2)
        return self.face(x).softmax(dim=1)[:, 1], self.box(x), points


class MTCNN(nn.Module):
    """The three networks, so that a host can move them as one."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()


def _convolution(inputs: int, outputs: int, size: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size), nn.PReLU(outputs)


def _flattened(x: Tensor) -> Tensor:
    """The weights expect width before height, and channels last of all kept first."""
    return x.permute(0, 3, 2, 1).flatten(1)


class MTCNNDetector:
    """Finds faces with MTCNN; see `detect.Detector`.

    Attributes:
        network: the `MTCNN`; move it, and the detector runs where it lies.
    """

    name = "mtcnn"

    def __init__(self, network: MTCNN) -> None:
        # Pooling over channels-last memory is four to ten times as fast on the CPU.
        self.network = network.eval()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def on(self, device: torch.device) -> MTCNNDetector:
        """The same detector on another device."""
        return MTCNNDetector(copied(self.network, device))

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        min_size: float,
        confidence: float,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of one image.

        Args:
            image: (3, H, W) RGB 0..1.
            min_size: smallest face looked for, pixels; half of it costs four times the work.
            confidence: least score of a face, 0..1.
            progress: told (done, total) after every band of a level; raising from it stops.

        Returns:
            Boxes (K, 4), scores (K,), landmarks (K, 5, 2) in pixels of the image, best first.
        """
        pixels = (image.to(self.device, torch.float32)[None] * 255 - 127.5) / 128
        boxes = self._propose(pixels, min_size, min(_PROPOSAL, confidence), progress)
        sampler = _Crops(pixels)
        boxes = self._refine(sampler, boxes, min(_REFINEMENT, confidence))
        boxes, scores, landmarks = self._finish(sampler, boxes, min(_CANDIDATE, confidence))
        sure = scores >= confidence
        return boxes[sure] - 0.5, scores[sure], landmarks[sure] - 0.5

    def _propose(
        self,
        pixels: Tensor,
        min_size: float,
        threshold: float,
        progress: Callable[[int, int], None],
    ) -> Tensor:
        """(1, 3, H, W) -> (K, 4) square proposals from all levels of the pyramid."""
        height, width = pixels.shape[-2:]
        sizes = _level_sizes(height, width, min_size)
        areas = [tall * wide for tall, wide in sizes]
        found, level = [], pixels
        for number, size in enumerate(sizes):
            level = functional.interpolate(level, size, mode="bilinear", antialias=True)
            before = sum(areas[:number])

            def told(rows: int, before: int = before, wide: int = size[1]) -> None:
                progress(before + rows * wide, sum(areas))

            found.append(self._propose_level(level, (height, width), threshold, told))
        if not found:
            return pixels.new_zeros(0, 4)
        boxes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        return square_boxes(boxes[suppress(boxes, scores, 0.7)])

    def _propose_level(
        self,
        level: Tensor,
        size: tuple[int, int],
        threshold: float,
        told: Callable[[int], None],
    ) -> tuple[Tensor, Tensor]:
        """Boxes (K, 4) in the image's pixels and scores (K,) of one level."""
        scores, offsets = self._look_in_bands(level, told)
        y, x = torch.nonzero(scores[0] > threshold, as_tuple=True)
        scores, offsets = scores[0, y, x], offsets[0, :, y, x].T
        if len(scores) > _PROPOSALS_A_LEVEL:
            log.debug("%d proposals on one level; the best are kept.", len(scores))
            scores, best = scores.topk(_PROPOSALS_A_LEVEL)
            x, y, offsets = x[best], y[best], offsets[best]
        corners = torch.stack([x, y, x, y], dim=1) * float(_STRIDE)
        boxes = corners + offsets * _CELL + corners.new_tensor([0, 0, _CELL, _CELL])
        boxes *= boxes.new_tensor([size[1] / level.shape[-1], size[0] / level.shape[-2]] * 2)
        kept = suppress(boxes, scores, 0.5)
        return boxes[kept], scores[kept]

    def _look_in_bands(self, level: Tensor, told: Callable[[int], None]) -> tuple[Tensor, Tensor]:
        """The proposal network over a level, in bands of rows: bounded memory, the same answer.

        Output row i sees the rows from 2 i to 2 i + 11, so a band of n of them needs 2 n + 10.
        """
        height, width = level.shape[-2:]
        rows = max(1, _BAND_PIXELS // width // _STRIDE)
        outputs = []
        for first in range(0, max(1, (height - _CELL) // _STRIDE + 1), rows):
            last = first + rows >= (height - _CELL) // _STRIDE + 1
            stop = height if last else _STRIDE * (first + rows) + _CELL - _STRIDE
            outputs.append(self.network.pnet(level[..., _STRIDE * first : stop, :]))
            told(stop)
        scores, offsets = (torch.cat(parts, dim=-2) for parts in zip(*outputs, strict=True))
        return scores, offsets

    def _refine(self, crops: _Crops, boxes: Tensor, threshold: float) -> Tensor:
        """(K, 4) squares -> fewer and better ones."""
        if len(boxes) == 0:
            return boxes
        scores, offsets = _mapped(self.network.rnet, crops(boxes, 24))
        chosen = scores > threshold
        boxes, scores, offsets = boxes[chosen], scores[chosen], offsets[chosen]
        kept = suppress(boxes, scores, 0.7)
        return square_boxes(_moved(boxes, offsets)[kept])

    def _finish(
        self, crops: _Crops, boxes: Tensor, threshold: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(K, 4) squares -> boxes, scores and landmarks of the faces among them, best first."""
        if len(boxes) == 0:
            return boxes, boxes.new_zeros(0), boxes.new_zeros(0, 5, 2)
        scores, offsets, _ = _mapped(self.network.onet, crops(boxes, 48))
        boxes = _moved(boxes, offsets)
        chosen = torch.nonzero(scores > threshold).flatten()
        boxes = boxes[chosen[suppress(boxes[chosen], scores[chosen], 0.7, of_smaller=True)]]
        boxes, scores, landmarks = self._look_again(crops, boxes)
        # Over the smaller area: an eye taken for a face lies inside the face that has it.
        kept = suppress(boxes, scores, 0.7, of_smaller=True)
        return boxes[kept], scores[kept], landmarks[kept]

    def _look_again(self, crops: _Crops, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean box, score and landmarks of several views of each face.

        The output network's answer depends on how the face lies in its 48 px. The mean over three
        sizes and their mirror images halves that error, and steadies the faces of a video. Scores
        are averaged as logits, where one doubtful view does not outvote five sure ones.
        """
        if len(boxes) == 0:
            return boxes, boxes.new_zeros(0), boxes.new_zeros(0, 5, 2)
        squares = square_boxes(boxes)
        views = torch.cat([_grown(squares, scale) for scale in _VIEWS])
        pixels = crops(views, 48)
        # All views in one call: small calls cost more than small pictures.
        outputs = _mapped(self.network.onet, torch.cat([pixels, pixels.flip(-1)]))
        plain, mirrored = zip(*(output.chunk(2) for output in outputs), strict=True)
        seen = zip(_placed(views, *plain), _placed(views, *_mirrored(*mirrored)), strict=True)
        boxes, logits, landmarks = (
            torch.cat(pair).unflatten(0, (2 * len(_VIEWS), -1)).mean(dim=0) for pair in seen
        )
        return boxes, logits.sigmoid(), landmarks


def _level_sizes(height: int, width: int, min_size: float) -> list[tuple[int, int]]:
    """(height, width) of the pyramid's levels, finest first."""
    scale, sizes = _CELL / min_size, []
    while min(height, width) * scale >= _CELL:
        sizes.append((round(height * scale), round(width * scale)))
        scale *= _PYRAMID
    return sizes


_Seen = tuple[Tensor, Tensor, Tensor]


def _grown(boxes: Tensor, scale: float) -> Tensor:
    """Boxes (N, 4) scaled around their centers."""
    margin = (boxes[:, 2:] - boxes[:, :2]) * (scale - 1) / 2
    return boxes + torch.cat([-margin, margin], dim=1)


def _placed(boxes: Tensor, scores: Tensor, offsets: Tensor, points: Tensor) -> _Seen:
    """Outputs for crops at these boxes as boxes, score logits and landmarks in the image."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return (
        _moved(boxes, offsets),
        scores.logit(eps=1e-6),
        boxes[:, None, :2] + points * sides[:, None],
    )


def _mirrored(scores: Tensor, offsets: Tensor, points: Tensor) -> _Seen:
    """The outputs for a mirrored crop as they would be for the crop itself."""
    left, top, right, bottom = offsets.unbind(dim=1)
    offsets = torch.stack([-right, top, -left, bottom], dim=1)
    points = points[:, [1, 0, 2, 4, 3]]
    return scores, offsets, torch.stack([1 - points[..., 0], points[..., 1]], dim=-1)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes (N, 4) with their corners moved by offsets (N, 4) in units of the sides."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _mapped(network: Callable[[Tensor], tuple[Tensor, ...]], pixels: Tensor) -> tuple:
    """The network's outputs for all crops, with bounded memory."""
    outputs = [network(part) for part in pixels.split(_CROPS_AT_ONCE)]
    return tuple(torch.cat(parts) for parts in zip(*outputs, strict=True))


class _Crops:
    """Antialiased square crops from anywhere in one image, many at once.

    The image is kept at halved sizes too; each crop is read bilinearly from the level that is one
    to two times too fine, twice per output pixel and direction, and averaged.
    """

    def __init__(self, pixels: Tensor) -> None:
        self.levels = [pixels]

    def __call__(self, boxes: Tensor, size: int) -> Tensor:
        """(K, 4) boxes in edge coordinates -> (K, 3, size, size); outside the image 0."""
        sides = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
        wanted = (sides / size).clamp(min=1).log2().floor().long()
        crops = boxes.new_zeros(len(boxes), 3, size, size)
        for level in wanted.unique().tolist():
            for index in torch.nonzero(wanted == level).flatten().split(_CROPS_AT_ONCE):
                crops[index] = self._read(boxes[index], size, level)
        return crops

    def _read(self, boxes: Tensor, size: int, level: int) -> Tensor:
        source = self._level(level)
        height, width = self.levels[0].shape[-2:]
        steps = (torch.arange(2 * size, device=boxes.device) + 0.5) / (2 * size)
        x = boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * steps
        y = boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * steps
        # All boxes share one source: their rows are laid below each other in one sampling grid.
        x = (2 * x / width - 1)[:, None, :].expand(-1, 2 * size, -1)
        y = (2 * y / height - 1)[:, :, None].expand(-1, -1, 2 * size)
        grid = torch.stack([x, y], dim=-1).reshape(1, -1, 2 * size, 2)
        read = functional.grid_sample(source, grid, align_corners=False)
        read = functional.avg_pool2d(read, 2)
        return read.reshape(3, len(boxes), size, size).transpose(0, 1)

    def _level(self, level: int) -> Tensor:
        while len(self.levels) <= level:
            last = self.levels[-1]
            size = [max(1, side // 2) for side in last.shape[-2:]]
            self.levels.append(functional.interpolate(last, size, mode="bilinear", antialias=True))
        return self.levels[level]


# --- weights -------------------------------------------------------------------------------------


def load_mtcnn(device: torch.device | str = "cpu") -> MTCNNDetector:
    """MTCNN with the weights inside the installed wheel `mtcnn` (which itself is not imported).

    Raises:
        MissingDependencyError: the wheel, joblib or lz4 is not installed.
        CheckpointError: a weights file is not the known one; it is not opened.
    """
    network = MTCNN()
    for name in _HASHES:
        _fill(getattr(network, name), _read_arrays(name))
    return MTCNNDetector(network.requires_grad_(False).to(device))


def _read_arrays(name: str) -> list[np.ndarray]:
    """The arrays of one network; the hash is compared before anything is unpickled."""
    path = _weights_path(name)
    found = sha256(path)
    if found != _HASHES[name]:
        raise CheckpointError(
            f"{path} is damaged or of another release: its SHA-256 is {found}, not "
            f"{_HASHES[name]}; {_REINSTALL}."
        )
    try:
        import joblib
        import lz4.frame  # noqa: F401  joblib reads the files through it
    except ImportError as error:
        raise MissingDependencyError(
            f"The MTCNN face detector needs joblib and lz4 to read its weights ({error}); "
            f"{_INSTALL}."
        ) from error
    return joblib.load(path)


def _weights_path(name: str) -> Path:
    try:
        path = wheel_file("mtcnn", f"mtcnn/assets/weights/{name}.lz4")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"The MTCNN face detector needs the weights in the package mtcnn 1.0.0, which is not "
            f"installed; {_INSTALL}, or choose another detector."
        ) from error
    if path is not None:
        return path
    raise MissingDependencyError(f"The installed package mtcnn lacks {name}.lz4; {_REINSTALL}.")


def _fill(network: nn.Module, arrays: list[np.ndarray]) -> None:
    """Copy arrays in their stored order into the parameters, in the order of definition."""
    parameters = list(network.parameters())
    if len(arrays) != len(parameters):
        raise CheckpointError(
            f"The MTCNN weights hold {len(arrays)} arrays, {len(parameters)} were expected; "
            f"{_REINSTALL}."
        )
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.copy_(_arranged(torch.from_numpy(np.array(array)), parameter))


def _arranged(array: Tensor, parameter: Tensor) -> Tensor:
    """Height-width-in-out kernels and in-out matrices become PyTorch's out-in-... ones."""
    if parameter.ndim == 4:
        return array.permute(3, 2, 0, 1)
    return array.T if parameter.ndim == 2 else array.flatten()
