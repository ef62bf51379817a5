"""Outlines of ten wooden toys, and of other things that lie about on a table.

A shape is a list of parts, painted one over the other: the role of its colour and a closed outline, (k, 2) points x, y,
y down. A shape lies about the origin and is about two units long. Roles: "main" and "second", which change from piece
to piece, and the fixed ones of INKS.
"""

import math

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
Colour = tuple[int, int, int]
Shape = list[tuple[str, Outline]]

INKS: dict[str, Colour] = {
    "light": (246, 240, 226),
    "dark": (58, 48, 46),
    "glass": (190, 222, 232),
    "beak": (232, 130, 40),
    "wood": (206, 168, 120),
}


def oval(x: float, y: float, a: float, b: float | None = None, start: float = 0, end: float = 360) -> Outline:
    """An ellipse with the half axes a and b (a circle without b), or the part of it between two angles in degrees."""
    angles = np.radians(np.linspace(start, end, 40))
    return np.stack([x + a * np.cos(angles), y + (a if b is None else b) * np.sin(angles)], 1)


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def corners(*points: tuple[float, float]) -> Outline:
    return np.array(points, np.float64)


def smooth(*points: tuple[float, float]) -> Outline:
    """The closed Catmull-Rom curve through the points, eight points on each piece."""
    knots = np.array(points, np.float64)
    a, b, c, d = (np.roll(knots, -shift, 0)[:, None] for shift in (-1, 0, 1, 2))
    t = (np.arange(8) / 8)[None, :, None]
    curve = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    return curve.reshape(-1, 2) / 2


def rays(count: int, outer: float, inner: float) -> Outline:
    """A star of `count` points, the first upwards."""
    radii = np.tile([outer, inner], count)
    angles = np.pi * np.arange(2 * count) / count - np.pi / 2
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def ball() -> Shape:
    wedges = [np.vstack([oval(0, 0, 0.95, None, 60 * k, 60 * k + 60), [(0.2, -0.25)]]) for k in range(6)]
    roles = ("main", "light", "second") * 2
    return [*zip(roles, wedges, strict=True), ("light", oval(0.2, -0.25, 0.14))]


def boat() -> Shape:
    return [
        ("dark", box(-0.06, -0.95, 0.04, 0.4)),
        ("light", corners((0.1, -0.88), (0.8, 0.2), (0.1, 0.2))),
        ("second", corners((-0.12, -0.6), (-0.12, 0.2), (-0.66, 0.2))),
        ("main", corners((-0.98, 0.34), (0.98, 0.34), (0.62, 0.86), (-0.62, 0.86))),
        ("second", corners((-0.9, 0.46), (0.9, 0.46), (0.82, 0.58), (-0.82, 0.58))),
    ]


def car() -> Shape:
    body = smooth((-0.98, 0.3), (-0.9, -0.02), (-0.55, -0.1), (-0.35, -0.5), (0.3, -0.52), (0.58, -0.1), (0.95, 0.04),
                  (0.98, 0.36), (0.6, 0.42), (-0.6, 0.42))  # fmt: skip
    parts: Shape = [("main", body), ("second", box(-0.93, 0.12, 0.95, 0.22))]
    parts += [("glass", corners((-0.3, -0.4), (-0.04, -0.4), (-0.04, -0.08), (-0.44, -0.08)))]
    parts += [("glass", corners((0.06, -0.4), (0.26, -0.4), (0.44, -0.08), (0.06, -0.08)))]
    for x in (-0.52, 0.54):
        parts += [("dark", oval(x, 0.4, 0.25)), ("light", oval(x, 0.4, 0.11))]
    return parts


def duck() -> Shape:
    body = smooth((-0.98, -0.12), (-0.6, 0.08), (0.0, 0.02), (0.5, 0.0), (0.74, 0.32), (0.46, 0.74), (-0.2, 0.82),
                  (-0.76, 0.56))  # fmt: skip
    return [
        ("beak", smooth((0.6, -0.52), (0.98, -0.42), (0.96, -0.3), (0.6, -0.24))),
        ("main", body),
        ("main", oval(0.38, -0.42, 0.4)),
        ("second", smooth((-0.5, 0.22), (0.0, 0.2), (0.26, 0.32), (0.0, 0.54), (-0.32, 0.5))),
        ("light", oval(0.48, -0.52, 0.12)),
        ("dark", oval(0.51, -0.52, 0.07)),
    ]


def fish() -> Shape:
    body = smooth((-0.5, 0.0), (-0.2, -0.38), (0.3, -0.5), (0.75, -0.28), (0.95, 0.02), (0.75, 0.28), (0.3, 0.48),
                  (-0.2, 0.36))  # fmt: skip
    return [
        ("second", corners((-0.4, 0.0), (-0.98, -0.5), (-0.82, 0.0), (-0.98, 0.5))),
        ("second", smooth((-0.05, -0.38), (0.15, -0.72), (0.5, -0.42))),
        ("main", body),
        ("second", corners((0.1, -0.47), (0.26, -0.5), (0.26, 0.48), (0.1, 0.44))),
        ("second", corners((-0.18, -0.36), (-0.06, -0.42), (-0.06, 0.4), (-0.18, 0.36))),
        ("light", oval(0.62, -0.12, 0.13)),
        ("dark", oval(0.65, -0.12, 0.07)),
    ]


def flower() -> Shape:
    angles = [math.radians(72 * k - 90) for k in range(5)]
    petals = [oval(0.56 * math.cos(a), 0.56 * math.sin(a), 0.4) for a in angles]
    return [*(("main", petal) for petal in petals), ("second", oval(0, 0, 0.34)), ("light", oval(0, 0, 0.14))]


def house() -> Shape:
    return [
        ("dark", box(0.34, -0.9, 0.56, -0.3)),
        ("light", box(-0.7, -0.2, 0.7, 0.9)),
        ("main", corners((-0.95, -0.14), (0.0, -0.95), (0.95, -0.14))),
        ("second", box(-0.5, 0.22, -0.08, 0.9)),
        ("glass", box(0.14, 0.14, 0.52, 0.5)),
        ("dark", box(0.31, 0.14, 0.35, 0.5)),
    ]


def mushroom() -> Shape:
    stem = smooth((-0.24, -0.1), (0.24, -0.1), (0.26, 0.4), (0.4, 0.86), (0.0, 0.94), (-0.4, 0.86), (-0.26, 0.4))
    cap = smooth((-0.95, 0.12), (-0.8, -0.44), (-0.34, -0.86), (0.34, -0.86), (0.8, -0.44), (0.95, 0.12), (0.5, 0.24),
                 (-0.5, 0.24))  # fmt: skip
    spots = [oval(-0.5, -0.2, 0.15), oval(0.04, -0.52, 0.18), oval(0.52, -0.16, 0.16), oval(0.02, 0.04, 0.11)]
    return [("light", stem), ("main", cap), *(("light", spot) for spot in spots)]


def rocket() -> Shape:
    body = smooth((0.0, -0.98), (0.26, -0.62), (0.36, -0.1), (0.28, 0.6), (-0.28, 0.6), (-0.36, -0.1), (-0.26, -0.62))
    return [
        ("beak", corners((-0.2, 0.55), (0.2, 0.55), (0.1, 0.8), (0.0, 0.98), (-0.1, 0.8))),
        ("second", corners((-0.3, 0.0), (-0.74, 0.52), (-0.7, 0.82), (-0.24, 0.56))),
        ("second", corners((0.3, 0.0), (0.74, 0.52), (0.7, 0.82), (0.24, 0.56))),
        ("light", body),
        ("main", smooth((0.0, -0.98), (0.24, -0.64), (0.27, -0.46), (-0.27, -0.46), (-0.24, -0.64))),
        ("main", oval(0, -0.08, 0.2)),
        ("glass", oval(0, -0.08, 0.13)),
    ]


def star() -> Shape:
    return [("main", rays(5, 0.98, 0.46)), ("second", rays(5, 0.5, 0.24))]


def pencil() -> Shape:
    return [
        ("main", box(-1.6, -0.11, 1.3, 0.11)),
        ("second", box(-1.6, -0.11, -1.35, 0.11)),
        ("wood", corners((1.3, -0.11), (1.62, 0.0), (1.3, 0.11))),
        ("dark", corners((1.52, -0.04), (1.66, 0.0), (1.52, 0.04))),
    ]


def leaf() -> Shape:
    blade = smooth((-0.9, 0.0), (-0.4, -0.36), (0.3, -0.34), (0.95, 0.0), (0.3, 0.34), (-0.4, 0.36))
    return [("main", blade), ("second", box(-0.95, -0.025, 0.8, 0.025))]


def button() -> Shape:
    holes = [oval(x, y, 0.12) for x in (-0.24, 0.24) for y in (-0.24, 0.24)]
    return [("main", oval(0, 0, 0.7)), ("second", oval(0, 0, 0.54)), *(("dark", hole) for hole in holes)]


def block() -> Shape:
    return [("wood", box(-0.7, -0.7, 0.7, 0.7)), ("main", box(-0.52, -0.52, 0.52, 0.52)), ("wood", oval(0, 0, 0.3))]


def plank() -> Shape:
    return [
        ("wood", box(-1.2, -0.3, 1.2, 0.3)),
        ("main", box(-1.2, -0.3, -0.8, 0.3)),
        ("main", box(0.8, -0.3, 1.2, 0.3)),
    ]


def domino() -> Shape:
    dots = [oval(x, y, 0.1) for x, y in ((-0.75, -0.24), (-0.27, 0.24), (0.5, 0.0), (0.26, -0.24), (0.74, 0.24))]
    return [("dark", box(-1, -0.5, 1, 0.5)), ("light", box(-0.02, -0.4, 0.02, 0.4)), *(("light", dot) for dot in dots)]


def arch() -> Shape:
    outer, inner = oval(0, 0.3, 0.9, None, 180, 360), oval(0, 0.3, 0.42, None, 360, 180)
    return [("main", np.vstack([outer, inner]))]


def wedge() -> Shape:
    return [("main", corners((-0.7, 0.6), (0.7, 0.6), (-0.7, -0.7)))]


TOYS = {drawing.__name__: drawing() for drawing in (ball, boat, car, duck, fish, flower, house, mushroom, rocket, star)}
NAMES = tuple(TOYS)  # the number of a class is its place here
CLUTTER = tuple(drawing() for drawing in (pencil, leaf, button, block, plank, domino, arch, wedge))
