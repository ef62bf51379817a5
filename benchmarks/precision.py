"""Times and outputs of `--precision bf16` or `int8` beside those of float32.

    python benchmarks/precision.py [--precision int8] [--networks NAME[:SIZE] ...]
    python benchmarks/precision.py --trained CFG WEIGHTS IMAGE...

The first form takes networks with random weights and random pixels, the second a trained one and pictures.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from networks import SIZES, chosen, find_cfg, random_network, rounded_network
from report import table
from turns import take_turns, timed, warn_of_load

import pydarknet
from pydarknet.boxes import Box, Detection
from pydarknet.layers.convolution.direct import ConvertedConvolution
from pydarknet.utils.arrays import Array

FLOAT32 = "float32"


def difference(found: Sequence[Array | None], expected: Sequence[Array | None]) -> float:
    """The largest difference of any layer's output, relative to the layer's largest value."""
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None and b is not None]
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def compared(name: str, size: int, repeats: int, threads: int | None, precision: str) -> list[str] | None:
    """The table row of one network; None if its file is not found."""
    cfg = find_cfg(name)
    if cfg is None:
        print(f"{name}: left out, no {name}.cfg found", file=sys.stderr)
        return None
    exact_network = random_network(cfg, size, threads)
    x = np.random.default_rng(1).random((1, *exact_network.input_shape), np.float32)
    networks = [exact_network, rounded_network(cfg, size, threads, precision, [x])]
    expected, found = (network.layer_outputs(x) for network in networks)
    anywhere, last = difference(found, expected), difference(found[-1:], expected[-1:])
    del expected, found
    for network in networks:
        network.forward(x)
    convolutions = [layer for layer in networks[1].layers if layer.kind == "convolutional"]
    rounded = sum(isinstance(layer._packed, ConvertedConvolution) for layer in convolutions)  # type: ignore[attr-defined]
    exact, fast = take_turns([timed(lambda net=network: net.forward(x)) for network in networks], repeats)
    return [
        f"{cfg.stem} {size}", f"{rounded} of {len(convolutions)}", f"{1000 * exact:.2f}", f"{1000 * fast:.2f}",
        f"{exact / fast:.2f}", f"{anywhere:.1e}", f"{last:.1e}",
    ]  # fmt: skip


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.w * a.h + b.w * b.h - shared)


def objects_line(found: Sequence[Detection], expected: Sequence[Detection]) -> str:
    """One line: how the objects in a picture change."""
    left, overlaps, changes = list(found), [], []
    for right in expected:
        same = [mine for mine in left if mine.class_id == right.class_id]
        if same:
            mine = max(same, key=lambda candidate: overlap(candidate.box, right.box))
            left.remove(mine)
            overlaps.append(overlap(mine.box, right.box))
            changes.append(abs(mine.confidence - right.confidence))
    text = f"{len(overlaps)} of {len(expected)} objects found again, {len(left)} others"
    if overlaps:
        text += f"; lowest IoU {min(overlaps):.3f}, probabilities within {100 * max(changes):.2f} points"
    return text


def classes_line(found: Sequence[tuple[str, float]], expected: Sequence[tuple[str, float]]) -> str:
    """One line: how a picture's class probabilities change, the best ones first."""
    names, right = ([name for name, _ in all_[:5]] for all_ in (found, expected))
    best = "the same class" if names[0] == right[0] else f"{names[0]} instead of {right[0]}"
    order = "the same order" if names == right else "another order"
    mine = dict(found)
    change = max(abs(mine[name] - probability) for name, probability in expected)
    return f"{best}, the five best in {order}, probabilities within {100 * change:.2f} points"


def show_trained(cfg: str, weights: str, images: Sequence[str], precision: str) -> None:
    """One line for each picture."""
    exact, fast = (pydarknet.load(cfg, weights, precision=each) for each in (FLOAT32, precision))
    for image in images:
        if exact.heads:
            line = objects_line(fast.detect(image), exact.detect(image))
        else:
            line = classes_line(*(network.classify(image, network.classes) for network in (fast, exact)))
        print(f"{Path(weights).name}, {Path(image).name}: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares another precision with float32.")
    parser.add_argument("--precision", choices=("bf16", "int8"), default="bf16")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME[:SIZE]",
                        help=f"network files, by name or path (default: {', '.join(SIZES)})")  # fmt: skip
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each precision (default 7)")
    parser.add_argument("--trained", nargs="+", metavar="FILE", help="cfg, weights and pictures to compare instead")
    options = parser.parse_args()
    try:
        if options.trained:
            if len(options.trained) < 3:
                parser.error("--trained: expected a cfg, a weights file and pictures")
            show_trained(*options.trained[:2], options.trained[2:], options.precision)
            return
        warn_of_load()
        how = options.repeats, options.threads, options.precision
        rows = [compared(*item, *how) for item in chosen(options.networks, SIZES).items()]
    except pydarknet.DarknetError as error:
        raise SystemExit(str(error)) from None
    head = [
        "network",
        "rounded",
        "float32",
        options.precision,
        f"float32 / {options.precision}",
        "largest difference",
        "of the output",
    ]
    print(table(head, [row for row in rows if row is not None]))


if __name__ == "__main__":
    main()
