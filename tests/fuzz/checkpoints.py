"""Checkpoints: the state of a training run, damaged as a file, in an array, or in its text under a right checksum."""

import contextlib
import functools
import io
import zipfile
from pathlib import Path

import numpy as np

from fuzz.commands import TRAINED_CFG
from fuzz.examples import file, picture_set
from fuzz.mutate import mutated
from pydarknet.training.trainer import Trainer

STATE = "net.backup.state.npz"
# The second keeps parameters in the state too, because its weights do not hold them, and Adam's moments.
CFGS = (TRAINED_CFG, TRAINED_CFG.replace("stride=4", "stride=4\ndontsave=1").replace("batch=2", "batch=2\nadam=1"))


def seeds() -> list[bytes]:
    """The number of the network, and the state after its first iteration."""
    return [b"%d" % number + _trained(number)[STATE] for number in range(len(CFGS))]


@functools.cache
def _trained(number: int) -> dict[str, bytes]:
    """The checkpoint of a run that was stopped after its first iteration."""
    trainer = _trainer(number, save_every=1)
    with contextlib.closing(trainer.run()) as records:
        next(records)
    return {path.name: path.read_bytes() for path in Path("backup").iterdir() if path.name.startswith("net.backup")}


def _trainer(number: int, **options: object) -> Trainer:
    picture_set()
    data = file("obj.data", b"classes=2\ntrain=train.txt\nnames=obj.names\nbackup=backup\n")
    return Trainer(data, file("net.cfg", CFGS[number].encode()), chart=False, dialect="pjreddie", **options)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A state with other bytes, or with another array or text, which its checksum fits."""
    number, state = content[:1], content[1:]
    kind = int(rng.integers(3))
    if kind == 0:
        return number + mutated(state, rng)
    arrays = _arrays(state)
    name = "content" if kind == 1 else [*arrays][int(rng.integers(len(arrays)))]
    if name == "content":
        text = mutated(str(np.load(io.BytesIO(arrays[name]))).encode(), rng, 1)
        stream = io.BytesIO()
        np.save(stream, np.array(text.decode("utf-8", "replace")))
        arrays[name] = stream.getvalue()
    else:
        arrays[name] = mutated(arrays[name], rng, 1)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for each, data in arrays.items():
            archive.writestr(f"{each}.npy", data)
    return number + packed.getvalue()


def _arrays(state: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(state)) as archive:
        return {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}


def read(content: bytes) -> None:
    """Resume, and train for an iteration. What is restored has the shapes of what was saved."""
    number = int(content[:1])
    good = _trained(number)
    Path("backup").mkdir(exist_ok=True)
    for name, data in {**good, STATE: content[1:]}.items():
        file(f"backup/{name}", data)
    trainer = _trainer(number, resume=True)
    restored, saved = trainer.learner.state_dict(), _arrays(good[STATE])
    for name, array in restored.items():
        assert np.load(io.BytesIO(saved[name])).shape == array.shape
    with contextlib.closing(trainer.run()) as records:
        next(records, None)
