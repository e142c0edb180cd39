"""GPEN prepared for inference: the same weights and result, in a fraction of the time and memory.

`FastGPEN` is a `GPEN`: same parameters, same state dict, same call. Only the order of work differs;
`README.md` in this folder says how.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import record_function

from ..gpen import GPEN, GPENConfig
from ..layers import NEGATIVE_SLOPE, ModulatedConv2d, StyledConv, ToRGB, check_pictures
from .cuda_graphs import CudaGraphs
from .encoder_features import Feature, StoredFeature
from .encoder_step import MARGIN
from .generator_level import DirectConvolution, GeneratorLevel
from .lanes import Lanes
from .modulation import Modulation
from .operations import Operations, channels_last, rgb_weight
from .tuning import Tuning
from .workspace import Workspace

# Elsewhere (MPS and others) nothing here has been tried: the plain network runs.
FAST_DEVICES = ("cpu", "cuda")
# The features after the first and after the second convolution of a resolution.
FeaturePair = tuple[Feature, Feature]


def prepare(
    network: GPEN,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    tuning: Tuning | None = None,
    poison: bool = False,
) -> FastGPEN:
    """A `FastGPEN` with the weights of `network`, moved and cast where asked.

    Where neither device nor type changes, the weights are shared, not copied; `network` itself is
    left as it is either way. `tuning` and `poison` are those of `FastGPEN`.

    Example:
        >>> network = GPEN(GPENConfig.create(64, narrow=1 / 32))
        >>> fast = prepare(network)
        >>> face = torch.zeros(1, 3, 64, 64)
        >>> torch.allclose(fast(face), network(face), atol=1e-4)
        True
    """
    with torch.device("meta"):
        fast = FastGPEN(network.config, tuning, poison=poison)
    fast.load_state_dict(network.state_dict(), assign=True)
    fast.requires_grad_(False).eval()
    return fast.to(device=device, dtype=dtype)


class FastGPEN(GPEN):
    """GPEN v1 for inference: `GPEN` in all but speed, memory and gradients (it gives none).

    It may be moved, cast and patched like any module. What it derives from the weights is made at
    the first call, about a quarter of their size in float32 on a CPU, little elsewhere.

    Args:
        config: as `GPEN`'s.
        tuning: which path is taken when; `Tuning.of(config)` unless given.
        poison: for tests: buffers that are used too late give NaN, see `Workspace`.
    """

    def __init__(
        self, config: GPENConfig, tuning: Tuning | None = None, *, poison: bool = False
    ) -> None:
        super().__init__(config)
        self.tuning = tuning or Tuning.of(config)
        self.poison = poison
        self._forget()

    def _forget(self) -> None:
        """Everything that is derived, kept or recorded."""
        self.operations = Operations(self.tuning)
        self.lanes = Lanes(self.tuning.kept_bytes, self.poison)
        self.graphs = CudaGraphs(self.tuning.cuda_graphs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FastGPEN:
        self._forget()
        super()._apply(fn, recurse)
        return self

    @property
    def workspace(self) -> Workspace:
        """The buffers of the calling thread."""
        return self.lanes.workspace

    @torch.no_grad()
    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Restore aligned faces: see `GPEN.forward`, whose result this is up to rounding."""
        check_pictures(x, self.config.in_size)
        if x.device.type not in FAST_DEVICES:
            return super().forward(x, generator)
        # The noise of the SR form is drawn on the host, where no graph can record it.
        if x.device.type == "cuda" and self.tuning.cuda_graphs and not self.config.is_sr:
            return self.graphs.run(self._restore, x, tuple(self.state_dict().values()))
        return self._restore(x, generator)

    def _restore(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if not len(self.operations.constants):
            self._make_energies()
        picture = self.workspace.nhwc("input", x.shape, x).copy_(x)
        encoded = self.features(picture)
        lowest = encoded[0].whole()
        style = self.style(lowest.flatten(1))
        pairs = [(feature, feature) for feature in encoded]
        pairs += [
            (StoredFeature(channels_last(first)), StoredFeature(channels_last(second)))
            for first, second in self.noise(generator, lowest)
        ]
        result = self._generate(style, pairs).to(x.dtype)
        self.lanes.end_pass()
        return result

    def _make_energies(self) -> None:
        """Before a first pass: among its temporaries these would pin 40 MB of holes."""
        for level in range(len(self.generator.to_rgbs)):
            for layer in self._convs(level):
                self.operations.energy(layer.conv)

    def _in_strips(self, x: Tensor, side: int) -> bool:
        return x.device.type == "cpu" and side >= self.tuning.strip_side

    def style(self, code: Tensor) -> Tensor:
        """The lowest feature, flattened, -> styles (N, style_dim)."""
        layers = nn.Sequential(self.final_linear, self.generator.style)
        return self.operations.style(layers, self.generator, code)

    # Encoder

    def features(self, x: Tensor) -> list[Feature]:
        """(N, 3, in, in) -> the features for 4, 8, ... in."""
        with record_function(f"encoder {x.shape[3]}"):
            features: list[Feature] = [self._first(x)]
        for index in range(1, self.depth):
            with record_function(f"encoder {x.shape[3] >> index}"):
                features.append(self._next(index, features[-1], x))
        return features[::-1]

    def _first(self, x: Tensor) -> Feature:
        feature = self.operations.first_feature(self.get_submodule("ecd0"), x)
        return feature if self._in_strips(x, x.shape[3]) else StoredFeature(feature.whole())

    def _next(self, index: int, feature: Feature, x: Tensor) -> Feature:
        step = self.operations.encoder_step(self.get_submodule(f"ecd{index}"))
        side = x.shape[3] >> index
        shape = (len(x), len(step.weight), side)
        out = self.workspace.square(f"ecd{index}", shape, x, MARGIN)
        run = step.run if self._in_strips(x, side) else step.run_reference
        run(feature, out, self.tuning.strip_bytes)
        return StoredFeature(out, MARGIN)

    # Generator

    def _generate(self, style: Tensor, pairs: list[FeaturePair]) -> Tensor:
        """Styles (N, style_dim) and the features of every resolution -> RGB."""
        net = self.generator
        x = channels_last(net.input(len(style)))
        with record_function("generator 4"):
            x = self._styled(net.conv1, x, style, pairs[0][0])
            picture = self._rgb(net.to_rgb1, x, style, None)
        for level, pair in enumerate(pairs[1:]):
            with record_function(f"generator {8 << level}"):
                step = self._strips if self._in_strips(x, 8 << level) else self._whole
                x, picture = step(level, (x, picture), style, pair)
        return picture.contiguous()

    def _convs(self, level: int) -> tuple[StyledConv, StyledConv]:
        first, second = self.generator.convs[2 * level : 2 * level + 2]
        assert isinstance(first, StyledConv)
        assert isinstance(second, StyledConv)
        return first, second

    def _to_rgb(self, level: int) -> ToRGB:
        layer = self.generator.to_rgbs[level]
        assert isinstance(layer, ToRGB)
        return layer

    # A resolution whole

    def _whole(
        self, level: int, below: tuple[Tensor, Tensor], style: Tensor, pair: FeaturePair
    ) -> tuple[Tensor, Tensor]:
        """One resolution, the whole batch at once.

        `below` is (N, 2C, H, W) and its RGB; gives (N, 2K, 2H, 2W) and the RGB.
        """
        x, picture = below
        for layer, feature in zip(self._convs(level), pair, strict=True):
            x = self._styled(layer, x, style, feature)
        return x, self._rgb(self._to_rgb(level), x, style, picture)

    def _styled(self, layer: StyledConv, x: Tensor, style: Tensor, feature: Feature) -> Tensor:
        """One styled convolution of whole pictures, (N, C, H, W) -> (N, 2K, H', W')."""
        modulation = self.operations.modulation(layer, style, x.dtype)
        _, feature_bias, feature_gain = self.operations.biases(layer)
        k = len(feature_bias)
        side = x.shape[3] * (2 if layer.conv.upsample else 1)
        joined = self.workspace.square(self.workspace.other(x), (len(x), 2 * k, side), x)
        self._convolve(layer.conv, x, modulation, joined[:, :k])
        torch.addcmul(
            feature_bias.view(1, -1, 1, 1), feature.whole(), feature_gain, out=joined[:, k:]
        )
        return F.leaky_relu_(joined, NEGATIVE_SLOPE)

    def _convolve(
        self, conv: ModulatedConv2d, x: Tensor, modulation: Modulation, out: Tensor
    ) -> None:
        """`out = conv(x * style) * gain + bias`."""
        if self.operations.by_winograd_2d(conv, x.shape[3], x):
            padded = channels_last(F.pad(x, (1, 1, 1, 1)))
            self.operations.winograd_2d(conv, modulation).convolve(padded, out, self.workspace)
            return
        x = x * modulation.style[:, :, None, None]
        if conv.upsample:
            y = F.conv_transpose2d(x, self.operations.transposed_weight(conv), stride=2)
            blur = self.operations.blur(conv)
            y = F.conv2d(y, blur, padding=1, groups=len(blur))
        else:
            y = F.conv2d(x, self.operations.weight(conv), padding=conv.padding)
        bias = modulation.bias.view(1, -1, 1, 1)
        torch.addcmul(bias, y, modulation.gain[:, :, None, None], out=out)

    def _rgb(self, layer: ToRGB, x: Tensor, style: Tensor, skip: Tensor | None) -> Tensor:
        """(N, 2K, H, W) -> (N, 3, H, W), added to the upsampled RGB below."""
        n, _, h, w = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(n, h * w, -1)
        weight = rgb_weight(layer, style).transpose(1, 2)
        rgb = torch.bmm(flat, weight).view(n, h, w, 3).permute(0, 3, 1, 2)
        rgb = rgb + layer.bias
        return rgb if skip is None else rgb + layer.upsample(skip)

    # A resolution in strips

    def _strips(
        self, level: int, below: tuple[Tensor, Tensor], style: Tensor, pair: FeaturePair
    ) -> tuple[Tensor, Tensor]:
        """One resolution in strips, sample by sample.

        `below` is (N, 2C, H, W) and its RGB from a whole level, or both with a row of zeros above
        and below from another in strips; so is what it gives. The last level gives the RGB as it
        is, and no activations.
        """
        x, picture = below
        if x.shape[2] == x.shape[3]:
            x, picture = (channels_last(F.pad(low, (0, 0, 1, 1))) for low in below)
        out, rgb = self._targets(level, x)
        target = rgb if out is None else rgb[:, :, 1:-1]
        for sample in range(len(x)):
            one = slice(sample, sample + 1)
            part = self._level(level, (x[one], picture[one]), style[one], pair, sample)
            activations = None if out is None else out[one]
            part.run(target[one], activations, self.lanes, self.tuning.band_rows)
        return (x if out is None else out), rgb

    def _targets(self, level: int, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """What a level in strips writes: its activations, but for the last one's, and the RGB."""
        n, side = len(x), 8 << level
        if level + 1 == len(self.generator.to_rgbs):
            return None, x.new_empty(n, 3, side, side)
        k = self._convs(level)[0].conv.weight.shape[1]
        out = self.workspace.square(self.workspace.other(x), (n, 2 * k, side), x, margin=1)
        return out, self.workspace.square(f"rgb{level % 2}", (n, 3, side), x, margin=1)

    def _level(
        self,
        level: int,
        below: tuple[Tensor, Tensor],
        style: Tensor,
        pair: FeaturePair,
        sample: int,
    ) -> GeneratorLevel:
        """One sample's."""
        (first, second), (x, picture), make = self._convs(level), below, self.operations
        convolution = make.convolution(second, style, 8 << level, x)
        direct = isinstance(convolution, DirectConvolution)
        return GeneratorLevel(
            x,
            make.upsampling(first, style, x),
            convolution,
            (
                make.feature_half(first, pair[0], 8 << level),
                make.feature_half(second, pair[1], 8 << level),
            ),
            make.rgb_rows(self._to_rgb(level), style, picture),
            sample,
            self.tuning.strip_bytes * (1 if direct else self.tuning.winograd_strips),
        )
