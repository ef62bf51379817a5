"""Draw pictures of toys on cluttered tables, with labels: the set that cfg/toys.cfg learns from, and data/sample.jpg.

    python benchmarks/scenes/draw_scenes.py OUT                    # OUT/train, OUT/valid and lists of both
    python benchmarks/scenes/draw_scenes.py --sample data/sample.jpg

Every picture has its own random generator, made from the seed, the part of the set and the picture's number: the same
seed gives the same picture, whatever else is drawn. A label's box is that of the pixels of a toy that can be seen.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from toy_shapes import CLUTTER, INKS, NAMES, TOYS, Colour, Shape
from toy_tables import TABLES, Pixels, Rng, noise

from pydarknet.images.image import Picture, write_image

WIDTH, HEIGHT = 320, 240
PARTS = {"train": 2000, "valid": 400}
SEED = 1
SAMPLE_SEED, SAMPLE_SCALE = 9, 2.0

PAINTS: tuple[Colour, ...] = (
    (206, 62, 54), (232, 136, 48), (242, 196, 66), (98, 166, 88), (54, 152, 150), (64, 112, 186), (130, 88, 166),
    (226, 128, 158), (240, 234, 220), (96, 76, 66),
)  # fmt: skip
SMALLEST, LARGEST = 40, 104  # length of a toy in pixels of the training pictures
COUNT = (2, 10)  # how many toys there are: from the first number on, below the second
BELOW, ABOVE = (3, 13), (0, 4)  # likewise other things, laid down before and after the toys
TURN = 20  # degrees that a toy may be turned either way
SEEN = 0.65  # share of a toy that must stay visible
TRIES = 30  # places to try for a piece before it is left out
NOBODY = -1

Label = tuple[int, float, float, float, float]


@dataclass
class Piece:
    """A painted shape on a square, cut to the shape: colours (s, s, 3) float32 0 to 255, cover (s, s) 0 to 1."""

    colours: Pixels
    cover: Pixels


@dataclass
class Scene:
    """A picture in the making, (h, w, 3) float32, and who is seen at each of its pixels."""

    pixels: Pixels
    owner: NDArray[np.int32]
    classes: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)  # pixels of each toy, hidden ones included
    seen: list[int] = field(default_factory=list)


def paint(shape: Shape, main: Colour, second: Colour, length: float, turn: float, mirrored: bool) -> Piece:
    """The shape in two paints, `length` pixels long for two units, turned by degrees; lit from the upper left."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = np.array([[cos, -sin], [sin, cos]]) * length / 2
    outlines = [outline * (-1 if mirrored else 1, 1) @ matrix.T for _, outline in shape]
    reach = max(np.abs(outline).max() for outline in outlines)
    side = int(np.ceil(2 * reach)) + 6
    colours, cover = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    inks = INKS | {"main": main, "second": second}
    for (role, _), outline in zip(shape, outlines, strict=True):
        points = [np.round((outline + (side - 1) / 2) * 16).astype(np.int32)]
        cv2.fillPoly(colours, points, inks[role], cv2.LINE_AA, 4)
        cv2.fillPoly(cover, points, 255, cv2.LINE_AA, 4)
    return Piece(_relief(colours, cover, length), cover.astype(np.float32) / 255)


def _relief(colours: NDArray[np.uint8], cover: NDArray[np.uint8], length: float) -> Pixels:
    """The colours with rounded edges: lighter towards the light, darker away from it and at the rim."""
    soft = cv2.GaussianBlur(cover.astype(np.float32) / 255, (0, 0), max(0.7, length / 40))
    step = max(1, round(length / 50))
    slope = np.zeros_like(soft)
    slope[step:-step, step:-step] = soft[2 * step :, 2 * step :] - soft[: -2 * step, : -2 * step]
    # An antialiased edge is mixed with black: divided by its cover it has the paint's own colour again.
    paint_only = colours.astype(np.float32) / np.maximum(cover[..., None].astype(np.float32) / 255, 0.25)
    shaded = np.minimum(paint_only, 255) * (0.82 + 0.18 * soft[..., None]) + 70 * slope[..., None]
    return np.clip(shaded, 0, 255, out=shaded)


def put(scene: Scene, piece: Piece, left: int, top: int, toy: int | None, shadow: float, reach: float) -> bool:
    """Lay the piece on the scene. False, and nothing done, where it would hide too much of a toy or itself be hidden
    by the picture's edge. `toy`: its class, None for what is no toy."""
    height, width = scene.owner.shape
    side = len(piece.cover)
    rows, columns = slice(max(0, top), min(height, top + side)), slice(max(0, left), min(width, left + side))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return False
    inside = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    solid = piece.cover > 0.5
    here = solid[inside]
    hidden = np.bincount(scene.owner[rows, columns][here] + 1, minlength=len(scene.seen) + 1)[1:]
    if toy is not None and here.sum() < SEEN * solid.sum():
        return False
    if any(seen - lost < SEEN * whole for seen, lost, whole in zip(scene.seen, hidden, scene.whole, strict=True)):
        return False
    scene.seen = [seen - int(lost) for seen, lost in zip(scene.seen, hidden, strict=True)]
    _cast_shadow(scene.pixels, piece.cover, left, top, shadow, reach)
    cover = piece.cover[inside][..., None]
    scene.pixels[rows, columns] += cover * (piece.colours[inside] - scene.pixels[rows, columns])
    scene.owner[rows, columns][here] = NOBODY if toy is None else len(scene.classes)
    if toy is not None:
        scene.classes.append(toy)
        scene.whole.append(int(solid.sum()))
        scene.seen.append(int(here.sum()))
    return True


def _cast_shadow(pixels: Pixels, cover: Pixels, left: int, top: int, depth: float, reach: float) -> None:
    """Darken the ground to the lower right of a piece."""
    height, width, _ = pixels.shape
    margin = int(np.ceil(3 * reach))
    soft = cv2.GaussianBlur(np.pad(cover, margin), (0, 0), reach * 0.7)
    x, y = left - margin + round(reach), top - margin + round(reach * 1.3)
    rows, columns = slice(max(0, y), min(height, y + len(soft))), slice(max(0, x), min(width, x + len(soft)))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = soft[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        pixels[rows, columns] *= 1 - depth * part[..., None]


def draw(
    seed: tuple[int, ...], scale: float = 1.0, classes: Sequence[int] | None = None
) -> tuple[Picture, list[Label]]:
    """A scene and its labels: rows of class, x, y, width and height as fractions of the picture.

    scale: enlarges the picture. classes: those of the toys, in the order in which they are laid down; by default some
    at random. A toy for which no place is found is left out.
    """
    rng = np.random.default_rng(seed)
    width, height = round(WIDTH * scale), round(HEIGHT * scale)
    table = TABLES[rng.integers(len(TABLES))](rng, height, width, scale)
    scene = Scene(np.clip(table, 0, 255), np.full((height, width), NOBODY, np.int32))
    light = Light(rng.uniform(0.25, 0.6), rng.uniform(1.5, 5) * scale)
    below, above = rng.integers(*BELOW), rng.integers(*ABOVE)
    if classes is None:
        classes = rng.integers(len(NAMES), size=rng.integers(*COUNT)).tolist()
    for toy in (*[None] * below, *classes, *[None] * above):
        _scatter(rng, scene, scale, toy, light)
    return _photograph(rng, scene.pixels, scale), _labels(scene)


def draw_sample() -> tuple[Picture, list[Label]]:
    """The bundled picture, which shows every toy once, and its labels."""
    return draw((SAMPLE_SEED,), SAMPLE_SCALE, np.random.default_rng(SAMPLE_SEED).permutation(len(NAMES)).tolist())


@dataclass(frozen=True)
class Light:
    """How dark the shadows of a scene are, 0 to 1, and how long, in pixels."""

    depth: float
    reach: float


def _scatter(rng: Rng, scene: Scene, scale: float, toy: int | None, light: Light) -> None:
    """Lay one piece, a toy of that class or clutter, somewhere on the scene; leave it out where no place is found."""
    shape = TOYS[NAMES[toy]] if toy is not None else CLUTTER[rng.integers(len(CLUTTER))]
    main, second = rng.choice(len(PAINTS), 2, replace=False)
    length = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))) * (1.0 if toy is not None else 0.6)
    turn = rng.uniform(-TURN, TURN) if toy is not None else rng.uniform(0, 360)
    colours = [
        tuple(int(v) for v in np.clip(np.array(PAINTS[k]) + rng.normal(0, 7, 3), 0, 255)) for k in (main, second)
    ]
    piece = paint(shape, colours[0], colours[1], length * scale, turn, rng.random() < 0.5)
    height, width = scene.owner.shape
    for _ in range(TRIES):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        left, top = round(x - len(piece.cover) / 2), round(y - len(piece.cover) / 2)
        if put(scene, piece, left, top, toy, light.depth, light.reach):
            return


def _photograph(rng: Rng, pixels: Pixels, scale: float) -> Picture:
    """Uneven light, often the shadow of something out of sight, a lens's blur and a sensor's noise."""
    height, width, _ = pixels.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.2)
    bright = rng.uniform(0.75, 1.15) + slope * math.cos(angle) * x + slope * math.sin(angle) * y
    if rng.random() < 0.4:
        bright *= 1 - rng.uniform(0.15, 0.4) * _blind(rng, height, width, scale)
    warm = np.array([1 + rng.uniform(-0.06, 0.06), 1, 1 + rng.uniform(-0.08, 0.08)], np.float32)
    pixels *= bright[..., None]
    pixels *= warm
    seen = cv2.GaussianBlur(pixels, (0, 0), scale * rng.uniform(0.3, 0.9))
    grain = rng.standard_normal(seen.shape, dtype=np.float32)
    grain *= rng.uniform(1, 6)
    seen += grain
    return np.clip(seen + 0.5, 0, 255, out=seen).astype(np.uint8)


def _blind(rng: Rng, height: int, width: int, scale: float) -> Pixels:
    """A soft shadow (h, w), 0 to 1: of leaves, or of bars at an angle."""
    if rng.random() < 0.5:
        return np.clip(0.5 + 1.5 * noise(rng, height, width, rng.uniform(30, 70) * scale), 0, 1)
    angle, period = rng.uniform(0, np.pi), rng.uniform(40, 110) * scale
    along = np.arange(height)[:, None] * np.sin(angle) + np.arange(width) * np.cos(angle)
    return np.clip(0.5 + 3 * np.sin(2 * np.pi * along / period), 0, 1).astype(np.float32)


def _labels(scene: Scene) -> list[Label]:
    """The labels of the toys, the one that was laid down first at the head."""
    height, width = scene.owner.shape
    labels = []
    for index, toy in enumerate(scene.classes):
        left, top, w, h = cv2.boundingRect((scene.owner == index).astype(np.uint8))
        labels.append((toy, (left + w / 2) / width, (top + h / 2) / height, w / width, h / height))
    return labels


def write_set(out: Path, counts: dict[str, int], seed: int) -> None:
    """OUT/PART/NNNNN.jpg with its .txt beside it, and OUT/PART.list, for each part."""
    spawn = get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(mp_context=spawn, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for number, (part, count) in enumerate(counts.items()):
            folder = out / part
            folder.mkdir(parents=True, exist_ok=True)
            paths = [folder / f"{k:05d}.jpg" for k in range(count)]
            seeds = [(seed, number, k) for k in range(count)]
            list(pool.map(_write_scene, paths, seeds, chunksize=20))
            (out / f"{part}.list").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")


def _write_scene(path: Path, seed: tuple[int, ...]) -> None:
    picture, labels = draw(seed)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    path.with_suffix(".txt").write_text("".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in labels))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, help="folder for the set")
    parser.add_argument("--sample", type=Path, metavar="FILE", help="draw the sample picture instead")
    parser.add_argument("--seed", type=int, default=SEED)
    for part, count in PARTS.items():
        parser.add_argument(
            f"--{part}", type=int, default=count, metavar="N", help=f"pictures in {part}; default {count}"
        )
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.sample is None):
        parser.error("give either a folder or --sample FILE")
    if options.sample is not None:
        picture, labels = draw_sample()
        write_image(options.sample, picture)
        print(f"{options.sample}: {', '.join(NAMES[label[0]] for label in labels)}")
        return 0
    write_set(options.out, {part: getattr(options, part) for part in PARTS}, options.seed)
    print(", ".join(f"{getattr(options, part)} pictures in {options.out / part}" for part in PARTS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
