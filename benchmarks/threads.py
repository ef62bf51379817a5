"""One network, called by four threads and by one: the same answers, in no more time?

    python benchmarks/threads.py [--calls 100] [--threads 4] [--rounds 7] [--cfg CFG --weights WEIGHTS] [--arrays]

Each round does all calls of `detect` from a pool of threads and one after another, in changing order, with the bytes of
picture files, as a service gets them; --arrays decodes them before the clock starts. The fastest round of each counts,
because everything else that the machine does only adds time. Wrong answers and the exit status 1 where the threads took
more than 2 % longer are what this is for. With arrays and a network of less than a millisecond, Python's own lock,
which goes from thread to thread in each pass, costs up to a tenth: that is stated only.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydarknet
from pydarknet.images.image import encode_image, load_image

ROOT = Path(__file__).resolve().parents[1]
MARGIN = 1.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100, help="of each thread")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cfg", default=ROOT / "cfg" / "toys.cfg")
    parser.add_argument("--weights", default=ROOT / "data" / "toys.weights")
    parser.add_argument("--arrays", action="store_true", help="pictures that are decoded already")
    options = parser.parse_args()
    net = pydarknet.load(options.cfg, options.weights)
    whole = load_image(ROOT / "data" / "sample.jpg")
    height, width = whole.shape[:2]
    parts = [whole, whole[:, ::-1].copy(), whole[: height // 2].copy(), whole[:, : width // 2].copy()]
    pictures = parts if options.arrays else [encode_image(part) for part in parts]
    expected = [repr(net.detect(picture).to_json()).partition("seconds")[2].partition(",")[2] for picture in pictures]
    work = [number % len(pictures) for number in range(options.calls * options.threads)]
    wrong = 0

    def call(number: int) -> bool:
        found = repr(net.detect(pictures[number]).to_json()).partition("seconds")[2].partition(",")[2]
        return found == expected[number]

    def in_turn() -> list[bool]:
        return list(map(call, work))

    def at_once() -> list[bool]:
        with ThreadPoolExecutor(options.threads) as pool:
            return list(pool.map(call, work))

    seconds: dict[Callable[[], list[bool]], list[float]] = {in_turn: [], at_once: []}
    for number in range(options.rounds):
        for run in (in_turn, at_once) if number % 2 else (at_once, in_turn):
            start = time.perf_counter()
            wrong += run().count(False)
            seconds[run].append(time.perf_counter() - start)
    one, many = (seconds[run] for run in (in_turn, at_once))
    print(f"{len(work)} calls, {options.rounds} rounds, {wrong} wrong answers")
    for name, each in (("one after another", one), (f"from {options.threads} threads", many)):
        print(f"{name:18} {min(each):.3f} s at best, {statistics.median(each):.3f} s in the middle")
    print(f"threads / one after another: {min(many) / min(one):.2f}")
    sys.exit(bool(wrong) or (not options.arrays and min(many) > MARGIN * min(one)))


if __name__ == "__main__":
    main()
