"""Training on text: it learns, and a stopped run goes on bit for bit."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from support.text_files import LAYERS, cfg, words

import pydarknet
from pydarknet.errors import ConfigError, DataError, OptionError
from pydarknet.inference.text_generation import scores
from pydarknet.runtime.threads import set_threads, threads
from pydarknet.training.text_trainer import TextTrainer, train_text


@pytest.fixture
def files(tmp_path, monkeypatch, write_cfg):
    """Make a text and a cfg in an empty folder; their paths."""
    monkeypatch.chdir(tmp_path)

    def make(**options):
        (tmp_path / "text").write_bytes(words(400))
        return tmp_path / "text", write_cfg(cfg(**options))

    return make


@pytest.fixture(autouse=True)
def one_thread():
    """Layers of this size gain nothing from more."""
    before = threads()
    set_threads(1)
    yield
    set_threads(before)


learn = partial(train_text, chart=False)


def bigram_bits(learned, held_out):
    """Bits a character of the held-out text by the counts of pairs, with half a count for those never seen."""
    counts = np.full((128, 128), 0.5)
    np.add.at(counts, (list(learned[:-1]), list(learned[1:])), 1)
    used = sorted(set(learned))
    chances = counts[np.ix_(used, used)]
    chances /= chances.sum(axis=1, keepdims=True)
    at = {symbol: k for k, symbol in enumerate(used)}
    return -np.mean([math.log2(chances[at[a], at[b]]) for a, b in pairwise(held_out)])


@pytest.mark.slow
@pytest.mark.parametrize("kind, rate, iterations", [("lstm", 2.0, 100), ("gru", 2.0, 100), ("rnn", 0.3, 60)])
def test_held_out_text_is_foretold_better_than_by_pairs_of_letters(files, kind, rate, iterations):
    text, network = files(kind=kind, rate=rate, steps=8, max_batches=iterations)
    records = list(learn(text, network))
    assert records[-1].average < records[0].loss / 3
    held_out = words(60, seed=2)
    model = pydarknet.load(network, "backup/net_final.weights")
    bits = list(scores(model, b" ", held_out))[-1].bits
    assert bits < bigram_bits(text.read_bytes(), held_out)


@pytest.mark.parametrize("kind, dialect", [
    pytest.param(kind, dialect, marks=[] if kind == "rnn" else pytest.mark.slow)
    for kind, dialect in zip(LAYERS, ["pjreddie", "alexeyab"] * 2, strict=True)
])  # fmt: skip
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(files, kind, dialect, tmp_path):
    text, network = files(kind=kind, subdivisions=2, rate=0.1)
    options = {"seed": 3, "dialect": dialect}
    list(learn(text, network, backup="whole", **options))
    for stop_at in (4, 9):
        trainer = TextTrainer(text, network, chart=False, backup="parts", resume=True, **options)
        for record in trainer.run():
            if record.iteration == stop_at:
                trainer.stop()
        assert trainer.interrupted
        assert trainer.checkpointer.last_saved.name == "net.backup"
    records = list(learn(text, network, backup="parts", resume=True, dialect=dialect))
    assert [record.iteration for record in records] == [10, 11, 12]
    assert (tmp_path / "parts/net_final.weights").read_bytes() == (tmp_path / "whole/net_final.weights").read_bytes()


def test_records_count_symbols_and_losses(files):
    text, network = files(subdivisions=2)
    first, *_, last = learn(text, network, max_batches=3)
    assert (first.images, last.images) == (48, 144)
    assert first.loss == pytest.approx(math.log(128), rel=0.05)  # every symbol is as good as another at first


def test_names_and_times_of_checkpoints(files, tmp_path):
    text, network = files(rate=0.01, max_batches=25)
    saved = {dialect: [] for dialect in ("pjreddie", "alexeyab")}
    for dialect, names in saved.items():
        for record in learn(text, network, dialect=dialect, backup=dialect):
            names += [(record.iteration, path.name) for path in record.saved]
        assert (tmp_path / dialect / "net_final.weights").is_file()
    assert saved == {"pjreddie": [], "alexeyab": [(10, "net.backup"), (20, "net.backup")]}
    trainer = TextTrainer(text, network, chart=False, dialect="alexeyab")
    assert trainer.checkpointer.schedule.due(1000, 0) == ["net_1000.weights", "net.backup"]
    trainer = TextTrainer(text, network, chart=False, dialect="pjreddie", save_every=7)
    assert [n for n in range(1, 301) if trainer.checkpointer.schedule.due(n, 0)] == sorted(
        {*range(7, 301, 7), 100, 200, 300}
    )
    assert trainer.checkpointer.schedule.due(10000, 0) == ["net_10000.weights", "net.backup"]


def test_a_stream_that_jumps_forgets(files):
    text, network = files(kind="lstm")
    trainer = TextTrainer(text, network, chart=False)
    next(trainer.run())
    carried = trainer.model.layers[0].carried()
    assert np.abs(carried["hidden"]).min() > 0
    trainer.learner.forget(3)
    assert not carried["hidden"][3].any()
    assert not carried["cell"][3].any()
    assert carried["hidden"][2].any()
    trainer.source.close()


def test_tokenized_text(files, tmp_path):
    _, network = files(inputs=16)
    (tmp_path / "numbers").write_text("1 2 3 15 " * 50)
    records = list(learn(tmp_path / "numbers", network, tokenized=True))
    assert len(records) == 12


def test_what_does_not_fit(files, tmp_path):
    text, network = files(inputs=64)
    with pytest.raises(DataError, match="Bad char"):
        TextTrainer(text, network, chart=False)
    network.write_text(cfg(max_batches=0))
    with pytest.raises(ConfigError, match="max_batches is missing"):
        TextTrainer(text, network, chart=False)
    network.write_text(cfg().replace("output=128", "output=64"))
    with pytest.raises(OptionError, match="found 64 outputs and 128 inputs"):
        TextTrainer(text, network, chart=False)
    network.write_text(cfg())
    with pytest.raises(DataError, match="Couldn't open file"):
        TextTrainer(tmp_path / "nothing", network, chart=False)
