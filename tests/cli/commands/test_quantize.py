"""`quantize`, and what other commands do with its file."""

import shutil
from importlib import import_module

import pytest

from pydarknet.kernels.convolution.int8 import MISSING
from pydarknet.utils.resources import bundled

needs_vnni = pytest.mark.skipif(bool(MISSING), reason=f"this processor has no {' and no '.join(MISSING)}")


@needs_vnni
def test_from_pictures_to_boxes(run, tmp_path):
    weights = tmp_path / "toys.weights"
    shutil.copy(bundled("data/toys.weights"), weights)
    before, sample = weights.read_bytes(), str(bundled("data/sample.jpg"))
    made = run("quantize", "toys.cfg", str(weights), sample)
    assert made.exit_code == 0
    assert made.stdout.splitlines()[0].startswith("8 bits: 1")
    assert made.stdout.splitlines()[2] == "9 of 9 objects are found again"
    assert weights.read_bytes() == before
    found = run("detect", "toys.cfg", str(weights), sample, "--precision", "int8", "--no-picture")
    assert len(found.stdout.splitlines()) == 10
    other = tmp_path / "other.json"
    (tmp_path / "toys.int8").rename(other)
    missing = run("detect", "toys.cfg", str(weights), sample, "--precision", "int8", "--no-picture")
    assert missing.exit_code == 1
    assert missing.stderr.splitlines()[-1].startswith(f"{tmp_path / 'toys.int8'}: not found")
    detect = "detect", "toys.cfg", str(weights), sample, "--no-picture", "--quantized", str(other)
    assert run(*detect, "--precision", "int8").stdout.splitlines()[1:] == found.stdout.splitlines()[1:]
    assert run(*detect).stderr.splitlines() == ["--quantized has no effect without --precision int8"]
    assert run("speed", "toys.cfg", "1", "--precision", "int8").exit_code == 0


@needs_vnni
def test_inputs_that_cannot_be_used_are_one_line(run, tmp_path):
    weights = str(bundled("data/toys.weights"))
    absent = run("quantize", "toys.cfg", weights, "nothing.jpg", "-o", str(tmp_path / "x"))
    assert (absent.exit_code, len(absent.stderr.splitlines())) == (1, 1)
    same = run("quantize", "toys.cfg", weights, "nothing.jpg", "-o", weights)
    assert "is the weights file; expected another name" in same.stderr
    (tmp_path / "there").touch()  # where the weights file has only a bundled one's name
    bare = run("quantize", "toys.cfg", "toys.weights", "nothing.jpg", "-o", str(tmp_path / "there"))
    assert (bare.exit_code, len(bare.stderr.splitlines())) == (1, 1)


def test_a_processor_without_8_bits_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setattr(import_module("pydarknet.kernels.convolution.int8"), "MISSING", ("avx512vnni",))
    weights, sample = str(bundled("data/toys.weights")), str(bundled("data/sample.jpg"))
    found = run("detect", "toys.cfg", weights, sample, "--precision", "int8", "--no-picture")
    assert (found.exit_code, len(found.stdout.splitlines())) == (0, 10)
    (line,) = found.stderr.splitlines()
    assert line.startswith("precision int8: needs a processor with AVX-512 VNNI")
    assert line.endswith("is without avx512vnni; computing in float32")
    refused = run("quantize", "toys.cfg", weights, sample, "-o", str(tmp_path / "x"), "--precision", "bf16")
    first, last = refused.stderr.splitlines()
    assert first == "--precision and --quantized have no effect on quantize"
    assert (refused.exit_code, last.endswith("is without avx512vnni")) == (1, True)
