"""Command lines with words replaced, added, left out and damaged, in a folder of small files.

What trains, times or plays for long is ended by Ctrl-C after a second of computing.
"""

import contextlib
import functools
import io
import os
import signal
import struct
from collections.abc import Callable, Iterator

import numpy as np

from fuzz.examples import SMALL_CFG, YOLO, file, picture_set, video
from fuzz.mutate import mutated
from pydarknet.runtime.object_loader import free_compiler

TRAINED_CFG = (
    """[net]
width=16
height=16
channels=3
batch=2
subdivisions=1
learning_rate=0.001
max_batches=2
[convolutional]
filters=14
size=3
stride=4
pad=1
activation=linear
"""
    + YOLO
)
TEXT_CFG = """[net]
batch=2
subdivisions=1
time_steps=4
inputs=256
learning_rate=0.01
max_batches=2
[rnn]
output=8
hidden=8
[connected]
output=256
activation=linear
[softmax]
[cost]
type=sse
"""
WORDS = tuple(
    f"""detect detector test valid map classify classifier predict anchors cfg check dataset convert info ops evaluate
    train speed demo rnn generate yolo coco recall version doctor
    export partial --help --names -thresh --thresh -i 0 -1 nan 1e999 {"9" * 30} -- - = net.cfg net.weights a.png
    trained.cfg trained.weights text.cfg text.weights text.txt x.avi obj.data train.txt nothing . / \u00e9
    --dialect alexeyab pjreddie --to coco --out out -out --threads -points -letter_box -dont_show -ext_output
    -num_of_clusters 5 -width 416 -height --max-batches 2 --resume -map -patience -clear -min_size -topk --layers
    --batch -avgframes -out_filename new.avi -prefix -json_file_output -fps_lim -time_limit_sec -benchmark
    -dontdraw_bbox -file -tokenized -len 20 -temp .5 -srand -seed --save-every 1 --backup --precision bf16
    --tune -verbose""".split()
)
SECONDS = 1.0  # of computing, after which Ctrl-C is pressed


def seeds() -> list[bytes]:
    """Good command lines: words parted by NUL."""
    lines = """detect net.cfg net.weights a.png|info net.cfg|ops net.cfg|dataset check obj.data|cfg check net.cfg
|dataset convert train.txt --to coco --out out|anchors train.txt -num_of_clusters 2 -width 32 -height 32
|detector calc_anchors obj.data -num_of_clusters 2 -width 32 -height 32|speed net.cfg 3|speed trained.cfg 3 --layers
|detect trained.cfg trained.weights a.png -thresh .1 -out result.json
|detector map obj.data trained.cfg trained.weights|detector valid obj.data trained.cfg trained.weights -out o
|detector demo obj.data trained.cfg trained.weights x.avi -dont_show -out_filename new.avi -thresh .1
|train obj.data trained.cfg --max-batches 2 --no-chart|detector train obj.data trained.cfg trained.weights -clear -map
|rnn train text.cfg -file text.txt --no-chart|rnn generate text.cfg text.weights -len 5 -seed a"""
    return [b"\0".join(line.encode().split()) for line in lines.split("|")]


def other_words(content: bytes, rng: np.random.Generator) -> bytes:
    """A command line with words replaced, added and left out, and now and then damaged."""
    words = content.split(b"\0")
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(words) + 1))
        word = [*WORDS, "", " ", "9" * 30][int(rng.integers(len(WORDS) + 3))].encode()
        words[at : at + int(rng.integers(2))] = [
            mutated(word, rng, 1).replace(b"\0", b"") if rng.random() < 0.2 else word
        ]
        if rng.random() < 0.2:
            del words[int(rng.integers(len(words)))]
    return b"\0".join(words)


def prepare() -> None:
    """Compile what the good command lines need, with as much time as that takes."""
    for line in seeds():
        run(line, contextlib.nullcontext)


def run(content: bytes, ends: Callable[[], contextlib.AbstractContextManager[None]] | None = None) -> None:
    """Run the command of a line in this process. ends: what ends it after a while, `_interrupted` by default."""
    from pydarknet.cli.app import pydarknet

    _files()
    words = [word.decode("utf-8", "surrogateescape") for word in content.split(b"\0")]
    if {"serve", "live"} & set(words):
        return  # what waits for clients has tests of its own
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        try:
            with (ends or _interrupted)():
                pydarknet(words, prog_name="pydarknet")
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int), f"exit {end.code}"
    assert "Traceback" not in errors.getvalue(), errors.getvalue()[-300:]


def _files() -> None:
    picture_set()
    rng = np.random.default_rng(0)
    file("obj.data", b"classes=2\ntrain=train.txt\nvalid=train.txt\nnames=obj.names\nbackup=backup\n")
    file("net.cfg", SMALL_CFG.encode())
    file("trained.cfg", TRAINED_CFG.encode())
    file("text.cfg", TEXT_CFG.encode())
    file("text.txt", b"To be, or not to be, that is the question. " * 4)
    file("x.avi", _video())
    for name, count in (("trained", 14 + 14 * 27), ("text", 8 * (256 + 8 + 8 + 3) + 256 * 9)):
        numbers = rng.standard_normal(count).astype(np.float32)
        file(f"{name}.weights", struct.pack("<iiiQ", 0, 2, 5, 0) + numbers.tobytes())
    os.environ.pop("DISPLAY", None)  # no windows


_video = functools.cache(video)


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C after SECONDS of computing, and again after half of them each.

    A process that a shell has started in the background ignores Ctrl-C: here it does not.
    """
    interrupts = signal.signal(signal.SIGINT, signal.default_int_handler)
    former = signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, SECONDS / 2)
    try:
        yield
    except KeyboardInterrupt:  # it came after the command
        pass
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)
        signal.signal(signal.SIGINT, interrupts)
        free_compiler()  # a program would have ended
