"""Files are written whole or not at all; reading has one clear error; kinds of files; JSON; warnings."""

import io
import json
import math
import os
import pickle
import stat
import struct
import zipfile

import cv2
import numpy as np
import pytest

from pydarknet.errors import ConfigError, DataError, OutputError
from pydarknet.utils.files import (
    SHOWN,
    LimitedLog,
    atomic_write,
    is_same,
    json_text,
    kind_of,
    read_bytes,
    read_text,
    to_json,
    write_folder_whole,
)


def test_two_names_of_one_file(tmp_path):
    file, link, other = (tmp_path / name for name in ("file", "link", "other"))
    file.touch()
    link.symlink_to(file)
    assert is_same(file, str(link))
    assert not is_same(file, other)
    assert not is_same(other, file)


def test_a_file_appears_with_its_whole_content(tmp_path):
    with atomic_write(tmp_path / "out") as stream:
        stream.write(b"first ")
        assert not (tmp_path / "out").exists()
        stream.write(b"last")
    assert (tmp_path / "out").read_bytes() == b"first last"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_former_content_and_nothing_else(tmp_path, error):
    path = tmp_path / "out"
    path.write_bytes(b"former")
    with pytest.raises(error), atomic_write(path) as stream:
        stream.write(b"half")
        raise error
    assert path.read_bytes() == b"former"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_an_output_error_that_names_the_path(tmp_path):
    with pytest.raises(OutputError, match=r"out: cannot write: No space left"), atomic_write(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_is_not_the_files_fault(tmp_path):
    with pytest.raises(BrokenPipeError), atomic_write(tmp_path / "out"):
        raise BrokenPipeError(32, "Broken pipe")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, reason", [("missing/out", "No such file"), ("", "Is a directory")])
def test_a_path_that_cannot_be_written_says_why(tmp_path, name, reason):
    with pytest.raises(OutputError, match=f"cannot write: {reason}"), atomic_write(tmp_path / name):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions mean nothing to this user")
def test_a_folder_without_permission_says_so(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"), atomic_write(tmp_path / "out"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"former")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_permissions_are_those_of_the_former_file_or_the_users_own(tmp_path):
    former, fresh, plain = tmp_path / "former", tmp_path / "fresh", tmp_path / "plain"
    former.write_bytes(b"")
    former.chmod(0o640)
    plain.write_bytes(b"")
    for path in (former, fresh):
        with atomic_write(path) as stream:
            stream.write(b"new")
    assert stat.S_IMODE(former.stat().st_mode) == 0o640
    assert fresh.stat().st_mode == plain.stat().st_mode


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="this system has no devices of that name")  # noqa: PTH110
def test_a_device_is_written_directly():
    with atomic_write("/dev/null") as stream:
        stream.write(b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


@pytest.mark.parametrize("error", [ConfigError, DataError])
def test_a_file_that_cannot_be_read_is_named_in_darknets_words(tmp_path, error):
    with pytest.raises(error, match=r"Couldn't open file: .*nothing \(No such file or directory\)"):
        read_bytes(tmp_path / "nothing", error)
    with pytest.raises(error, match=r"Couldn't open file: .* \(Is a directory\)"):
        read_text(tmp_path, error)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no devices of that name")  # noqa: PTH110
def test_a_device_is_not_read():
    with pytest.raises(DataError, match=r"/dev/zero \(it is a device; expected a file\)"):
        read_bytes("/dev/zero", DataError)


def test_text_that_would_fill_the_memory_is_not_read(tmp_path):
    with (tmp_path / "text").open("wb") as stream:
        stream.truncate((1 << 30) + 1)  # takes no space on the disk
    with pytest.raises(DataError, match=r"text \(it has 1073741825 bytes; expected at most 1073741824\)"):
        read_text(tmp_path / "text", DataError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_that_does_not_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(handle, bytes(1001))
        with pytest.raises(DataError, match=r"pipe \(the pipe gave more than 1000 bytes\)"):
            read_bytes(tmp_path / "pipe", DataError, largest=1000)
    finally:
        os.close(handle)


@pytest.mark.parametrize("content, text", [
    (b"\xef\xbb\xbf[net]", "[net]"), ("Löwe\r\n".encode(), "Löwe\r\n"), (b"", ""), (b"\xff", "\udcff"),
])  # fmt: skip
def test_text_is_utf8_with_or_without_a_mark(tmp_path, content, text):
    (tmp_path / "text").write_bytes(content)
    assert read_text(tmp_path / "text", DataError) == text


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"a\0b")
    with pytest.raises(DataError, match="binary: not a text file"):
        read_text(tmp_path / "binary", DataError)


def test_a_folder_appears_with_its_whole_content(tmp_path):
    with write_folder_whole(tmp_path / "out") as folder:
        (folder / "a").mkdir()
        (folder / "a" / "b").write_text("x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a" / "b").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_exception_leaves_no_folder(tmp_path, error):
    expected = OutputError if isinstance(error, OSError) else error
    with pytest.raises(expected), write_folder_whole(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_only_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    with write_folder_whole(tmp_path / "empty") as folder:
        (folder / "a").write_text("x")
    for path in (tmp_path / "empty", tmp_path / "empty" / "a"):
        with pytest.raises(OutputError, match="is there already"), write_folder_whole(path):
            pass


# --- what a file is, by its first bytes ---


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", "x")
    return stream.getvalue()


def encoded(extension: str) -> bytes:
    return cv2.imencode(extension, np.zeros((4, 4, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(("content", "kind"), [
    (b"", ""),
    (b"\n <!DOCTYPE HTML>\n<html>", "an HTML page (a failed download?)"),
    (b"\xef\xbb\xbf<html>", "an HTML page (a failed download?)"),
    (b"<?xml version='1.0'?><Error/>", "an XML document (a failed download?)"),
    (b'{"message":"Not Found"}', "JSON (a failed download?)"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer (fetch the real file with "
     "`git lfs pull`)"),
    (b"[net]\nwidth=8\n", "a .cfg file"),
    ("Löwe\n".encode() * 999, "a text file"),
    (zipped(), "a zip archive or a PyTorch model"),
    (pickle.dumps([1.5] * 99), "a pickle or a PyTorch model"),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 (Keras) model"),
    (b"\x08\x07\x12\x07pytorch\x1a\x031.9" + bytes(99), "an ONNX model"),
    (struct.pack("<Q", 64) + b'{"a":' + bytes(99), "a safetensors file"),
    (encoded(".jpg"), "a JPEG picture"),
    (encoded(".png"), "a PNG picture"),
    (struct.pack("<iiiQ", 0, 2, 5, 32013312) + bytes(99), "a .weights file"),
    (struct.pack("<iiiI", 0, 1, 0, 0) + bytes(99), "a .weights file"),
    (struct.pack("<iiiQ", 1 << 30, 2, 5, 0) + bytes(99), ""),
    (bytes(99), ""),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "a HEIC picture; convert it to JPEG"),
    (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(99), "a video"),
    (b"RIFF\0\1\2\3AVI LIST" + bytes(99), "a video"),
    (b"RIFF\0\1\2\3WEBPVP8 " + bytes(99), ""),
])  # fmt: skip
def test_kinds(content, kind):
    assert kind_of(content) == kind


def test_a_character_cut_in_two_is_still_text():
    for length in range(1020, 1030):
        assert kind_of(b"x" * length + "ü".encode() * 9) == "a text file"


# --- JSON ---


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


def test_numbers_that_are_none_become_null():
    content = {"a": math.nan, "b": [1.5, -math.inf, (2, math.inf)], "c": "nan", "d": None}
    text = to_json(content)
    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": [1.5, None, [2, None]], "c": "nan", "d": None}


def test_finite_numbers_and_options_are_those_of_json():
    assert to_json({"b": 0.1, "a": "\u00e9"}, ensure_ascii=False, indent=1, sort_keys=True) == (
        '{\n "a": "\u00e9",\n "b": 0.1\n}'
    )


def test_bytes_that_are_no_text():
    assert json_text(b"a\xff".decode("utf-8", "surrogateescape")) == "a\ufffd"


# --- warnings ---


def test_few_warnings_are_all_logged(warnings):
    log = LimitedLog()
    for number in range(SHOWN):
        log.add(f"label {number} is 100% wrong")
    assert warnings() == [f"label {number} is 100% wrong" for number in range(SHOWN)]


def test_many_are_counted_and_the_rest_is_one_line(warnings):
    log = LimitedLog()
    for number in range(3 * SHOWN):
        log.add(str(number))
    assert log.count == 3 * SHOWN
    assert warnings()[SHOWN - 1 :] == [
        str(SHOWN - 1),
        f"there are more warnings like these; only the first {SHOWN} are shown",
    ]
