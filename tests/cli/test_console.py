"""A line while kernels are compiled: how far it is, plain where there is no terminal, nothing for what is soon done."""

import time

import pytest

from pydarknet.cli import console
from pydarknet.runtime import compile_ahead, compile_time
from pydarknet.runtime.compile_ahead import Progress


@pytest.fixture
def lines(monkeypatch):
    """What is shown; the line is asked for at once, and often."""
    shown = []
    for name, value in (("DELAY", 0.0), ("INTERVAL", 0.01), ("LOG_INTERVAL", 0.02)):
        monkeypatch.setattr(console, name, value)
    monkeypatch.setattr(console, "note", shown.append)
    monkeypatch.setenv(console.VARIABLE, "1")
    return shown


def compile_for(seconds):
    compile_time.begin()
    time.sleep(seconds)
    compile_time.end()


def test_lines_without_helpers(lines):
    with console.show_compile_progress():
        compile_for(0.3)
    assert lines and all(line.startswith("compiling kernels, ") and line.endswith(" s") for line in lines)


@pytest.mark.parametrize(("progress", "text"), [
    (Progress(2, 9, 8.4), "compiling kernels 3/9, about 8 s"),
    (Progress(0, 9, 0.0), "compiling kernels 1/9, "), (Progress(9, 9, 0.0), "compiling kernels, "),
    (Progress(0, 0, 0.0), "compiling kernels, "),
])  # fmt: skip
def test_lines_with_helpers(lines, monkeypatch, progress, text):
    monkeypatch.setattr(compile_ahead, "progress", lambda: progress)
    with console.show_compile_progress():
        compile_for(0.2)
    assert lines and lines[0].startswith(text)


def test_nothing_for_what_is_soon_done_or_not_wanted(lines, monkeypatch):
    monkeypatch.setattr(console, "DELAY", 10)
    with console.show_compile_progress():
        compile_for(0.1)
    monkeypatch.setattr(console, "DELAY", 0)
    monkeypatch.setenv(console.VARIABLE, "0")
    with console.show_compile_progress():
        compile_for(0.1)
    assert lines == []


def test_a_terminal_has_one_line_that_the_next_output_takes_away(capsys):
    console.draw_line("compiling kernels 1/2")
    console.draw_line("compiling kernels 2/2")
    console.note("done")
    # click leaves out the code that clears the line, since standard error is no terminal here.
    assert capsys.readouterr().err == "\rcompiling kernels 1/2\rcompiling kernels 2/2\rdone\n"
