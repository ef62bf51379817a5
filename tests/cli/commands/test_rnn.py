"""`rnn train`, `generate`, `valid` and `vec`: what they print, and as processes."""

import re
import signal
import subprocess
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.processes import process, read_to, start
from support.text_files import cfg, words

import pydarknet
from pydarknet.runtime import compile_time

NUMBER = r"\d+\.\d{6}"
ITERATION = rf"(\d+): {NUMBER}, {NUMBER} avg, 0\.100000 rate, {NUMBER} seconds, {NUMBER} epochs"


@pytest.fixture(autouse=True)
def silent_compiler(monkeypatch):
    """No line says that kernels are compiled, as it would on a machine without them."""
    monkeypatch.setattr(compile_time, "listening", lambda listener: nullcontext())


@pytest.fixture
def files(folder):
    """net.cfg, its weights, and text."""
    Path("net.cfg").write_text(cfg(rate=0.1, inputs=256))
    Path("text").write_bytes(words(100))
    model = pydarknet.load("net.cfg", seed=4)
    model.save_weights("net.weights")
    return folder


@pytest.fixture
def alphabet(folder):
    """A network that predicts the successor of each symbol with probability 0.99, all others equally."""
    Path("next.cfg").write_text("[net]\ninputs=128\n[connected]\noutput=128\nactivation=linear\n[softmax]\n")
    model = pydarknet.load("next.cfg")
    biases, weights = model.layers[0].parameters()
    biases[:], weights[:] = 0, 0
    weights[(np.arange(128) + 1) % 128, np.arange(128)] = np.log(0.99 / 0.01 * 127)
    model.save_weights("next.weights")
    return ["next.cfg", "next.weights", "--dialect"]


@pytest.mark.slow
def test_a_sum_that_overflows_is_one_line(files):
    Path("sum.cfg").write_text("[net]\ninputs=256\n[rnn]\noutput=256\nactivation=linear\n[softmax]\n")
    model = pydarknet.load("sum.cfg")
    for parameter in model.layers[0].named_parameters():
        parameter.array[:] = 2e38 if parameter.name.endswith("biases") else 0
    model.save_weights("huge.weights")
    words_ = ["rnn", "generate", "sum.cfg", "huge.weights", "-len", "5", "-seed", "abc"]
    result = process(*words_)
    assert result.returncode == 1
    assert "RuntimeWarning" not in result.stderr
    assert "values that are not finite" in result.stderr.splitlines()[-1]


def test_training_prints_pjreddies_lines(run, files):
    result = run("rnn", "train", "net.cfg", "-file", "text", "--dialect=pjreddie", "--no-chart")
    assert (result.exit_code, result.stdout) == (0, "")
    summary, base, rates, *iterations, saved = result.stderr.splitlines()
    assert summary == f"text: {len(words(100))} symbols, 12 different ones"
    assert base == "net"
    assert rates == "Learning Rate: 0.1, Momentum: 0.9, Decay: 0, Inputs: 256 48 6"
    assert [re.fullmatch(ITERATION, line)[1] for line in iterations] == [str(k) for k in range(1, 13)]
    assert iterations[1].endswith(f"{2 * 48 / len(words(100)):f} epochs")
    assert saved == "Saving weights to backup/net_final.weights"


def test_training_prints_alexeyabs_lines(run, files):
    result = run(
        "rnn", "train", "net.cfg", "net.weights", "-file", "text", "--dialect=alexeyab", "-clear", "--no-chart"
    )
    size = len(words(100))
    assert result.stdout == (
        "mini_batch = 48, batch = 48, time_steps = 6, train = 1 \n"
        f"\n batch = 48, steps = 6, streams = 8, subdivisions = 1, text_size = {size} \n global_batch = 48 \n"
    )
    assert result.stderr.splitlines()[1:3] == ["net", "Learning Rate: 0.1, Momentum: 0.9, Decay: 0"]


def test_what_has_no_effect_is_noted(run, files):
    result = run("rnn", "train", "net.cfg", "-file", "text", "-tune", "--max-batches", "1", "--no-chart")
    assert result.exit_code == 0
    assert result.stderr.startswith("-tune is ignored")


def test_writing(run, alphabet):
    words = [*alphabet, "pjreddie", "-seed", "abc", "-len", "5", "-temp", ".2", "-srand", "1"]
    result = run("rnn", "generate", *words)
    assert (result.stdout, result.stderr) == ("abcdefgh\n", "next\n")
    assert run("rnn", "generate", *words[:-6], "-len", "0").stdout == "abc\n"
    Path("tokens").write_text("\n".join(["zero", "one", "<NEWLINE>", "three", "four"]))
    spoken = run("rnn", "generate", *words, "-tokens", "tokens", "-seed", "\1")
    assert spoken.exit_code == 1
    assert spoken.stdout == "one \n three four "
    assert spoken.stderr.endswith("tokens: 5 names; there is none for symbol 5\n")


def test_bytes_are_written_as_they_are(run, files):
    one, again, other = (
        run("rnn", "generate", "net.cfg", "net.weights", "-seed", "ä", "-len", "60", "-srand", number).stdout_bytes
        for number in "112"
    )
    assert one == again != other
    assert one.startswith("ä".encode())
    assert len(one) == 63


def test_measuring(run, alphabet):
    line = re.compile(r"(\d+) BPC: (\S+)   Perplexity: (\S+)    Word Perplexity: (\S+)")
    result = run("rnn", "valid", *alphabet, "pjreddie", stdin="abcd")
    found = [line.fullmatch(text).groups() for text in result.stdout.splitlines()]
    assert found == [("1", "0.0145", "1.0101", "1.0101"), ("2", "0.0145", "1.0101", "1.0203"),
                     ("3", "0.0145", "1.0101", "1.0306")]  # fmt: skip
    result = run("rnn", "valid", *alphabet, "alexeyab", stdin="ab d")
    # 'b' to ' ' and ' ' to 'd' have 0.01 / 127 each.
    rare = -2 * np.log2(0.01 / 127) - np.log2(0.99)
    assert result.stdout.splitlines()[0] == "1 Perplexity: 1.0101    Word Perplexity: 1.0101"
    count, perplexity, by_word = re.fullmatch(
        r"(\d) Perplexity: (\S+)    Word Perplexity: (\S+)", result.stdout.splitlines()[-1]
    ).groups()
    assert count == "3"
    assert float(perplexity) == pytest.approx(2 ** (rare / 3), rel=1e-3)
    assert float(by_word) == pytest.approx(2 ** (rare / 2), rel=1e-3)


def test_a_file_instead_of_standard_input(run, alphabet):
    Path("text").write_text("abcd")
    assert run("rnn", "valid", *alphabet, "pjreddie", "-file", "text").stdout.count("\n") == 3
    assert run("rnn", "vec", *alphabet, "pjreddie", "-file", "text").stdout.startswith("abcd,0,")


def test_vectors(run, alphabet):
    first, second = run("rnn", "vec", *alphabet, "pjreddie", stdin="a b\n\n").stdout.splitlines()
    name, *values = first.split(",")
    assert name == "ab"
    assert len(values) == 128
    expected = ["0"] * 128
    expected[ord(" ") + 1] = f"{np.float32(np.log(0.99 / 0.01 * 127)):g}"
    assert values == expected
    assert second == first[2:]


@pytest.mark.parametrize("command, reason", [
    (["train", "net.cfg", "-file", "nothing"], "Couldn't open file: nothing (No such file or directory)"),
    (["train", "wide.cfg", "-file", "text"], "wide.cfg: found 256 outputs and 300 inputs"),
    (["train", "net.cfg", "net.weights", "-file", "dog.png"], "dog.png:"),
    (["generate", "net.cfg", "text"], "text:"),
    (["valid", "net.cfg", "net.weights", "-file", "nothing"], "Couldn't open file: nothing"),
    (["valid", "net.cfg", "net.weights"], "standard input: found fewer than 2 symbols"),
    (["valid", "net.cfg", "net.weights", "-file", "short"], "short: found fewer than 2 symbols"),
    (["generate", "net.cfg", "net.weights", "-tokens", "nothing"], "Couldn't open file: nothing"),
])  # fmt: skip
def test_what_cannot_be_done_ends_with_one_line(run, files, command, reason):
    Path("wide.cfg").write_text(Path("net.cfg").read_text().replace("inputs=256", "inputs=300"))
    Path("short").write_text("a")
    result = run("rnn", *command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith(reason)


def test_usage(run, files):
    assert run("rnn", "train", "net.cfg").exit_code == 2  # no text
    assert run("rnn", "generate", "net.cfg", "net.weights", "-temp", "0").exit_code == 2
    assert run("rnn", "-len", "5", "generate", "net.cfg", "net.weights").exit_code == 0


@pytest.mark.slow
def test_learn_stop_go_on_write_and_measure(files):
    """The whole life of a network, each step a process."""

    rnn = partial(start, "rnn", "--threads", "1", stdin=subprocess.PIPE)
    learn = ["train", "net.cfg", "-file", "text", "--max-batches", "2000", "--resume", "--no-chart"]
    process = rnn(*learn)
    read_to(process.stderr, "5: ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Saving weights to backup/net.backup" in err
    learn[learn.index("2000")] = "60"
    process = rnn(*learn)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Resuming from backup/net.backup, iteration" in err
    process = rnn("generate", "net.cfg", "backup/net_final.weights", "-len", "20", "-srand", "1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "net\n")
    assert out.startswith("\n\n")
    process = rnn("valid", "net.cfg", "backup/net_final.weights")
    out, _ = process.communicate("red green blue", timeout=60)
    assert re.fullmatch(r"13 BPC: \S+   Perplexity: \S+    Word Perplexity: \S+", out.splitlines()[-1])
    process = rnn("vec", "net.cfg", "backup/net_final.weights")
    out, _ = process.communicate("red\ngreen\n", timeout=60)
    assert [line.split(",")[0] for line in out.splitlines()] == ["red", "green"]
