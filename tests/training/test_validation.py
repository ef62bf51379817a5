"""What is measured while a network learns: when, of which parameters, and that learning does not notice."""

import json

import numpy as np
import pytest
from support.training_files import classification_files, detection_files

import pydarknet
from pydarknet.config.sections import read_data
from pydarknet.errors import DataError
from pydarknet.evaluation import GroundTruth, evaluate
from pydarknet.images.image import load_image
from pydarknet.inference.classifier import classify
from pydarknet.training import validation
from pydarknet.training.checkpoint import newest
from pydarknet.training.setup import MeasuringOptions as Options
from pydarknet.training.trainer import Trainer, train
from pydarknet.training.validation import Accuracy, AveragePrecision, Validator

pytestmark = pytest.mark.usefixtures("empty_charts")

OFTEN = {"measure": True, "measuring": Options(epochs=1, thresh=0.1, iou_thresh=0.3)}


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    """Every second iteration of the small set."""
    monkeypatch.setattr(validation, "LEAST_INTERVAL", 2)


@pytest.fixture
def files(tmp_path):
    return detection_files(tmp_path, learning_rate=0.01)


def journal(files):
    return [json.loads(line) for line in (files.folder / "train.jsonl").read_text().splitlines()]


class Counter:
    """Stands for an metric; gives the values one after another."""

    kind = "map"

    def __init__(self, values=()):
        self.values = iter(values)

    def next(self, last, interval, burn_in):
        return max(last + interval, burn_in)

    def run(self, network):
        return validation.Measurement("map", next(self.values))


@pytest.mark.parametrize(
    ("epochs", "pictures", "batch", "expected"), [(4, 292, 16, 100), (4, 5000, 64, 312), (1, 5000, 10, 500)]
)
def test_the_interval_of_map(monkeypatch, files, epochs, pictures, batch, expected):
    monkeypatch.undo()
    model = pydarknet.load(files.cfg)
    metric = AveragePrecision(model, read_data(files.data), Options(epochs=epochs), 1)
    assert metric.interval(pictures, batch) == expected
    assert metric.next(50, expected, 1000) == 1000
    assert metric.next(2000, expected, 1000) == 2000 + expected


def test_the_interval_of_accuracy(monkeypatch, tmp_path):
    monkeypatch.undo()
    files = classification_files(tmp_path)
    metric = Accuracy(read_data(files.data), ["/a", "/b"], 1)
    assert metric.interval(1000, 16) == 125
    assert [metric.next(last, 125, 30) for last in (0, 900)] == [125, 1025]
    assert metric.next(0, 20, 30) == 100
    assert metric.next(0, 20, 500) == 500


def test_the_best_one_so_far(files):
    measured = Validator(pydarknet.load(files.cfg), Counter([0.5, 0.3, 0.5, 0.6]), 10, 0)
    assert measured.next == 10
    found = [measured.measure(iteration) for iteration in (10, 20, 30, 40)]
    assert [m.is_best for m in found] == [True, False, True, True]
    assert [m.best for m in found] == [0.5, 0.5, 0.5, 0.6]
    assert measured.next == 50
    other = Validator(pydarknet.load(files.cfg), Counter(), 10, 0)
    other.load_state_dict(measured.state_dict())
    assert (other.next, other.value, other.best) == (50, 0.6, 0.6)


def test_a_run_is_measured_with_the_parameters_of_that_moment(files):
    found, parameters = {}, {}
    run = Trainer(files.data, files.cfg, **OFTEN)
    for record in run.run():
        if record.measurement:
            found[record.iteration] = record.measurement
            run.model.save_weights(files.folder / f"at_{record.iteration}.weights")
            parameters[record.iteration] = files.folder / f"at_{record.iteration}.weights"
    assert list(found) == [3, 5, 7, 9, 11, 12]  # burn_in is 3; the last iteration always
    truth = GroundTruth.read(files.folder.parent / "train.txt", 2)
    for iteration, measurement in found.items():
        network = pydarknet.load(files.cfg, parameters[iteration])
        expected = evaluate(network, truth, thresh=0.1, iou_thresh=0.3).report
        assert measurement.value == expected.mean_average_precision
        assert measurement.report.tp == expected.tp
    assert {e["iteration"]: e["map"] for e in journal(files) if "map" in e} == {i: m.value for i, m in found.items()}


def test_learning_does_not_notice(files, tmp_path):
    list(train(files.data, files.cfg, backup=tmp_path / "plain"))
    list(train(files.data, files.cfg, **OFTEN))
    both = [(folder / "net_final.weights").read_bytes() for folder in (tmp_path / "plain", files.folder)]
    assert both[0] == both[1]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"adam": 1}, {"adam": 1, "max_batches": 1010, "ema_alpha": 0.5}])
def test_going_on_gives_the_same_weights_and_figures(tmp_path, options, monkeypatch):
    if "ema_alpha" in options:
        monkeypatch.setattr("pydarknet.training.optimizer.UPDATES_AFTER", 1000)
    files = detection_files(tmp_path, **{"max_batches": 12, **options})
    if "ema_alpha" in options:
        # Only the last iterations: weights that have seen 1000 of them.
        model = pydarknet.load(files.cfg, dialect="alexeyab")
        model.header = model.header.__class__(0, 2, 5, 4 * 998)
        model.save_weights(tmp_path / "start.weights")
        weights, first = tmp_path / "start.weights", 998
    else:
        weights, first = None, 0
    common = {"dialect": "alexeyab", **OFTEN}
    list(train(files.data, files.cfg, weights, backup=tmp_path / "undisturbed", **common))
    for stop_at in (first + 2, first + 5, first + 6):
        run = Trainer(files.data, files.cfg, weights, resume=True, **common)
        for record in run.run():
            if record.iteration == stop_at:
                run.stop()
    run = Trainer(files.data, files.cfg, weights, resume=True, **common)
    list(run.run())
    for name in ("net_final.weights", "net_best.weights", "net_best.json"):
        assert (files.folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    expected = [json.loads(line) for line in (tmp_path / "undisturbed/train.jsonl").read_text().splitlines()]
    timeless = [
        [{k: v for k, v in entry.items() if "seconds" not in k} for entry in entries]
        for entries in (expected, journal(files))
    ]
    assert timeless[0] == timeless[1]
    assert sum("map" in entry for entry in timeless[0]) >= 5


def test_going_on_without_measuring_keeps_what_was_measured(files):
    list(train(files.data, files.cfg, max_batches=6, **OFTEN))
    before = newest(files.folder, "net").progress.hooks["validation"]
    assert before["last"] == 6
    list(train(files.data, files.cfg, max_batches=7, resume=True))
    assert newest(files.folder, "net").progress.hooks["validation"] == before


def test_the_accuracy_of_a_classifier(tmp_path):
    files = classification_files(tmp_path)
    files.data.write_text(files.data.read_text() + "top=1\n")
    run = Trainer(files.data, files.cfg, measure=True)
    records = list(run.run())
    (value,) = [r.measurement.value for r in records if r.iteration == 12]
    network = pydarknet.load(files.cfg, files.folder / "net.weights")
    paths = (tmp_path / "train.txt").read_text().split()
    hits = 0
    for path in paths:
        (best,) = classify(network, load_image(path), ["/a", "/b"], 1, "crop").predictions
        hits += best.name in path
    assert value == hits / len(paths)
    assert {e["iteration"] for e in journal(files) if "accuracy" in e} == {5, 10, 12}


def test_a_picture_that_cannot_be_read_is_not_recognised(tmp_path, warnings):
    files = classification_files(tmp_path)
    (tmp_path / "valid.txt").write_text(f"{tmp_path}/data/a0.png\n{tmp_path}/data/a2.png\n")
    (tmp_path / "data/a0.png").write_bytes(b"")
    files.data.write_text(files.data.read_text() + f"valid={tmp_path}/valid.txt\ntop=2\n")
    metric = Accuracy(read_data(files.data), ["/a", "/b"], 1)
    assert metric.run(pydarknet.load(files.cfg)).value == 0.5
    assert "it counts as a wrong answer" in warnings()[-1]


def test_names_that_do_not_fit_are_an_error_at_once(files):
    (files.folder.parent / "names").write_text("one\ntwo\nthree\n")
    with pytest.raises(DataError, match="3 names; expected 2"):
        Trainer(files.data, files.cfg, **OFTEN)


def test_a_list_that_is_not_there_is_an_error_at_once(files):
    files.data.write_text(files.data.read_text() + "valid=nowhere.txt\n")
    with pytest.raises(DataError, match=r"Couldn't open file: nowhere\.txt"):
        Trainer(files.data, files.cfg, **OFTEN)


def test_the_twin_has_the_cfgs_size(tmp_path):
    files = detection_files(tmp_path, random="1", max_batches=2)
    sizes = []
    run = Trainer(files.data, files.cfg, dialect="alexeyab", **OFTEN)
    examine = run.validator.metric.run
    run.validator.metric.run = lambda network: sizes.append(network.input_shape) or examine(network)
    assert [r.width for r in run.run()] == [64, 64]
    assert sizes == [(3, 32, 32)]
    assert np.isfinite(run.validator.value)
