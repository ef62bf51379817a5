"""What users get wrong: each ends with one clear line on standard error and a non-zero exit, without a traceback."""

import os
import resource
import shutil
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=4\nsize=1\n"
HTML = "<!DOCTYPE html>\n<html><head><title>Not found</title></head></html>\n"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 248007048\n"

# Name: text of a cfg, what its one line says.
CFGS = {
    "empty": ("", "bad.cfg: Config file has no sections; expected [net] and layers"),
    "no net": (CONV, "bad.cfg:1: First section must be [net] or [network], found [convolutional]"),
    "no layers": (NET, "bad.cfg: found no layers after [net]"),
    "no sizes": (f"[net]\nbatch=1\n{CONV}", "bad.cfg:1: [net] No input parameters supplied"),
    "not a cfg": (HTML, "bad.cfg: this is an HTML page"),
    "no section": ("width=8\n", "bad.cfg:1: width=8 is before the first section"),
    "broken line": (f"{NET}{CONV}=3\n", "bad.cfg:8: Config file error"),
    "unknown layer": (f"{NET}[convolutionl]\n", "bad.cfg:5: [convolutionl] Type not recognized: [convolutionl]"),
    "no number": (f"{NET}{CONV}stride=two\n", "bad.cfg:8: [convolutional] stride=two: expected an integer"),
    "filters of a head": (f"{NET}{CONV}[yolo]\nclasses=1\nnum=1\n", "expected filters=6"),
    "route": (f"{NET}{CONV}[route]\nlayers=-3\n", "bad.cfg:9: [route] layer 1: layers=-3"),
    "shapes": (
        f"{NET}{CONV}{CONV}stride=2\n[shortcut]\nfrom=-2,0\n",
        "bad.cfg:13: [shortcut] from: layer 0 gives 8 x 8 x 4, the previous layer 4 x 4 x 4",
    ),
    "no room": (f"{NET}[convolutional]\nfilters=4\nsize=9\n", "expected at least 1 x 1 x 1"),
}
# Name: what the weights file holds (None: there is none), what the one line says.
WEIGHTS = {
    "missing": (None, "Couldn't open file: bad.weights (No such file or directory)"),
    "zero bytes": (b"", "bad.weights: 0 bytes"),
    "a header cut short": (bytes(10), "bad.weights: 10 bytes"),
    "HTML": (HTML.encode(), "bad.weights: this is an HTML page"),
    "Git LFS": (LFS.encode(), "bad.weights: this is a Git LFS pointer"),
    "version": (struct.pack("<iiiQ", 1 << 30, 2, 5, 0) + bytes(48), "bad.weights: the header says version 1073741824"),
    "truncated": (struct.pack("<iiiQ12f", 0, 2, 5, 0, *range(12))[:-4], "takes 12 numbers, the file holds 11"),
    "overlong": (struct.pack("<iiiQ14f", 0, 2, 5, 0, *range(14)), "takes 12 numbers, the file holds 14: 2 too many"),
    "odd": (struct.pack("<iiiQ12f", 0, 2, 5, 0, *range(12))[:-1], "expected 4 for each of"),
    "JSON": (b'{"message":"Not Found"}', "bad.weights: this is JSON (a failed download?), not a darknet .weights file"),
    "a cfg": (NET.encode(), "bad.weights: this is a .cfg file"),
}
# Bytes of a picture.
PICTURES = {
    "text": (b"This is not a picture.\n", "unknown or damaged format: this is a text file"),
    "HTML": (HTML.encode(), "unknown or damaged format: this is an HTML page (a failed download?)"),
    "HEIC": (
        b"\0\0\0\x18ftypheic" + bytes(99),
        "unknown or damaged format: this is a HEIC picture; convert it to JPEG",
    ),
    "zero bytes": (b"", "the file is empty"),
    "cut short": (b"\x89PNG\r\n\x1a\n" + bytes(20), "unknown or damaged format"),
}


def check(result, said):
    """One line that says so."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert said in line
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("text", "said"), CFGS.values(), ids=CFGS)
def test_cfg(run, text, said):
    Path("bad.cfg").write_text(text)
    check(run("info", "bad.cfg"), said)
    check(run("classify", "bad.cfg", "any.weights", "dog.png"), said)


@pytest.mark.parametrize("command", ["info", "ops", "classify", "detect", "export"])
def test_cfg_that_is_no_file(run, folder, command):
    rest = {"info": [], "ops": [], "export": ["x.weights", "x.onnx"]}.get(command, ["x.weights"])
    check(run(command, "bad.cfg", *rest), "Couldn't open file: bad.cfg (No such file or directory)")
    check(run(command, folder, *rest), f"Couldn't open file: {folder} (Is a directory)")


@pytest.mark.parametrize(("content", "said"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(run, classifier, content, said):
    if content is not None:
        Path("bad.weights").write_bytes(content)
    check(run("classify", classifier.cfg, "bad.weights", "dog.png"), said)


def test_weights_that_are_a_folder(run, classifier, folder):
    check(run("classify", classifier.cfg, folder, "dog.png"), "(Is a directory)")


def test_cfg_and_weights_in_the_wrong_order(run, classifier):
    check(run("classify", classifier.weights, classifier.cfg, "dog.png"), "not a text file (this is a .weights file)")


@pytest.mark.parametrize(("content", "said"), PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("kind", ["classify", "detect"])
def test_picture(run, classifier, detector, kind, content, said):
    Path("bad.jpg").write_bytes(content)
    files = classifier if kind == "classify" else detector
    check(run(kind, files.cfg, files.weights, "bad.jpg"), f'Cannot load image "bad.jpg": {said}')


def test_names(run, classifier, detector, folder):
    files = [detector.cfg, detector.weights, "dog.png"]
    Path("three.names").write_text("dog\ncat\nhen\n")
    Path("empty.names").touch()
    check(run("detect", *files, "--names", "three.names"), "three.names: 3 names; expected 2")
    check(run("detect", *files, "--names", "empty.names"), "empty.names: the list of names is empty")
    check(run("detect", *files, "--names", "no.names"), "tried no.names, bundled no.names, bundled data/no.names")
    check(run("classify", classifier.cfg, classifier.weights, "dog.png", "--names", detector.names), "2 names")
    Path("bad.data").write_text("names = sub/no.names\n")
    check(run("detector", "test", "bad.data", *files), "Couldn't open file: sub/no.names")
    check(run("detector", "test", "no.data", *files), "Couldn't open file: no.data (No such file or directory)")
    check(run("detector", "test", detector.cfg, *files), "expected key=value lines")


def test_the_wrong_command(run, classifier, detector):
    check(run("detect", classifier.cfg, classifier.weights, "dog.png"), "it classifies, use classify")
    check(run("classify", detector.cfg, detector.weights, "dog.png"), "use detect")


def test_places_that_cannot_be_written(run, detector, folder):
    files = [detector.cfg, detector.weights, "dog.png"]
    Path("file").touch()
    check(run("detect", *files, "--out-dir", "file"), "file: cannot make the folder: ")
    check(run("detect", *files, "--out-dir", "file/sub"), "file/sub: cannot make the folder: Not a directory")
    check(run("detect", *files, "-out", "no/found.json"), "no/found.json: cannot write: No such file or directory")
    check(run("detect", *files, "-out", "no/found", "--dialect", "pjreddie"), "no/found.jpg: cannot write: ")
    (folder / "taken.json").mkdir()
    check(run("detect", *files, "-out", "taken.json"), "taken.json: cannot write: Is a directory")
    (folder / "dog.txt").mkdir()
    check(run("detect", *files, "-save_labels", "--no-picture"), "dog.txt: cannot write: Is a directory")
    assert not Path("predictions.jpg").exists()  # none of these runs came to its first picture
    Path("predictions.jpg").mkdir()
    check(run("detect", *files), "predictions.jpg: cannot write: Is a directory")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="the superuser may write anywhere")
def test_folders_without_permission(run, detector, folder):
    (folder / "closed").mkdir(mode=0o500)
    files = [detector.cfg, detector.weights, "dog.png"]
    check(run("detect", *files, "--out-dir", "closed"), "closed: cannot write: Permission denied")
    check(run("detect", *files, "-out", "closed/found.json"), "Permission denied")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_full_device(run, detector):
    result = run("detect", detector.cfg, detector.weights, "dog.png", "-out", "/dev/full", "--dialect", "alexeyab")
    check(result, "/dev/full: cannot write: No space left on device")


@pytest.fixture
def full_disk(folder):
    """A file system of 64 KiB without room."""
    (folder / "full").mkdir()
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("mounting needs the superuser")
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder / "full")]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        with (folder / "full" / "filler").open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass
    except OSError:
        pass
    yield "full"
    subprocess.run(["umount", str(folder / "full")], check=True)


@pytest.mark.slow
def test_full_disk(run, detector, full_disk):
    files = [detector.cfg, detector.weights, "dog.png"]
    check(run("detect", *files, "--out-dir", full_disk), "dog.png: cannot write: No space left on device")
    check(run("detect", *files, "-out", f"{full_disk}/found.json"), "found.json: cannot write: No space left")
    assert sorted(path.name for path in Path(full_disk).iterdir()) == ["filler"]


ABSURD = {
    "sides": f"[net]\nwidth=1000000\nheight=1000000\nchannels=3\n{CONV}",
    "area": f"[net]\nwidth=60000\nheight=60000\nchannels=3\n{CONV}filters=1000\n",
    "filters": f"{NET}[convolutional]\nfilters=16777216\nsize=255\n",
    "connected": "[net]\nwidth=1000\nheight=1000\nchannels=3\n[connected]\noutput=16777216\n",
    "upsample": f"{NET}[upsample]\nstride=60000\n",
    "classes": f"{NET}{CONV}[yolo]\nclasses=1000000\nnum=4000\n",
    "many digits": f"{NET}{CONV}stride={'9' * 4000}\n",
    "local": "[net]\nwidth=4000\nheight=4000\nchannels=3\n[local]\nfilters=4000\nsize=9\npad=1\n",
}


@pytest.mark.slow
def test_absurd_sizes_cost_no_memory(folder):
    """All in one process that may have 1 GiB more than it starts with."""
    for name, text in ABSURD.items():
        Path(f"{name}.cfg").write_text(text)
    program = f"""
        import resource, sys
        from pathlib import Path
        from click.testing import CliRunner
        import pydarknet.model
        from pydarknet.cli.app import pydarknet as command
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (1 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for name in {list(ABSURD)}:
            result = CliRunner().invoke(command, ["info", f"{{name}}.cfg"], catch_exceptions=False)
            print(result.exit_code, len(result.output.splitlines()), result.output.strip()[:200])
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120
    )
    assert process.stderr == ""
    lines = process.stdout.splitlines()
    assert len(lines) == len(ABSURD)
    for line in lines:
        assert line.startswith("1 1 "), line
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 << 20  # KiB


THRESHOLDS = {
    "detect": "thresh hier nms",
    "detector test": "thresh hier",
    "detector map": "thresh iou_thresh",
    "detector train": "thresh iou_thresh",
    "detector demo": "thresh hier fps_lim time_limit_sec",
    "nightmare": "rate thresh zoom rotate",
    "serve": "max_body max_pixels",
    "rnn generate": "temp",
}


@pytest.mark.parametrize("value", ["nan", "1e999", "-inf"])
def test_numbers_that_are_none(value):
    from click.testing import CliRunner

    from pydarknet.cli.app import pydarknet

    for command, options in THRESHOLDS.items():
        for option in options.split():
            words = [
                *command.split(),
                *["x"] * (1 if command == "serve" else 2),
                f"--{option.replace('_', '-')}={value}",
            ]
            if command in ("detector test", "detector map", "detector demo"):
                words.insert(-1, "x")
            result = CliRunner().invoke(pydarknet, words)
            lines = result.output.splitlines()
            assert result.exit_code == 2, (words, result.output)
            assert lines[-1].startswith("Error: Invalid value for") and option in lines[-1], (words, lines)
