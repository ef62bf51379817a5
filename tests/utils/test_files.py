"""Files are written whole or not at all; reading has one clear error."""

from __future__ import annotations

import os
import stat

import pytest

from pydarknet.errors import ConfigError, DataError, OutputError
from pydarknet.utils.files import atomic_write, read_bytes, read_text, write_folder_whole


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
