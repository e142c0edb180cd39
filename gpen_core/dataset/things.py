"""Things that may be in front of a face, each drawn as layers of color and opacity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

from .materials import Array, clouds, color, skin, texture

_FINER = 2  # outlines are drawn so many times larger, and reduced
_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZ abcdefghiklmnoprstuvwxyz 0123456789 .,:!?©@#"


@dataclass(frozen=True)
class Scene:
    """Where something is drawn.

    Attributes:
        rng: of everything drawn.
        face: (S, S, 3) 0..1.
        points: (5, 2), its landmarks, pixels.
        other: (T, T, 3) 0..1, another face.

    Example:
        >>> face = np.zeros((64, 64, 3), np.float32)
        >>> Scene(np.random.default_rng(0), face, np.zeros((5, 2), np.float32), face).size
        64
    """

    rng: Generator
    face: Array
    points: Array
    other: Array

    @property
    def size(self) -> int:
        return len(self.face)

    @property
    def unit(self) -> float:
        """From the eyes to the mouth, pixels; a quarter of a crop."""
        between = self.points[3:].mean(0) - self.points[:2].mean(0)
        return float(max(np.hypot(*between), 2.0))

    @property
    def center(self) -> Array:
        return self.points.mean(0)

    @property
    def skin(self) -> Array:
        """(3,): the middle tone between eyes and mouth."""
        x, y = (int(v) for v in self.center)
        reach = max(2, int(self.unit / 2))
        around = self.face[max(0, y - reach) : y + reach : 3, max(0, x - reach) : x + reach : 3]
        return np.median(around.reshape(-1, 3), 0) if around.size else np.full(3, 0.5)

    def spot(self, spread: float = 1.1) -> Array:
        """(2,): somewhere on the face."""
        return self.center + self.rng.uniform(-spread, spread, 2) * self.unit

    def grid(self) -> tuple[Array, Array]:
        """x and y of every pixel."""
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        return x, y


@dataclass(frozen=True)
class Layer:
    """Something in front of the picture: (S, S, 3) colors and (S, S) opacity, both 0..1."""

    colors: Array
    alpha: Array
    shadow: bool = True


@dataclass(frozen=True)
class Rod:
    """A straight piece with round ends, from one point to another, in pixels."""

    start: Array
    end: Array
    radii: tuple[float, float]

    def window(self, size: int) -> tuple[slice, slice]:
        """Rows and columns of a picture that it may touch; empty where it lies outside."""
        reach = max(self.radii) + 2
        low = np.minimum(self.start, self.end) - reach
        high = np.maximum(self.start, self.end) + reach + 1
        (left, top), (right, bottom) = (
            np.clip(v, 0, size).astype(int).tolist() for v in (low, high)
        )
        return slice(top, bottom), slice(left, right)

    def place(self, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
        """Distance from the edge (below 0: inside), 0..1 from axis to edge, and its direction."""
        # Plain numbers, which leave float32 as it is.
        (x0, y0), (x1, y1) = (map(float, end) for end in (self.start, self.end))
        first, last = map(float, self.radii)
        across, down = x1 - x0, y1 - y0
        dx, dy = x - x0, y - y0
        share = ((dx * across + dy * down) / (across**2 + down**2 + 1e-6)).clip(0, 1)
        dx, dy = dx - share * across, dy - share * down
        away = np.sqrt(dx * dx + dy * dy) + 1e-6
        radius = first + share * (last - first)
        return away - radius, (away / radius).clip(0, 1), dx / away, dy / away


def rods(scene: Scene, parts: list[Rod], base: Array, gloss: float = 0.1) -> Layer:
    """Rods lit from one side, each in front of the one before it."""
    rng, (x, y) = scene.rng, scene.grid()
    angle = rng.uniform(0, 2 * math.pi)
    slant = rng.uniform(0.1, 0.7)
    light = (math.cos(angle) * slant, math.sin(angle) * slant)
    ambient, crease = rng.uniform(0.45, 0.85), rng.uniform(0.05, 0.35)
    colors = np.empty((scene.size, scene.size, 3), np.float32)
    colors[:] = base
    alpha = np.zeros((scene.size, scene.size), np.float32)
    base = base.astype(np.float32)
    for part in parts:
        window = part.window(scene.size)
        distance, away, nx, ny = part.place(x[window], y[window])
        if not distance.size:
            continue
        height = np.sqrt(1 - 0.98 * away**2)
        shade = ambient + (1 - ambient) * height + (nx * light[0] + ny * light[1]) * away
        shine = gloss * np.maximum(0, 1 - np.hypot(nx * away - light[0], ny * away - light[1])) ** 8
        here = (0.5 - distance).clip(0, 1)
        # A dark line where one lies on another.
        beside = ((1.5 - np.abs(distance)) / 1.5).clip(0, 1) * alpha[window] * (1 - here)
        under = colors[window] * (1 - crease * beside[..., None])
        lit = base * shade[..., None].clip(0.1, 1.4) + shine[..., None]
        colors[window] = under * (1 - here[..., None]) + lit * here[..., None]
        alpha[window] = np.maximum(alpha[window], here)
    return Layer(colors, alpha)


def outline(scene: Scene, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Array:
    """(S, S) 0..1 of what is drawn in white at `_FINER` times the size."""
    side = scene.size * _FINER
    canvas = Image.new("L", (side, side))
    draw(ImageDraw.Draw(canvas), _FINER)
    small = canvas.resize((scene.size, scene.size), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def polygon(scene: Scene, corners: Array) -> Array:
    """(S, S) 0..1, 1 inside (N, 2) corners."""
    flat = [tuple(point) for point in (np.asarray(corners) * _FINER).tolist()]
    return outline(scene, lambda canvas, _: canvas.polygon(flat, fill=255))


def line(scene: Scene, points: Array, width: float) -> Array:
    """(S, S) 0..1, 1 along (N, 2) points."""
    flat = [tuple(point) for point in (np.asarray(points) * _FINER).tolist()]
    wide = max(1, round(width * _FINER))
    return outline(scene, lambda canvas, _: canvas.line(flat, fill=255, width=wide, joint="curve"))


def bent(start: Array, end: Array, bend: Array, count: int = 12) -> Array:
    """(count, 2) along a quadratic Bezier curve."""
    t = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end


def round_shape(rng: Generator, middle: Array, radii: Array, rough: float = 0.2) -> Array:
    """(48, 2): a closed outline around a point, from round to ragged."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    radius = np.ones(48)
    for wave in range(2, 7):
        radius += rough * rng.normal() / wave * np.cos(wave * angles + rng.uniform(0, 6.3))
    turn = rng.uniform(0, 2 * math.pi)
    x, y = radius * np.cos(angles) * radii[0], radius * np.sin(angles) * radii[1]
    turned = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], 1)
    return middle + turned


# --- the things ----------------------------------------------------------------------------------


def hand(scene: Scene, target: Array | None = None) -> list[Layer]:
    """A hand from any side, its fingers spread, closed or curled, with a sleeve or without."""
    rng = scene.rng
    target = scene.spot() if target is None else target
    length = scene.unit * rng.uniform(1.7, 3.4)
    # Mostly from below and the sides; `up` points from the wrist to the fingers.
    angle = rng.normal(0, 0.9) if rng.random() < 0.8 else rng.uniform(-math.pi, math.pi)
    up = np.array([math.sin(angle), -math.cos(angle)])
    right = np.array([-up[1], up[0]]) * rng.choice((-1, 1))
    reach = rng.uniform(0.35, 1.0)  # what of the hand lies on the target: palm to fingertips
    wrist = target - up * reach * length

    def at(x: float, y: float) -> Array:
        return wrist + length * (x * right + y * up)

    parts = _arm_and_palm(at, length, up, rng)
    tips = _fingers(at, length, rng, parts)
    base = skin(rng, scene.skin)
    gloved = rng.random() < 0.07
    if gloved:
        base = color(rng)
    layer = rods(scene, parts, base, gloss=rng.uniform(0, 0.15))
    colors = layer.colors * (1 + 0.07 * clouds(rng, scene.size, 6)[..., None])
    if not gloved:
        colors = _flushed(scene, colors, tips, length)
        if rng.random() < 0.4:  # skin of a real face
            grain = texture(rng, scene.size, scene.other, "photo")
            colors = colors * (1 + 0.3 * (grain - grain[::8, ::8].mean((0, 1))))
    layers = [Layer(colors, layer.alpha)]
    if rng.random() < 0.4:
        cuff = [Rod(at(0, -1.6), at(0, rng.uniform(-0.3, -0.05)), (length * 0.17, length * 0.15))]
        sleeve = rods(scene, cuff, np.ones(3, np.float32), 0)
        layers.append(Layer(sleeve.colors * texture(rng, scene.size, scene.other), sleeve.alpha))
    return layers


def _arm_and_palm(
    at: Callable[[float, float], Array], length: float, up: Array, rng: Generator
) -> list[Rod]:
    lean = rng.normal(0, 0.4)
    width = length * rng.uniform(0.085, 0.12)
    arm = [Rod(at(lean, -1.6), at(0, 0), (width * 1.2, width))]
    across = [(-0.13, 0.44), (-0.045, 0.48), (0.045, 0.47), (0.12, 0.42)]
    return arm + [Rod(at(x * 0.5, 0.02), at(x, y), (width, length * 0.06)) for x, y in across]


def _fingers(
    at: Callable[[float, float], Array], length: float, rng: Generator, parts: list[Rod]
) -> list[Array]:
    """Add four fingers and a thumb; their tips are returned."""
    spread = rng.uniform(0.0, 0.22)
    fist = rng.random() < 0.15
    bends = rng.uniform(0.35, 1.0) if not fist else rng.uniform(0.15, 0.35)
    pointing = rng.random() < 0.2
    tips = []
    order = [3, 2, 1, 0] if rng.random() < 0.5 else [0, 1, 2, 3]
    for finger in order:
        x, y = ((-0.13, 0.46), (-0.045, 0.5), (0.045, 0.49), (0.12, 0.44))[finger]
        long = (0.36, 0.41, 0.38, 0.29)[finger] * (bends + rng.normal(0, 0.05))
        if pointing and finger != 0:
            long *= 0.35
        lean = (finger - 1.5) * spread + rng.normal(0, 0.03)
        radius = length * (0.048, 0.05, 0.047, 0.041)[finger]
        knots = [at(x, y)]
        for joint, share in enumerate((0.45, 0.3, 0.25)):
            lean += rng.normal(0, 0.06) * (joint > 0)
            x, y = x + long * share * math.sin(lean), y + long * share * math.cos(lean)
            knots.append(at(x, y))
        radii = (radius * 1.05, radius, radius * 0.93, radius * 0.82)
        for joint in range(3):
            piece = (radii[joint], radii[joint + 1])
            parts.append(Rod(knots[joint], knots[joint + 1], piece))
        tips.append(knots[-1])
    if rng.random() < 0.85:
        lean = rng.uniform(-1.1, 0.2)
        middle = (-0.15 + 0.2 * math.sin(lean), 0.14 + 0.2 * math.cos(lean))
        end = (
            middle[0] + 0.17 * math.sin(lean + 0.3),
            middle[1] + 0.17 * math.cos(lean + 0.3),
        )
        parts.append(Rod(at(-0.08, 0.12), at(*middle), (length * 0.075, length * 0.055)))
        parts.append(Rod(at(*middle), at(*end), (length * 0.055, length * 0.045)))
        tips.append(at(*end))
    return tips


def _flushed(scene: Scene, colors: Array, tips: list[Array], length: float) -> Array:
    """Redder toward the fingertips, and nails on them."""
    rng, (x, y) = scene.rng, scene.grid()
    nails, tint = rng.random() < 0.5, color(rng)
    if rng.random() < 0.6:
        tint = np.array([0.9, 0.7, 0.66]) * rng.uniform(0.6, 1.1)
    colors = np.array(colors)
    for tip in tips:
        window = Rod(tip, tip, (0.2 * length, 0)).window(scene.size)
        away = np.hypot(x[window] - tip[0], y[window] - tip[1]) / length
        near = np.exp(-((away / 0.07) ** 2))[..., None] * 0.1
        colors[window] *= 1 - near * np.array([0.0, 1.0, 0.9])
        if nails:
            nail = ((0.03 - away) * length + 0.5).clip(0, 1)[..., None] * 0.7
            colors[window] = colors[window] * (1 - nail) + tint * nail
    return colors


def hair(scene: Scene) -> list[Layer]:
    """Strands over the face: from above, from a side, blown across, alone or in locks."""
    rng, size = scene.rng, scene.size
    shade = color(rng) * 0.2 + np.array([0.35, 0.24, 0.15]) * rng.uniform(0.1, 1.9)
    if rng.random() < 0.5:  # what is above this face
        shade = np.median(scene.face[: max(2, size // 12)].reshape(-1, 3), 0)
    side = size * _FINER
    canvas = Image.new("RGB", (side, side))
    mask = Image.new("L", (side, side))
    paint, count = ImageDraw.Draw(canvas), ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(1, 5))):
        start = np.array([rng.uniform(0, 1), rng.uniform(-0.2, 0.25)]) * size
        if rng.random() < 0.3:
            start = np.array([rng.choice((-0.05, 1.05)), rng.uniform(0, 0.8)]) * size
        end = scene.spot(1.5) + np.array([0, 0.5 * scene.unit])
        bend = (start + end) / 2 + rng.normal(0, 0.5, 2) * scene.unit
        apart = scene.unit * rng.uniform(0.03, 0.35)
        for _ in range(int(rng.integers(2, 70))):
            off, curl = rng.normal(0, 1, 2) * apart, rng.normal(0, 0.5, 2) * apart
            along = bent(start + off, end + curl + off * rng.uniform(0, 1), bend + off + curl)
            flat = [tuple(point) for point in (along * _FINER).tolist()]
            lit = (shade * rng.uniform(0.6, 1.5)).clip(0, 1)
            width = int(rng.integers(1, 4))
            paint.line(flat, fill=tuple(int(255 * v) for v in lit), width=width, joint="curve")
            count.line(flat, fill=255, width=width, joint="curve")
    colors = np.asarray(canvas.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    alpha = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    return [Layer(colors / np.maximum(alpha, 1 / 255)[..., None], alpha)]


def microphone(scene: Scene) -> list[Layer]:
    """A ball of mesh or foam on a stick, before the mouth or below it; sometimes with a hand."""
    rng, unit = scene.rng, scene.unit
    mouth = scene.points[3:].mean(0)
    ball = mouth + np.array([rng.normal(0, 0.5), rng.uniform(-0.4, 1.2)]) * unit
    radius = unit * rng.uniform(0.22, 0.65)
    lean = rng.normal(0, 0.8)
    down = np.array([math.sin(lean), math.cos(lean)])
    width = radius * rng.uniform(0.3, 0.75)
    stick = [Rod(ball, ball + down * unit * 6, (width, width * rng.uniform(0.6, 1)))]
    layers = [rods(scene, stick, color(rng), gloss=0.4)]
    stretch = rng.uniform(0, 0.7) * radius
    head = rods(scene, [Rod(ball - down * stretch, ball, (radius, radius))], color(rng), gloss=0.3)
    x, y = scene.grid()
    if rng.random() < 0.6:
        step = 2 * math.pi / rng.uniform(2.2, 5)
        mesh = np.sin((x + y) * step) * np.sin((x - y) * step)
        weave = 1 + rng.uniform(0.1, 0.5) * mesh
    else:
        weave = 1 + 0.35 * rng.normal(0, 1, x.shape)
    layers.append(Layer(head.colors * weave[..., None], head.alpha))
    if rng.random() < 0.4:
        layers += hand(scene, ball + down * unit * rng.uniform(0.8, 1.8))
    return layers


def glasses(scene: Scene) -> list[Layer]:
    """Frames with clear, tinted or dark lenses, and reflections on them."""
    rng = scene.rng
    eyes = scene.points[:2] + rng.normal(0, 0.06, 2) * scene.unit + (0, 0.08 * scene.unit)
    along = (eyes[1] - eyes[0]) / max(np.hypot(*(eyes[1] - eyes[0])), 1e-3)
    axes = np.stack([along, (-along[1], along[0])])
    radii = scene.unit * np.array([rng.uniform(0.3, 0.43), rng.uniform(0.22, 0.38)])
    rim = _rim(rng, radii) @ axes
    lens = np.maximum(*(polygon(scene, eye + rim) for eye in eyes))
    frame, bridge = _frame(scene, eyes, rim, radii[:, None] * axes)
    layers = []
    kind = rng.random()
    if kind < 0.45:
        strength = rng.uniform(0.0, 0.2) if kind < 0.2 else rng.uniform(0.6, 0.98)
        tint = color(rng) * (0.35 if kind > 0.2 else 1)
        layers.append(Layer(np.broadcast_to(tint, scene.face.shape), lens * strength))
    if rng.random() < 0.4:
        layers.append(_reflection(scene, lens))
    shade = color(rng) * rng.choice((0.3, 1.0)) if rng.random() < 0.8 else color(rng)
    gleam = 1 + 0.4 * clouds(rng, scene.size, 8)[..., None]
    if kind > 0.95:  # no rim
        frame = np.maximum(frame * (1 - lens), bridge)
    layers.append(Layer(np.broadcast_to(shade, scene.face.shape) * gleam, frame))
    return layers


def _rim(rng: Generator, radii: Array) -> Array:
    """(40, 2) around a lens, from round to nearly square, flatter above."""
    power, flat = 2 / rng.uniform(1.6, 5), rng.uniform(0.75, 1)
    angles = np.linspace(0, 2 * math.pi, 40)
    sides = [np.sign(wave) * np.abs(wave) ** power for wave in (np.cos(angles), np.sin(angles))]
    x, y = (radius * side for radius, side in zip(radii, sides, strict=True))
    return np.stack([x, np.where(y < 0, y * flat, y)], 1)


def _frame(scene: Scene, eyes: Array, rim: Array, axes: Array) -> tuple[Array, Array]:
    """Rims, bridge and temples, and the bridge alone; `axes` reach from a lens's middle out."""
    rng, unit, (across, down) = scene.rng, scene.unit, axes
    width = rng.uniform(0.6, 3.6) * scene.size / 128
    frame = np.maximum(*(line(scene, eye + rim, width) for eye in eyes))
    upright = down / max(np.hypot(*down), 1e-3)
    inner = (eyes[0] + across, eyes[1] - across)
    bend = (inner[0] + inner[1]) / 2 - upright * rng.uniform(0, 0.2) * unit
    bridge = line(scene, bent(*inner, bend), width)
    frame = np.maximum(frame, bridge)
    aside = across / max(np.hypot(*across), 1e-3)
    for sign, eye in ((-1, eyes[0]), (1, eyes[1])):
        edge = eye + sign * across - down * 0.3
        far = edge + sign * aside * unit + upright * rng.uniform(-0.15, 0.1) * unit
        frame = np.maximum(frame, line(scene, np.stack([edge, far]), width * 0.8))
    return frame, bridge


def _reflection(scene: Scene, lens: Array) -> Layer:
    """A window or a lamp on the lenses."""
    rng = scene.rng
    x, y = scene.grid()
    angle, width = rng.uniform(0, math.pi), scene.unit * rng.uniform(0.05, 0.3)
    along = math.cos(angle) * (x - scene.center[0]) + math.sin(angle) * (y - scene.points[0, 1])
    band = (1.5 - np.abs(np.mod(along, scene.unit) - scene.unit / 2) / width).clip(0, 1)
    if rng.random() < 0.3:
        band = np.maximum(band, rng.uniform(0.3, 1))
    light = np.array([0.95, 0.97, 1.0]) * rng.uniform(0.7, 1.05)
    picture = np.broadcast_to(light, scene.face.shape)
    if rng.random() < 0.3:
        picture = np.maximum(picture * 0.4, texture(rng, scene.size, scene.other, "photo"))
    return Layer(picture, lens * band * rng.uniform(0.45, 0.98), shadow=False)


def letters(scene: Scene) -> list[Layer]:
    """A word or several lines across the picture, solid or a watermark."""
    rng, size = scene.rng, scene.size
    side = size * _FINER
    canvas = Image.new("L", (side, side))
    paint = ImageDraw.Draw(canvas)
    height = float(rng.uniform(0.07, 0.3) * side)
    font = ImageFont.load_default(height)
    at = scene.spot(0.9) * _FINER
    for row in range(int(rng.integers(1, 4))):
        word = "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 14))))
        place = (float(at[0] - height * len(word) * 0.25), float(at[1] + row * height * 1.15))
        bold = int(rng.integers(0, max(2, int(height / 14))))
        paint.text(place, word, fill=255, font=font, stroke_width=bold)
    turned = canvas.rotate(float(rng.normal(0, 15)), center=(float(at[0]), float(at[1])))
    small = turned.resize((size, size), Image.Resampling.BOX)
    alpha = np.asarray(small, np.float32) / 255 * rng.uniform(0.55, 1.0)
    ink = color(rng) if rng.random() < 0.4 else np.full(3, rng.choice((0.03, 0.97)))
    return [Layer(np.broadcast_to(ink, scene.face.shape), alpha, shadow=rng.random() < 0.2)]


def mask(scene: Scene) -> list[Layer]:
    """Cloth over mouth and nose, a scarf, or a mask around the eyes."""
    rng, unit = scene.rng, scene.unit
    if rng.random() < 0.2:
        return [_eye_mask(scene)]
    eyes, nose = scene.points[:2].mean(0), scene.points[2]
    top = nose[1] + unit * rng.uniform(-0.35, 0.45)
    if rng.random() < 0.15:
        top = scene.points[3:, 1].mean() - unit * 0.2
    half = unit * rng.uniform(1.05, 1.5)
    x0 = float(eyes[0] + rng.normal(0, 0.1) * unit)
    bottom = top + unit * rng.uniform(1.3, 2.0)
    drop = unit * rng.uniform(0.05, 0.4)
    upper = bent(np.array([x0 - half, top + drop]), np.array([x0 + half, top + drop]),
                 np.array([x0, top - drop]))  # fmt: skip
    lower = bent(np.array([x0 + half, top + unit * 0.8]), np.array([x0 - half, top + unit * 0.8]),
                 np.array([x0, 2 * bottom - top - unit * 0.8]))  # fmt: skip
    alpha = polygon(scene, np.concatenate([upper, lower]))
    base = texture(rng, scene.size, scene.other, "plain" if rng.random() < 0.6 else None)
    if rng.random() < 0.4:
        base = base * 0.1 + np.array([0.55, 0.72, 0.85]) * rng.uniform(0.8, 1.1)
    x, y = scene.grid()
    folds = np.sin((y - top) / unit * rng.uniform(6, 16) + 2 * clouds(rng, scene.size, 2, 1))
    shade = 1 + rng.uniform(0, 0.15) * folds - 0.3 * ((x - x0) / half) ** 2
    layers = [Layer(base * shade[..., None], alpha)]
    if rng.random() < 0.5:
        for sign in (-1, 1):
            start = np.array([x0 + sign * half, top + drop])
            strap = np.stack([start, start + np.array([sign * unit, -unit * rng.uniform(0, 0.6)])])
            thin = line(scene, strap, rng.uniform(0.7, 2) * scene.size / 128)
            layers.append(Layer(np.broadcast_to(base.mean((0, 1)), base.shape), thin))
    return layers


def _eye_mask(scene: Scene) -> Layer:
    rng, unit = scene.rng, scene.unit
    middle = scene.points[:2].mean(0)
    radii = unit * np.array([rng.uniform(1.0, 1.4), rng.uniform(0.35, 0.6)])
    angles = np.linspace(0, 2 * math.pi, 40)
    shape = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], 1)
    alpha = polygon(scene, middle + shape)
    if rng.random() < 0.7:
        x, y = scene.grid()
        for eye in scene.points[:2]:
            away = np.hypot((x - eye[0]) / 1.5, y - eye[1]) - unit * rng.uniform(0.12, 0.2)
            alpha = np.minimum(alpha, (away + 0.5).clip(0, 1))
    return Layer(texture(rng, scene.size, scene.other), alpha)


def food(scene: Scene) -> list[Layer]:
    """Something held to the mouth: a cup, a fruit, a cone, a spoon; often with a hand."""
    rng, unit = scene.rng, scene.unit
    mouth = scene.points[3:].mean(0) + rng.normal(0, 0.25, 2) * unit
    lean = rng.normal(0, 0.6)
    down = np.array([math.sin(lean), math.cos(lean)])
    held = (_cup, _fruit, _cone, _spoon)[int(rng.integers(4))]
    layers = held(scene, mouth, down)
    if rng.random() < 0.6:
        layers += hand(scene, mouth + down * unit * rng.uniform(0.6, 1.8))
    return layers


def _cup(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    rng, unit = scene.rng, scene.unit
    across = np.array([down[1], -down[0]])
    wide, tall = unit * rng.uniform(0.4, 0.8), unit * rng.uniform(0.9, 2)
    narrow = wide * rng.uniform(0.6, 1)
    corners = [-across * wide, across * wide, across * narrow + down * tall]
    corners.append(-across * narrow + down * tall)
    x, y = scene.grid()
    side = ((x - mouth[0]) * across[0] + (y - mouth[1]) * across[1]) / wide
    shade = 1.1 - 0.5 * (side - rng.uniform(-0.5, 0.5)) ** 2
    base = texture(rng, scene.size, scene.other)
    return [Layer(base * shade[..., None], polygon(scene, mouth + np.array(corners)))]


def _fruit(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """A fruit, a sandwich, a burger."""
    rng = scene.rng
    radii = scene.unit * rng.uniform(0.3, 0.75, 2)
    alpha = polygon(scene, round_shape(rng, mouth + down * radii[1] * 0.7, radii, 0.1))
    shade = 1 + 0.2 * clouds(rng, scene.size, 3)
    return [Layer(texture(rng, scene.size, scene.other) * shade[..., None], alpha)]


def _cone(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """Balls on a cone or a stick."""
    rng, unit = scene.rng, scene.unit
    radius = unit * rng.uniform(0.25, 0.5)
    places = [mouth + down * number * radius for number in range(int(rng.integers(1, 3)))]
    stick = Rod(mouth, mouth + down * unit * 3, (radius * rng.uniform(0.1, 0.7), radius * 0.1))
    layers = [rods(scene, [stick], color(rng))]
    balls = [Rod(place, place, (radius, radius)) for place in places]
    ice = rods(scene, balls, np.ones(3, np.float32), 0.1)
    return [*layers, Layer(ice.colors * texture(rng, scene.size, scene.other), ice.alpha)]


def _spoon(scene: Scene, mouth: Array, down: Array) -> list[Layer]:
    """A spoon, a straw, a cigarette, a brush."""
    rng, unit = scene.rng, scene.unit
    width = unit * rng.uniform(0.03, 0.14)
    stick = Rod(mouth, mouth + down * unit * 3, (width, width))
    bowl = Rod(mouth, mouth + down * unit * 0.2, (width * rng.uniform(1, 3), width))
    return [rods(scene, [stick, bowl], color(rng), 0.5)]


def face(scene: Scene) -> list[Layer]:
    """Another face partly in front, from a side or from below."""
    rng, unit = scene.rng, scene.unit
    side = int(scene.size * rng.uniform(0.7, 1.25))
    picture = Image.fromarray((scene.other * 255).astype(np.uint8)).resize((side, side))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = picture.rotate(float(rng.normal(0, 15)), Image.Resampling.BILINEAR)
    angle = rng.uniform(-0.3, math.pi + 0.3)
    away = unit * rng.uniform(1.5, 2.7)
    middle = scene.center + away * np.array([math.cos(angle), math.sin(angle)])
    corner = (int(middle[0] - side / 2), int(middle[1] - side * 0.55))
    canvas = Image.new("RGB", (scene.size, scene.size))
    canvas.paste(picture, corner)
    radii = side * np.array([rng.uniform(0.27, 0.34), rng.uniform(0.38, 0.46)])
    angles = np.linspace(0, 2 * math.pi, 48)
    shape = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], 1)
    alpha = polygon(scene, middle + shape)
    return [Layer(np.asarray(canvas, np.float32) / 255, alpha)]


def block(scene: Scene) -> list[Layer]:
    """Rectangles and other polygons of any material."""
    rng, unit = scene.rng, scene.unit
    layers = []
    for _ in range(int(rng.integers(1, 3))):
        half = unit * rng.uniform(0.15, 1.1, 2)
        turn = rng.uniform(0, math.pi) if rng.random() < 0.6 else 0.0
        count = int(rng.choice((4, 4, 4, 3, 5)))
        angles = np.linspace(0, 2 * math.pi, count, endpoint=False) + math.pi / 4
        corners = np.stack([np.cos(angles), np.sin(angles)], 1) * half * math.sqrt(2)
        turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        alpha = polygon(scene, scene.spot(1.3) + corners @ turned.T)
        layers.append(Layer(texture(rng, scene.size, scene.other), alpha, rng.random() < 0.5))
    return layers


def blob(scene: Scene) -> list[Layer]:
    """Rounded and ragged spots of any material: leaves, stains, balls, smoke."""
    rng, unit = scene.rng, scene.unit
    layers = []
    for _ in range(int(rng.integers(1, 4))):
        radii = unit * rng.uniform(0.12, 1.0, 2)
        rough = rng.uniform(0, 0.5)
        alpha = polygon(scene, round_shape(rng, scene.spot(1.4), radii, rough))
        shade = 1 + rng.uniform(0, 0.3) * clouds(rng, scene.size, 4)[..., None]
        layers.append(Layer(texture(rng, scene.size, scene.other) * shade, alpha))
    return layers


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
