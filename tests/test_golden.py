"""The recorded inference cases of the original programs: each layer, summaries, boxes before and after suppression.

tests/golden holds a choice of them, which always runs; all of them run where they lie beside the repository.
"""

import json

import numpy as np
import pytest
from support.files import recorded_cases, recorded_parameters

from pydarknet.boxes import suppress
from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.inference.detector import decode, heads_of
from pydarknet.network.network import Network

CASES = recorded_parameters(kind="infer")
WITH_DETECTIONS = [case for case in CASES if case.values[0].get("detections")]
WITH_TOP5 = [case for case in CASES if case.values[0].get("top5")]


def test_there_are_recorded_cases_of_both_programs():
    assert {case["dialect"] for case in recorded_cases()} == {"pjreddie", "alexeyab"}
    assert len(CASES) > 40 and WITH_DETECTIONS


def network_of(case):
    """The loaded network of a case."""
    folder = case["folder"]
    config = read_config(folder / "net.cfg")
    network = Network(config, choose_dialect(case["dialect"], config))
    network.load_weights(folder / case.get("weights", "net.weights"))
    return network


def input_of(case):
    return np.load(case["folder"] / case.get("input", "input.npy"))


def check_layers(case, expected, outputs, prefix, item=0):
    """Compare all recorded layers whose names begin with `prefix`; returns how many there were."""
    tolerance, count = max(1e-4, 3 * case.get("sensitivity", 0)), 0
    for index, output in enumerate(outputs):
        name = f"{prefix}layer_{index:03d}"
        if name not in expected:
            continue
        found, wanted = output[item].ravel(), expected[name].ravel()
        assert found.shape == wanted.shape, f"layer {index}"
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        assert error <= tolerance, f"layer {index} [{case['layers'][index]}] is off by {error:.1e} of its largest value"
        count += 1
    return count


@pytest.mark.parametrize("case", CASES)
def test_every_layer_is_within_tolerance(case):
    network, x = network_of(case), input_of(case)
    with np.load(case["folder"] / "expected.npz") as archive:
        expected, compared = dict(archive), 0
    if case["frames"] > 1:
        for frame in range(case["frames"]):
            outputs = network.layer_outputs(x[frame : frame + 1])
            compared += check_layers(case, expected, outputs, f"f{frame}_" if frame else "")
    else:
        outputs = network.layer_outputs(x)
        for item in range(case["batch"]):
            compared += check_layers(case, expected, outputs, f"b{item}_" if item else "", item)
    assert compared == len(expected)
    if case.get("partial"):
        check_summary(case, outputs)


def check_summary(case, outputs):
    """Number of values, length and first values of every layer of a case that holds only some layers in full."""
    summary = json.loads((case["folder"] / "summary.json").read_text(encoding="utf-8"))
    assert len(summary) >= len(outputs) - 1
    for entry in summary:
        output = outputs[entry["layer"]][0].ravel().astype(np.float64)
        length = np.sqrt(np.square(output).sum())
        first = np.array(entry.get("first8") or entry["first4"])
        assert output.size == entry["count"]
        assert abs(length - entry["l2"]) <= 1e-4 * entry["l2"], f"length of layer {entry['layer']}"
        assert np.abs(output[: len(first)] - first).max() <= 1e-4 * np.abs(output).max(), f"layer {entry['layer']}"


@pytest.mark.parametrize("case", WITH_TOP5)
def test_the_best_classes_are_those_of_the_original(case):
    network = network_of(case)
    probabilities = network.forward(input_of(case))[0][0].ravel()
    best = np.argsort(-probabilities, kind="stable")[:5]
    assert best.tolist() == [number for number, _ in case["top5"]]
    np.testing.assert_allclose(probabilities[best], [value for _, value in case["top5"]], atol=1e-5)


def described(candidates):
    """The candidates with at least one class, as the recording describes them."""
    uncertainty = candidates.uncertainty
    return [
        {
            "box": box.tolist(),
            "objectness": float(objectness),
            "prob": {str(c): float(probabilities[c]) for c in np.flatnonzero(probabilities > 0)},
            **({} if uncertainty is None else {"uncertainty": uncertainty[index].tolist()}),
        }
        for index, (box, objectness, probabilities) in enumerate(
            zip(candidates.boxes, candidates.objectness, candidates.probabilities, strict=True)
        )
        if (probabilities > 0).any()
    ]


def flattened(candidates):
    """One entry for each box and class."""
    return [
        {"class": int(c), "prob": float(candidates.probabilities[index, c]), "box": candidates.boxes[index].tolist()}
        for index, c in np.argwhere(candidates.probabilities > 0)
    ]


def numbers(entry):
    """All numbers of one entry in a fixed order; the classes are compared apart."""
    values = [*entry["box"], entry.get("objectness", 0), *entry.get("uncertainty", [])]
    return np.array(
        [*values, *([entry["prob"]] if "class" in entry else [p for _, p in sorted(entry["prob"].items())])]
    )


def same(a, b):
    """Whether two entries have the same classes, and numbers equal to 1e-4."""
    if a.get("class") != b.get("class") or ("class" not in a and a["prob"].keys() != b["prob"].keys()):
        return False
    x, y = numbers(a), numbers(b)
    return x.shape == y.shape and bool((np.abs(x - y) <= 1e-4 * np.maximum(1, np.abs(y))).all())


def assert_same_set(found, expected):
    assert len(found) == len(expected)
    left = list(found)
    for entry in expected:
        match = next((candidate for candidate in left if same(candidate, entry)), None)
        assert match is not None, f"no match for {entry}"
        left.remove(match)


@pytest.mark.parametrize("case", WITH_DETECTIONS)
def test_boxes_are_those_of_the_original(case):
    network = network_of(case)
    network.forward(input_of(case))
    last = heads_of(network)[-1]
    runs = json.loads((case["folder"] / "detections.json").read_text(encoding="utf-8"))
    assert runs
    for run in runs:
        letterbox = True if case["dialect"] == "pjreddie" else bool(run["letter"])
        before = decode(network, 0, run["imw"], run["imh"], run["thresh"], run["hier"], letterbox)
        after = suppress(before, run["nms"], last.nms_kind, last.beta_nms)
        if "detections" in run:
            assert_same_set(flattened(after), run["detections"])
        else:
            assert_same_set(described(before), run["before_nms"])
            assert_same_set(described(after), run["after_nms"])


def test_the_comparison_of_boxes_can_fail():
    entry = {"box": [0.1, 0.2, 0.3, 0.4], "objectness": 0.5, "prob": {"1": 0.6}}
    assert_same_set([entry], [entry])
    for changed in (
        {"objectness": 0.5003},
        {"prob": {"2": 0.6}},
        {"prob": {"1": 0.6, "2": 0.1}},
        {"box": [0.1, 0.2, 0.3, 0.5]},
    ):
        with pytest.raises(AssertionError):
            assert_same_set([{**entry, **changed}], [entry])
    with pytest.raises(AssertionError):
        assert_same_set([entry], [entry, entry])
