"""The facts of a bug report: complete, as text and as JSON, and with what is wrong."""

import copy
import json

import pytest

from pydarknet.runtime.cache import LEVELS, Processor
from pydarknet.tools import doctor
from pydarknet.tools.doctor import diagnose, lines, problems, processor


@pytest.fixture(scope="module")
def facts():
    return diagnose()


def test_facts_fit_into_json_and_into_lines(facts):
    assert json.loads(json.dumps(facts)) == facts
    text = "\n".join(lines(facts))
    for wanted in (facts["packages"]["numpy"], facts["kernels"]["folder"], facts["processor"]["name"], "JPEG"):
        assert wanted in text
    assert facts["kernels"]["code"] in ("saved machine code", "Numba")
    assert "onnx" in facts["packages"] and any(name.startswith("opencv") for name in facts["packages"])


def test_the_processor_is_described(monkeypatch):
    cpu = Processor("x86_64", "some processor", frozenset().union(*LEVELS.values(), {"avx512_bf16"}), "its identity")
    monkeypatch.setattr(doctor.runtime_cache, "processor", lambda: cpu)
    facts = processor()
    assert (facts["level"], facts["name"], facts["bf16"]) == ("x86-64-v4", "some processor", True)


def test_a_system_without_cpuinfo_has_no_level(monkeypatch):
    monkeypatch.setattr(doctor.runtime_cache, "processor", lambda: Processor("x86_64", "", frozenset(), ""))
    assert processor()["level"] is None


def test_shipped_code_is_named(facts):
    """This checkout has none; what a wheel says is in tests/release."""
    assert facts["kernels"]["shipped"] is None
    text = "\n".join(lines(facts | {"kernels": facts["kernels"] | {"shipped": "x86-64-v3", "is_cold": True}}))
    assert "x86-64-v3" in text
    assert "no kernel is compiled yet" not in text


@pytest.mark.parametrize("path, value, expected", [
    (("processor", "level"), "x86-64-v2", "without AVX2"),
    (("kernels", "writable"), False, "set NUMBA_CACHE_DIR"),
    (("kernels", "numba_is_known"), False, "version of Numba is unknown"),
    (("opencv", "video"), {"FFMPEG": False}, "cannot read video"),
    (("opencv", "pictures"), {"JPEG": False, "PNG": True}, "cannot read JPEG"),
    (("packages", "llvmlite"), None, "llvmlite has no version"),
    (("packages", "opencv-python-headless"), "4.9", "several packages of OpenCV"),
])  # fmt: skip
def test_what_is_wrong_is_said(facts, path, value, expected):
    changed = copy.deepcopy(facts)
    changed["packages"].setdefault("opencv-python", "4.9")
    before = list(problems(changed))
    changed[path[0]][path[1]] = value
    (problem,) = [each for each in problems(changed) if each not in before]
    assert expected in problem
    assert any(expected in line for line in lines(changed | {"problems": [problem]}))
