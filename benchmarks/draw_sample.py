"""Draw data/sample.jpg, the project's own picture: a front yard with a dog, a bicycle and a car.

Everything is drawn at twice the size with OpenCV and reduced at the end. Textures come from a seeded
generator, so two runs with the same versions of OpenCV and NumPy write the same bytes.

    python benchmarks/draw_sample.py [OUTPUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 768, 576
SCALE = 2
SEED = 20
LIMIT = 150_000
OUTPUT = Path(__file__).resolve().parents[1] / "data" / "sample.jpg"

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Canvas:
    """A picture in red, green, blue; coordinates are those of the final picture."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.pixels = np.zeros((HEIGHT * SCALE, WIDTH * SCALE, 3), np.uint8)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        cv2.fillPoly(self.pixels, [_scaled(points)], colour, cv2.LINE_AA)

    def blob(self, points: list[Point], colour: Colour) -> None:
        """A closed smooth outline through `points`, filled."""
        cv2.fillPoly(self.pixels, [_scaled(_smooth(points))], colour, cv2.LINE_AA)

    def line(self, points: list[Point], colour: Colour, width: float) -> None:
        cv2.polylines(self.pixels, [_scaled(points)], False, colour, round(width * SCALE), cv2.LINE_AA)

    def ellipse(self, centre: Point, axes: Point, colour: Colour, width: float = -1, angle: float = 0) -> None:
        thickness = -1 if width < 0 else round(width * SCALE)
        x, y = (round(value * SCALE) for value in centre)
        a, b = (round(value * SCALE) for value in axes)
        cv2.ellipse(self.pixels, (x, y), (a, b), angle, 0, 360, colour, thickness, cv2.LINE_AA)

    def gradient(self, top: float, bottom: float, upper: Colour, lower: Colour) -> None:
        """Rows `top` to `bottom`, from one colour to the other."""
        first, last = round(top * SCALE), round(bottom * SCALE)
        share = np.linspace(0, 1, last - first)[:, None, None]
        self.pixels[first:last] = (np.array(upper) * (1 - share) + np.array(lower) * share).astype(np.uint8)

    def noise(self, cell: float) -> np.ndarray:
        """Smooth noise around 0 with a deviation of 1, its spots `cell` pixels wide."""
        rows, columns = (int(np.ceil(size / cell)) + 3 for size in (HEIGHT, WIDTH))
        coarse = self.random.standard_normal((rows, columns)).astype(np.float32)
        size = (WIDTH * SCALE, HEIGHT * SCALE)
        return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)

    def shade(self, mask: np.ndarray, amount: np.ndarray | float) -> None:
        """Add `amount` where `mask` (0..1) is set: lighter above 0, darker below."""
        change = (mask * amount).astype(np.float32)
        self.pixels = np.clip(self.pixels + change[..., None], 0, 255).astype(np.uint8)

    def shadow(self, centre: Point, axes: Point, depth: float) -> None:
        """A soft shadow on the ground."""
        mask = np.zeros(self.pixels.shape[:2], np.float32)
        x, y = (round(value * SCALE) for value in centre)
        a, b = (round(value * SCALE) for value in axes)
        cv2.ellipse(mask, (x, y), (a, b), 0, 0, 360, 1.0, -1)
        self.shade(cv2.GaussianBlur(mask, (0, 0), 6 * SCALE), -depth)

    def region(self, points: list[Point]) -> np.ndarray:
        """A mask that is 1 inside the polygon."""
        mask = np.zeros(self.pixels.shape[:2], np.float32)
        cv2.fillPoly(mask, [_scaled(points)], 1.0)
        return mask


def _scaled(points: list[Point]) -> np.ndarray:
    return np.round(np.array(points) * SCALE).astype(np.int32)


def _smooth(points: list[Point]) -> list[Point]:
    """Two hundred points on the closed Catmull-Rom curve through `points`."""
    knots = np.array(points, float)
    before, after, second = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    steps = max(2, 200 // len(points))
    curve = []
    for a, b, c, d in zip(before, knots, after, second, strict=True):
        for t in np.arange(steps) / steps:
            curve.append(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            )
    return [(float(x), float(y)) for x, y in curve]


def draw_background(canvas: Canvas) -> None:
    """Sky with clouds, a hedge, a house wall, the street and the lawn."""
    canvas.gradient(0, 250, (120, 170, 225), (214, 228, 240))
    rows = np.linspace(1, 0, HEIGHT * SCALE)[:, None]
    clouds = np.clip(canvas.noise(110) + 0.6 * canvas.noise(40) + 0.3 * canvas.noise(14), 0, 2)
    canvas.shade(rows * np.ones_like(clouds), clouds * 34)

    for x, y, size in ((430, 150, 70), (510, 120, 88), (600, 140, 80), (690, 118, 95), (770, 140, 80)):
        canvas.ellipse((x, y), (size, size * 0.8), (62, 96, 58))
        for _ in range(90):
            dx, dy = canvas.random.normal(0, size * 0.45, 2)
            green = int(canvas.random.integers(70, 135))
            canvas.ellipse((x + dx, y + dy * 0.8), (7, 5), (green - 25, green + 12, green - 30))

    wall: list[Point] = [(0, 60), (330, 60), (330, 300), (0, 300)]
    canvas.polygon(wall, (196, 182, 160))
    for row in range(60, 300, 12):
        canvas.line([(0, row), (330, row)], (168, 154, 134), 1.2)
    canvas.polygon([(-20, 62), (0, 8), (318, 8), (356, 62)], (112, 70, 62))
    for row in range(12, 62, 9):
        canvas.line([(0, row), (318 + (row - 8) * 38 / 54, row)], (92, 56, 50), 1.4)
    for x in (40, 200):
        canvas.polygon([(x, 100), (x + 84, 100), (x + 84, 196), (x, 196)], (236, 234, 226))
        canvas.polygon([(x + 6, 106), (x + 78, 106), (x + 78, 190), (x + 6, 190)], (74, 92, 112))
        canvas.polygon([(x + 6, 106), (x + 44, 106), (x + 6, 170)], (128, 150, 170))
        canvas.line([(x + 42, 106), (x + 42, 190)], (236, 234, 226), 4)
        canvas.line([(x + 6, 148), (x + 78, 148)], (236, 234, 226), 4)

    canvas.gradient(300, 372, (128, 128, 130), (106, 106, 110))
    canvas.polygon([(0, 252), (372, 252), (330, 300), (0, 300)], (92, 124, 70))
    canvas.polygon([(330, 250), (768, 250), (768, 304), (310, 304)], (118, 118, 122))
    canvas.polygon([(0, 368), (768, 368), (768, 386), (0, 386)], (176, 172, 164))
    canvas.gradient(386, HEIGHT, (104, 138, 66), (74, 108, 44))
    grass = canvas.region([(0, 386), (WIDTH, 386), (WIDTH, HEIGHT), (0, HEIGHT)])
    canvas.shade(grass, 9 * canvas.noise(60) + 8 * canvas.noise(9) + 7 * canvas.noise(3))
    street = canvas.region([(0, 300), (330, 252), (WIDTH, 250), (WIDTH, 386), (0, 386)])
    canvas.shade(street, 4 * canvas.noise(50) + 5 * canvas.noise(2))
    for _ in range(2600):
        x, y = canvas.random.uniform(0, WIDTH), canvas.random.uniform(390, HEIGHT)
        height = 3 + (y - 380) / 22
        green = int(canvas.random.integers(80, 160))
        canvas.line([(x, y), (x + canvas.random.normal(0, 2), y - height)], (green - 26, green, green - 56), 0.8)


def draw_tree(canvas: Canvas) -> None:
    canvas.shadow((700, 430), (120, 16), 40)
    canvas.blob(
        [(672, 430), (682, 330), (676, 200), (668, 90), (716, 90), (712, 200), (716, 330), (734, 432)],
        (92, 70, 52),
    )
    bark = canvas.region([(664, 432), (676, 200), (668, 90), (716, 90), (712, 200), (738, 432)])
    canvas.shade(bark, 8 * canvas.noise(5) + 6 * canvas.noise(2))
    canvas.line([(690, 190), (650, 120), (600, 80)], (92, 70, 52), 11)
    canvas.line([(700, 170), (742, 110), (768, 90)], (92, 70, 52), 9)
    for _ in range(1500):
        x, y = 700 + canvas.random.normal(0, 78), 36 + canvas.random.normal(0, 38)
        light = int(canvas.random.integers(58, 130))
        angle = float(canvas.random.uniform(0, 180))
        canvas.ellipse((x, y), (7, 3.6), (light - 22, light + 20, light - 36), angle=angle)


def draw_car(canvas: Canvas) -> None:
    """A red estate car, seen from its side, on the far side of the street."""
    canvas.shadow((525, 306), (150, 12), 70)
    paint, dark = (178, 38, 40), (124, 22, 28)
    roof: list[Point] = [(436, 236), (474, 200), (500, 192), (590, 190), (640, 198), (664, 234)]
    canvas.blob([(384, 292), (380, 262), (392, 246), *roof, (672, 250), (672, 288), (664, 298), (400, 300)], paint)
    canvas.polygon([(382, 276), (672, 276), (670, 298), (390, 300)], dark)
    glass = (58, 72, 88)
    canvas.polygon([(450, 236), (480, 206), (530, 200), (530, 236)], glass)
    canvas.polygon([(538, 236), (538, 200), (592, 199), (598, 236)], glass)
    canvas.polygon([(606, 236), (600, 199), (632, 204), (652, 236)], glass)
    canvas.polygon([(462, 228), (484, 207), (504, 204), (476, 230)], (140, 160, 178))
    canvas.polygon([(546, 230), (556, 202), (574, 201), (562, 231)], (122, 142, 162))
    canvas.line([(534, 200), (534, 292)], dark, 1.6)
    canvas.line([(602, 238), (600, 280)], dark, 1.6)
    canvas.line([(400, 250), (664, 246)], (214, 92, 88), 2.2)
    canvas.line([(508, 252), (524, 252)], (228, 228, 228), 2.6)
    canvas.line([(576, 251), (592, 251)], (228, 228, 228), 2.6)
    canvas.ellipse((394, 258), (9, 6), (246, 240, 206))
    canvas.polygon([(663, 246), (672, 246), (672, 264), (664, 264)], (240, 120, 40))
    canvas.ellipse((446, 240), (7, 5), dark)
    canvas.polygon([(376, 284), (398, 284), (398, 292), (376, 292)], (62, 62, 64))
    canvas.polygon([(656, 284), (678, 284), (678, 292), (656, 292)], (62, 62, 64))
    for x in (436, 618):
        canvas.ellipse((x, 292), (29, 29), (40, 14, 18))
        canvas.ellipse((x, 294), (25, 25), (28, 28, 30))
        canvas.ellipse((x, 294), (16, 16), (176, 178, 182))
        for angle in range(0, 360, 60):
            dx, dy = 13 * np.cos(np.radians(angle)), 13 * np.sin(np.radians(angle))
            canvas.line([(x, 294), (x + dx, 294 + dy)], (96, 98, 102), 2.4)
        canvas.ellipse((x, 294), (4, 4), (70, 72, 76))


def draw_bicycle(canvas: Canvas) -> None:
    """A bicycle, leaning on nothing, on the near pavement."""
    canvas.shadow((372, 462), (170, 10), 55)
    rear, front, crank = (272.0, 398.0), (470.0, 398.0), (352.0, 404.0)
    for x, y in (rear, front):
        for angle in np.arange(0, 180, 12):
            dx, dy = 58 * np.cos(np.radians(angle)), 58 * np.sin(np.radians(angle))
            canvas.line([(x - dx, y - dy), (x + dx, y + dy)], (188, 190, 194), 0.7)
        canvas.ellipse((x, y), (60, 60), (26, 26, 28), 5)
        canvas.ellipse((x, y), (55, 55), (196, 198, 202), 1.6)
        canvas.ellipse((x, y), (6, 6), (60, 60, 64))
    frame = (28, 86, 150)
    seat, head = (326.0, 318.0), (446.0, 316.0)
    for points in (
        [rear, crank, seat, rear],
        [crank, (450.0, 334.0)],
        [seat, head],
        [head, (452.0, 338.0), front],
    ):
        canvas.line(points, frame, 6)
        canvas.line([(x - 0.8, y - 1.2) for x, y in points], (96, 150, 208), 1.4)
    canvas.line([seat, (320, 296)], (176, 178, 182), 4.5)
    canvas.blob([(292, 292), (304, 284), (340, 288), (346, 294), (322, 300), (298, 300)], (32, 28, 28))
    canvas.line([head, (440, 292), (458, 282), (474, 288), (476, 300)], (150, 152, 158), 4.5)
    canvas.line([(466, 283), (476, 290), (476, 302)], (32, 28, 28), 6)
    canvas.ellipse(crank, (15, 15), (120, 122, 126), 3)
    canvas.line([(272, 391), (352, 389)], (70, 70, 74), 1.6)
    canvas.line([(272, 405), (352, 419)], (70, 70, 74), 1.6)
    canvas.line([crank, (366, 430)], (140, 142, 146), 4)
    canvas.line([(356, 431), (378, 431)], (34, 34, 36), 5)
    canvas.line([crank, (338, 378)], (140, 142, 146), 4)
    canvas.line([(328, 377), (350, 377)], (34, 34, 36), 5)
    canvas.line([(226, 356), (250, 336), (280, 334), (312, 350)], (60, 62, 66), 4)


def draw_dog(canvas: Canvas) -> None:
    """A brown and white dog, sitting in the grass and looking at us."""
    canvas.shadow((178, 548), (120, 16), 60)
    coat, shade, pale = (176, 128, 76), (128, 84, 46), (240, 234, 222)
    canvas.blob([(236, 540), (270, 536), (300, 514), (306, 492), (298, 488), (286, 508), (256, 522), (232, 524)], coat)
    canvas.blob(
        [
            (120, 548),
            (106, 500),
            (112, 440),
            (130, 390),
            (176, 366),
            (216, 384),
            (242, 430),
            (256, 490),
            (250, 544),
            (200, 554),
        ],
        coat,
    )
    canvas.blob([(218, 548), (214, 500), (236, 470), (262, 490), (270, 530), (258, 550)], shade)
    canvas.blob([(140, 470), (142, 410), (176, 392), (206, 410), (206, 470), (192, 500), (156, 500)], pale)
    for x in (146, 198):
        canvas.blob([(x - 18, 550), (x - 16, 480), (x - 10, 440), (x + 12, 440), (x + 16, 480), (x + 16, 550)], coat)
        canvas.blob([(x - 22, 556), (x - 20, 540), (x - 4, 532), (x + 16, 538), (x + 20, 554), (x, 560)], pale)
        for toe in (-8, 2, 10):
            canvas.line([(x + toe, 546), (x + toe, 556)], (150, 136, 118), 1.4)
    body = canvas.region([(100, 556), (106, 440), (176, 366), (244, 430), (272, 556)])
    canvas.shade(body, 5 * canvas.noise(4) + 5 * canvas.noise(2))

    canvas.blob(
        [
            (122, 330),
            (128, 288),
            (150, 266),
            (176, 262),
            (204, 268),
            (226, 290),
            (230, 332),
            (206, 372),
            (176, 384),
            (146, 372),
        ],
        coat,
    )
    canvas.blob([(128, 296), (134, 268), (116, 262), (98, 286), (92, 334), (104, 356), (118, 346), (126, 318)], shade)
    canvas.blob(
        [(224, 298), (218, 268), (236, 262), (254, 286), (262, 334), (250, 356), (236, 346), (228, 318)],
        shade,
    )
    canvas.blob(
        [
            (168, 268),
            (184, 268),
            (188, 310),
            (204, 334),
            (202, 364),
            (176, 380),
            (150, 364),
            (148, 334),
            (164, 310),
        ],
        pale,
    )
    for x in (152, 200):
        canvas.ellipse((x, 314), (9, 8), (44, 28, 20))
        canvas.ellipse((x, 314), (6, 6), (20, 14, 12))
        canvas.ellipse((x - 2.4, 311), (2.2, 2.2), (244, 244, 244))
        canvas.line([(x - 11, 301), (x, 297), (x + 11, 301)], shade, 2.6)
    canvas.blob([(162, 336), (176, 331), (190, 336), (188, 346), (176, 353), (164, 346)], (26, 22, 22))
    canvas.ellipse((171, 338), (3.4, 1.8), (130, 126, 126))
    canvas.line([(176, 352), (176, 362), (164, 368), (156, 364)], (66, 46, 38), 2.4)
    canvas.line([(176, 362), (188, 368), (196, 364)], (66, 46, 38), 2.4)
    canvas.blob([(168, 367), (184, 367), (186, 384), (176, 392), (167, 384)], (206, 104, 108))
    head = canvas.region([(92, 356), (98, 270), (176, 258), (256, 270), (262, 356), (176, 390)])
    canvas.shade(head, 4 * canvas.noise(4) + 4 * canvas.noise(2))
    canvas.line([(132, 388), (156, 400), (196, 400), (218, 388)], (40, 96, 160), 9)
    canvas.ellipse((176, 410), (8, 9), (226, 190, 70))


def draw_foreground(canvas: Canvas) -> None:
    """Blades of grass in front of the paws and wheels, and a few daisies."""
    for _ in range(1100):
        x, y = canvas.random.uniform(60, 330), canvas.random.uniform(548, 572)
        green = int(canvas.random.integers(84, 150))
        canvas.line([(x, y), (x + canvas.random.normal(0, 3), y - 14)], (green - 28, green, green - 58), 0.9)
    for _ in range(60):
        x, y = canvas.random.uniform(330, WIDTH), canvas.random.uniform(450, HEIGHT)
        canvas.ellipse((x, y), (3.2, 2.2), (240, 240, 236))
        canvas.ellipse((x, y), (1.3, 1), (232, 196, 60))


def finish(canvas: Canvas) -> np.ndarray:
    """The picture at its final size, lit from the left, with a lens's blur and a sensor's noise."""
    light = np.linspace(10, -14, WIDTH * SCALE, dtype=np.float32)[None, :]
    canvas.shade(np.ones(canvas.pixels.shape[:2], np.float32), light + 3 * canvas.noise(120))
    small = cv2.resize(canvas.pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), 0.6).astype(np.float32)
    return np.clip(soft + canvas.random.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def draw(seed: int = SEED) -> np.ndarray:
    """The whole scene, red, green, blue, 8 bits."""
    canvas = Canvas(seed)
    for part in (draw_background, draw_car, draw_tree, draw_bicycle, draw_dog, draw_foreground):
        part(canvas)
    return finish(canvas)


def main(arguments: list[str]) -> int:
    """Write the picture at the best JPEG quality that stays below LIMIT bytes."""
    target = Path(arguments[0]) if arguments else OUTPUT
    picture = cv2.cvtColor(draw(), cv2.COLOR_RGB2BGR)
    for quality in range(92, 40, -2):
        _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(encoded) <= LIMIT:
            break
    target.write_bytes(encoded.tobytes())
    print(f"{target}: {WIDTH}x{HEIGHT}, quality {quality}, {len(encoded)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
