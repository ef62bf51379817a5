"""Does memory stay flat? Thousands of pictures through `detect`, frames through a demo, iterations with resizing.

    python benchmarks/long_run.py [--pictures 10000] [--frames 10000] [--iterations 5000]

Prints, for each of the three, the resident memory, the open files and the threads after a tenth of the run and at its
end, and exits with 1 where memory has grown by more than 5 % and 8 MiB between them, or files or threads at all.
"""

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import pydarknet
from pydarknet.images.image import write_image
from pydarknet.inference.video.demo import Demo, DemoOptions, FrameDetector

GROWTH, SLACK = 1.05, 8 << 20
TRAINING = """[net]
batch=4
subdivisions=2
width=64
height=64
channels=3
learning_rate=0.0001
max_batches=1000000
[convolutional]
filters=16
size=3
pad=1
batch_normalize=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=21
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=8,8, 16,16, 30,30
num=3
classes=2
"""


def state() -> tuple[int, int, int]:
    """Resident bytes, open files, threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def watch(name: str, count: int, steps: Iterator[object]) -> bool:
    """Run so many steps and print what the process has; whether it has stayed flat."""
    early, before = max(1, count // 10), state()
    for number in range(1, count + 1):
        next(steps)
        if number == early:
            before = state()
    after = state()
    flat = after[0] <= max(GROWTH * before[0], before[0] + SLACK) and after[1:] <= before[1:]
    for when, (memory, files, threads) in ((early, before), (count, after)):
        print(f"{name:10} {when:7,}  {memory / 2**20:8.1f} MiB  {files:3} files  {threads:3} threads")
    print(f"{name:10} memory {after[0] / before[0] - 1:+.2%}{'' if flat else '  NOT FLAT'}", flush=True)
    return flat


def pictures(rng: np.random.Generator) -> Iterator[object]:
    """Pictures of random sizes, in files, through `detect`; every hundredth through all layers, at another size."""
    model = pydarknet.load("toys.cfg", "toys.weights")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for number in range(sys.maxsize):
            height, width = rng.integers(20, 400, 2)
            picture = rng.integers(0, 256, (height, width, 3), np.uint8)
            write_image(path, picture)
            yield model.detect(path)
            if number % 100 == 0:
                yield model.layer_outputs(rng.random((1 + number // 100 % 2, *model.input_shape), np.float32))


def frames(rng: np.random.Generator) -> Iterator[object]:
    """Frames through a demo, with its threads that read and draw."""
    model = pydarknet.load("toys.cfg", "toys.weights")
    scenes = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(8)]

    class Camera:
        rate, live, count = 25.0, False, 0

        def read(self) -> np.ndarray:
            self.count += 1
            return scenes[self.count % len(scenes)]

        def close(self) -> None: ...

    detector = FrameDetector(model, model.names, DemoOptions.of(model, None, 0.5, 3))
    with Demo(detector, Camera(), [lambda number, picture: None]) as demo:
        yield from demo.run()


def iterations(rng: np.random.Generator) -> Iterator[object]:
    """Steps of training, at another size every ten, with a pass of inference now and then."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = Path(folder) / "net.cfg"
        cfg.write_text(TRAINING)
        model = pydarknet.load(cfg, train=True)
    for number in range(sys.maxsize):
        if number % 10 == 0:
            side = 32 * int(rng.integers(1, 5))
            model.training.resize(side, side)  # type: ignore[union-attr]
        truth = [rng.uniform(0.2, 0.8, (3, 5)).astype(np.float32) * [0, 1, 1, 0.3, 0.3] for _ in range(2)]
        images = rng.random((2, *model.input_shape), np.float32)
        yield model.train_step(images, [rows.astype(np.float32) for rows in truth])
        if number % 50 == 0:
            yield model.forward(images[:1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs: dict[str, Callable[[np.random.Generator], Iterator[object]]] = {
        "pictures": pictures, "frames": frames, "iterations": iterations,
    }  # fmt: skip
    for name, count in zip(runs, (10_000, 10_000, 5_000), strict=True):
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N")
    wanted = vars(parser.parse_args())
    results = [watch(name, wanted[name], run(np.random.default_rng(0))) for name, run in runs.items() if wanted[name]]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
