"""Real processes: start-up, pipes, signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from support.processes import PYDARKNET, start

from pydarknet.cli.app import pydarknet as command
from pydarknet.version import __version__


def test_help_waits_for_no_heavy_module():
    program = """
        import sys
        from pydarknet.cli.app import pydarknet
        for words in (["--help"], ["detect", "--help"], ["detector", "test", "--help"], ["--version"]):
            try:
                pydarknet(words)
            except SystemExit as end:
                assert not end.code
        heavy = {"numpy", "numba", "cv2", "onnx", "pydarknet.model", "pydarknet.network.network"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    program = "\n".join(line.removeprefix(" " * 8) for line in program.splitlines())
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("count", "mode", "words"), [
    ("0", {}, "classify cfg/tiny.cfg none.weights none.jpg"),
    ("x", {}, "speed tiny.cfg"),
    ("1.5", {}, "speed tiny.cfg"),
    ("-1", {"NUMBA_OPT": "3"}, "speed tiny.cfg"),
    (" ", {"NUMBA_OPT": "3"}, "classify cfg/tiny.cfg none.weights none.jpg"),
])  # fmt: skip
def test_a_number_of_threads_that_makes_no_sense_is_refused(count, mode, words, tmp_path):
    """By saved code, and where Numba's own settings have it run the kernels."""
    environment = os.environ | mode | {"NUMBA_NUM_THREADS": count}
    process = start(*words.split(), cwd=tmp_path, env=environment)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert errors == f"NUMBA_NUM_THREADS={count}: expected a whole number from 1, the number of threads\n"


@pytest.mark.slow
def test_where_numba_was_imported_first_the_number_of_threads_is_refused_as_well():
    program = "import numba, os; os.environ['NUMBA_NUM_THREADS'] = '0'\n"
    program += "import pydarknet\n"
    program += "try: pydarknet.load\nexcept pydarknet.OptionError as error: print(error)"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("NUMBA_NUM_THREADS=0: ")


def every_command(group=command, words=()):
    """The words of every command, darknet's own spellings among them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from every_command(found, (*words, name))
        else:
            yield (*words, name)


def test_every_command_has_help_with_an_example(run):
    commands = list(every_command())
    assert {("detect",), ("detector", "test"), ("classifier", "train")} <= set(commands)
    for words in commands:
        result = run(*words, "--help")
        assert result.exit_code == 0
        assert "Example" in result.stdout, words
    assert run("--version").stdout == f"pydarknet {__version__}\n"


def test_usage_errors_exit_with_2(run):
    for words in (["classify"], ["nothing"], ["detect", "a", "b", "-thresh", "2"], ["detector", "train"]):
        assert run(*words).exit_code == 2


@pytest.mark.parametrize("shown", [
    "info cfg/yolov4.cfg",
    pytest.param("classify {0.cfg} {0.weights} dog.png dog.png dog.png", marks=pytest.mark.slow),
])  # fmt: skip
def test_broken_pipe_is_quiet(classifier, shown):
    reader, writer = os.pipe()
    os.close(reader)  # before the first line is written, so that it does not depend on who is faster
    process = start(*shown.format(classifier).split(), stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode != 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_full_standard_output(classifier):
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run([*PYDARKNET, "info", classifier.cfg], stdout=full, stderr=subprocess.PIPE)
    assert process.returncode == 1
    assert process.stderr == b"standard output: cannot write: No space left on device\n"


@pytest.mark.slow
def test_interrupt(classifier):
    # Shells start background jobs with the signal ignored, which children inherit.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = start("classify", classifier.cfg, classifier.weights, "-t1", stdin=subprocess.PIPE, **heard)
    process.stdin.write("dog.png\n")
    process.stdin.flush()
    assert "Predicted" in process.stdout.readline()
    time.sleep(0.3)  # until it waits for the next name
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out in ("", "1: 0.506480\n")
    assert err == ""


def test_shell_completion():
    complete = BashComplete(command, {}, "pydarknet", "_PYDARKNET_COMPLETE")
    assert [item.value for item in complete.get_completions([], "class")] == ["classify", "classifier"]
    assert [item.value for item in complete.get_completions(["detector"], "t")] == ["test", "train"]
    assert "--ext-output" in [item.value for item in complete.get_completions(["detect"], "--ext")]
    assert [item.type for item in complete.get_completions(["detect"], "cf")] == ["file"]
    assert "-thresh" in [item.value for item in complete.get_completions(["detect"], "-th")]


def test_options_whose_value_may_be_left_out_are_those_with_a_number():
    """click 8.1 gives every option a `flag_value` of False."""
    import click
    from click.testing import CliRunner

    from pydarknet.cli.options import Command, flag

    @click.command(cls=Command)
    @flag("live", is_flag=False, flag_value=8090, type=int, default=None)
    @flag("kind", default="a")
    def command(live, kind):
        click.echo(f"{live} {kind}")

    next(option for option in command.params if option.name == "kind").flag_value = False
    for words, said in (("--live --kind b", "8090 b"), ("-live=1 -kind b", "1 b"), ("-kind b", "None b")):
        assert CliRunner().invoke(command, words.split()).output == f"{said}\n"
