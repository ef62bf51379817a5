"""The facts of a bug report: complete, as text and as JSON, and with what is wrong."""

from __future__ import annotations

import copy
import json

import pytest

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


@pytest.mark.parametrize("missing, level", [
    (set(), "x86-64-v4"), ({"avx512dq"}, "x86-64-v3"), ({"avx2"}, "x86-64-v2"), ({"popcnt"}, "x86-64"),
])  # fmt: skip
def test_levels_follow_from_flags(monkeypatch, missing, level):
    flags = set().union(*doctor.LEVELS.values()) - missing
    monkeypatch.setattr(doctor, "_cpuinfo", lambda: ("some processor", flags))
    assert (processor()["level"], processor()["name"]) == (level, "some processor")


def test_a_system_without_cpuinfo_has_no_level(monkeypatch):
    monkeypatch.setattr(doctor, "_cpuinfo", lambda: ("", set()))
    assert processor()["level"] is None


@pytest.mark.parametrize("path, value, expected", [
    (("processor", "level"), "x86-64-v2", "without AVX2"),
    (("kernels", "writable"), False, "set NUMBA_CACHE_DIR"),
    (("kernels", "numba_is_known"), False, "version of Numba is not known"),
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
