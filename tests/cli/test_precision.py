"""`--precision`: taken by commands that compute, refused by those that train and where the processor cannot."""

import os

import pytest
from support.processes import process

from pydarknet.kernels.convolution import bf16

needs_bf16 = pytest.mark.skipif(bool(bf16.MISSING), reason=f"this processor has no {' and no '.join(bf16.MISSING)}")


@pytest.mark.slow
@needs_bf16
def test_as_a_process(run, classifier, detector):
    result = process("speed", classifier.cfg, "2", "-precision", "bf16")
    assert (result.returncode, result.stderr) == (0, "")
    for files, command in ((classifier, "classify"), (detector, "detect")):
        words = command, files.cfg, files.weights, "dog.png", "--names", files.names
        rounded, exact = process(*words, "--precision", "bf16"), run(*words, "--precision", "float32")
        assert rounded.returncode == exact.exit_code == 0, rounded.stderr
        assert [line for line in rounded.stdout.splitlines() if "Predicted" not in line] == [
            line for line in exact.stdout.splitlines() if "Predicted" not in line
        ]


@pytest.mark.slow
def test_a_processor_without_it_ends_in_one_line(classifier):
    """A process whose Numba shall compile for any processor."""
    result = process(
        "speed", classifier.cfg, "2", "--precision", "bf16", env=os.environ | {"NUMBA_CPU_NAME": "generic"}
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "precision bf16: needs a processor with AVX-512 BF16; this one (generic) is without avx512f and avx512bf16\n"
    )


def test_another_precision_is_a_usage_error(run, classifier):
    result = run("speed", classifier.cfg, "--precision", "fp16")
    assert result.exit_code == 2
    assert "'fp16' is not one of 'float32', 'bf16'" in result.stderr


@pytest.mark.parametrize("words", [
    ("train", "any.data", "any.cfg"), ("detector", "train", "any.data", "any.cfg"),
    ("classifier", "train", "any.data", "any.cfg"), ("rnn", "train", "any.cfg", "-file", "text"),
])  # fmt: skip
def test_training_refuses_it(run, words):
    result = run(*words, "--precision", "bf16")
    assert result.exit_code == 1
    assert result.stderr.endswith("--precision bf16: training is always in float32\n")


def test_the_help_tells_what_it_needs(run):
    assert "--precision [float32|bf16|int8]" in run("detect", "--help").stdout
