"""Times the engine beside other engines: forward passes, training, whole processes. `make bench` runs it.

How the times are taken: benchmarks/README.md.
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from file_to_box import FILE_HEAD, time_files
from forward import PRECISIONS, available, head, summary, time_network
from networks import ROOT, SIZES, TRAINED, chosen
from peers import ALL_PEERS, PEERS
from processes import time_processes, time_starts
from report import processor, table, versions
from train_step import HEAD, time_training
from turns import warn_of_load

RESULTS = ROOT / "benchmarks" / "results.md"


def program(path: str) -> str:
    """The absolute path of a program. Raises argparse's error where there is none."""
    if not os.access(path, os.X_OK) or Path(path).is_dir():
        raise argparse.ArgumentTypeError(f"{path}: no such program")
    return str(Path(path).resolve())


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times pydarknet beside its peers; writes benchmarks/results.md.")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME[:SIZE]",
                        help=f"network files to time, by name or path (default: {', '.join(SIZES)})")  # fmt: skip
    parser.add_argument("--peers", type=lambda text: [name for name in text.split(",") if name], metavar="A,B",
                        help=f"some of {', '.join(ALL_PEERS)} (default: all that are installed)")  # fmt: skip
    parser.add_argument("--darknet", metavar="PATH", type=program, default=os.environ.get("DARKNET_BINARY"),
                        help="AlexeyAB's C program, a peer too (default: $DARKNET_BINARY)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every engine (default: all)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each engine on each network (default 7)")
    parser.add_argument("--processes", type=int, default=5, help="runs of whole processes (default 5; 0: none)")
    parser.add_argument("--files", type=int, default=1000, metavar="N",
                        help="640x480 files to box, and N/10 of 12 megapixels (default 1000; 0: none)")  # fmt: skip
    parser.add_argument("--train", action="store_true", help="time training only, not inference and processes")
    parser.add_argument("--no-train", action="store_true", help="leave training out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the report (default benchmarks/results.md)")
    return parser.parse_args()


FLOAT32 = (
    "## Inference in float32\n\nMilliseconds for one picture. *fastest / ours*: above 1, ours is the fastest. "
    "*difference*: the largest between our outputs and a peer's, relative to the largest value; checked before timing."
)
BEST = (
    "## Inference at every engine's best precision\n\nAs above; engines round to bf16 or 8 bits where that is faster. "
    "*fastest / ours*: the fastest number of the peers, these and those in float32, by our fastest. *difference*: the "
    "largest of any engine, ours too, from float32."
)


def inference_part(options: argparse.Namespace, folder: Path, best: bool) -> list[str]:
    """The table of networks in float32, or at the best precision of every engine, with its caption."""
    peers = available(options.peers, options.darknet)
    if not best:
        peers = [peer for peer in peers if peer in PEERS]
    precisions = PRECISIONS if best else PRECISIONS[:1]
    rows = []
    for name, size in chosen(options.networks, SIZES).items():
        how = options.threads, options.repeats, folder, options.darknet
        row = time_network(name, size, peers, precisions, *how)
        if row is not None:
            print("  ".join(row.cells()), file=sys.stderr, flush=True)
            rows.append(row)
    return [BEST if best else FLOAT32, table(head(peers, precisions), [row.cells() for row in rows]), summary(rows)]


def training_part(options: argparse.Namespace, folder: Path) -> list[str]:
    """The table of training, with its caption."""
    rows = []
    for name, size in chosen(options.networks if options.train else [], TRAINED).items():
        row = time_training(name, size, options.threads, options.repeats, folder)
        if row is not None:
            print("  ".join(row), file=sys.stderr, flush=True)
            rows.append(row)
    caption = (
        "## Training\n\nMilliseconds an image of one iteration: forward, loss, backward, update; and the peak memory "
        "of a process that does it."
    )
    return [caption, table(HEAD, rows)]


FILES = (
    "## From file to box\n\nPictures per second, of JPEG files: decoding, resizing, the pass, suppression. *scaled*: "
    'with decode="scaled". *ours / fastest*: above 1, ours is the fastest.'
)
STARTS = (
    "## Start and memory\n\nA program that loads a network, computes one picture and ends: seconds from start to exit, "
    "and its peak memory. Kernels are compiled already; OpenVINO compiles anew each time."
)


def parts_of(options: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """The report, part by part."""
    if not options.train:
        yield inference_part(options, folder, best=False)
        if any(peer not in PEERS for peer in available(options.peers, options.darknet)):
            yield inference_part(options, folder, best=True)
        if options.files:
            yield [FILES, table(FILE_HEAD, time_files(folder, options.threads, options.files))]
        if options.processes:
            yield [STARTS, table(*time_starts(folder, options.threads, options.processes))]
            rows = time_processes(folder, options.threads, options.processes)
            yield ["## Whole processes", table(["command", "measured"], rows)]
    if not options.no_train:
        yield training_part(options, folder)


def main() -> None:
    options = read_arguments()
    warn_of_load()
    title = (
        f"# Benchmarks\n\n{processor()}, {options.threads} threads, medians.  \n{versions()}.  \n"
        f"`{shlex.join(['python', 'benchmarks/bench.py', *sys.argv[1:]])}`"
    )
    parts = [title]
    print(title + "\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        for part in parts_of(options, Path(name)):
            print("\n\n".join(part) + "\n", flush=True)
            parts += part
            options.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
