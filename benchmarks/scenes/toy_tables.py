"""What the toys lie on: textures from a random generator, (height, width, 3) float32 RGB, 0 to 255.

`scale` is the size of a pixel of the training pictures in pixels of this one, so that a larger picture shows the same
table in more detail.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Rng = np.random.Generator

WOODS = ((176, 132, 88), (142, 100, 66), (204, 170, 126), (112, 84, 64), (190, 178, 160))
CLOTHS = ((190, 80, 76), (84, 116, 168), (98, 148, 110), (206, 170, 96), (150, 130, 160), (226, 218, 204))
FLOORS = ((206, 202, 194), (150, 156, 160), (196, 176, 156), (120, 140, 136))
GRASS = ((96, 130, 66), (122, 142, 84), (150, 134, 98), (96, 98, 112))


def noise(rng: Rng, height: int, width: int, tall: float, wide: float | None = None) -> Pixels:
    """Smooth noise (height, width) around 0 with a deviation of about 1; its spots are `tall` by `wide` pixels."""
    cells = [max(2, round(height / tall) + 2), max(2, round(width / (wide or tall)) + 2)]
    coarse = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def tint(rng: Rng, colours: tuple[tuple[int, int, int], ...]) -> Pixels:
    """One of the colours, a little changed, (3,)."""
    return (np.array(colours[rng.integers(len(colours))]) + rng.normal(0, 8, 3)).astype(np.float32)


def planks(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """Boards across or along the picture, each with its own tone and grain."""
    along = rng.random() < 0.4
    rows, columns = (width, height) if along else (height, width)
    board = rng.uniform(34, 80) * scale
    position = np.arange(rows) + rng.uniform(0, board)
    number = (position / board).astype(int)
    tone = rng.normal(0, 9, number.max() + 1)[number]
    gap = np.minimum(position % board, board - position % board) < 0.9 * scale
    grain = 7 * noise(rng, rows, columns, 2.2 * scale, 90 * scale) + 6 * noise(
        rng, rows, columns, 8 * scale, 160 * scale
    )
    value = grain + (tone - 46 * gap).astype(np.float32)[:, None]
    value = value.T if along else value
    return tint(rng, WOODS) + value[..., None] * np.array([1.0, 0.9, 0.75], np.float32)


def cloth(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """A checked or striped cloth with soft folds."""
    period = rng.uniform(22, 52) * scale
    across = (np.arange(width) + rng.uniform(0, period)) % period < period / 2
    down = (np.arange(height) + rng.uniform(0, period)) % period < period / 2
    striped = rng.random() < 0.3
    share = (across[None, :] * 0.5 + (0.0 if striped else 0.5) * down[:, None]).astype(np.float32)[..., None]
    ground = tint(rng, CLOTHS[-1:]) if rng.random() < 0.7 else tint(rng, CLOTHS)
    weave = 4 * noise(rng, height, width, 1.4 * scale) + 7 * noise(rng, height, width, 60 * scale)
    return ground * (1 - share) + tint(rng, CLOTHS) * share + weave[..., None]


def tiles(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """Square tiles of slightly different tones with joints between them."""
    side = rng.uniform(36, 90) * scale
    y, x = np.arange(height) + rng.uniform(0, side), np.arange(width) + rng.uniform(0, side)
    rows, columns = (y / side).astype(int), (x / side).astype(int)
    tones = rng.normal(0, 7, (rows.max() + 1, columns.max() + 1)).astype(np.float32)[rows][:, columns]
    joint = ((y % side) < 2.4 * scale)[:, None] | ((x % side) < 2.4 * scale)[None, :]
    value = tones + 5 * noise(rng, height, width, 14 * scale) + 3 * noise(rng, height, width, 2 * scale) - 38 * joint
    return tint(rng, FLOORS) + value[..., None].astype(np.float32)


def rug(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """Grass, sand or a carpet: fine noise between two colours."""
    value = noise(rng, height, width, 1.8 * scale) + noise(rng, height, width, 4 * scale, 3 * scale)
    value += 0.9 * noise(rng, height, width, 40 * scale)
    share = np.clip(0.5 + 0.22 * value, 0, 1)[..., None].astype(np.float32)
    ground = tint(rng, GRASS)
    return ground * (1 - share) + (ground + rng.uniform(25, 60)) * share


def paper(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """A large sheet with dots or squares printed on it."""
    period = rng.uniform(12, 30) * scale
    y, x = (np.arange(height) % period)[:, None] - period / 2, (np.arange(width) % period)[None, :] - period / 2
    dots = np.hypot(y, x) < rng.uniform(0.12, 0.3) * period
    lines = (np.abs(y) < 0.6 * scale) | (np.abs(x) < 0.6 * scale)
    mark = (dots if rng.random() < 0.5 else lines)[..., None].astype(np.float32) * np.float32(rng.uniform(0.3, 0.8))
    value = 3 * noise(rng, height, width, 50 * scale) + 2 * noise(rng, height, width, 2 * scale)
    return tint(rng, CLOTHS) * (1 - mark) + tint(rng, CLOTHS) * mark + value[..., None]


Table = Callable[[Rng, int, int, float], Pixels]
TABLES: tuple[Table, ...] = (planks, cloth, tiles, rug, paper)
