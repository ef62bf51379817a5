"""Where compiled code is kept, who may write there, and the files in it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from pydarknet.runtime import cache


@pytest.fixture
def base(monkeypatch, tmp_path):
    """A folder that $NUMBA_CACHE_DIR names; the temporary folder is beside it."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path / "mine"


def mode_of(folder):
    return folder.stat().st_mode & 0o777


def test_the_cache_folder_is_named_after_the_sources_and_nobody_else_enters_it(base):
    found = cache.find_cache_folder()
    assert found == base / f"kernels-{cache.fingerprint()}"
    assert mode_of(base) == mode_of(found) == 0o700


def test_a_change_of_what_code_is_made_from_changes_the_folder(monkeypatch, tmp_path):
    emitters = [f"runtime/{name}.py" for name in cache.EMITTERS]
    assert all((cache.PACKAGE / name).is_file() for name in emitters)
    (tmp_path / "kernels" / "convolution").mkdir(parents=True)
    (tmp_path / "runtime").mkdir()
    for name in ("kernels/one.py", "kernels/convolution/two.py", "runtime/other.py", *emitters):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(cache, "PACKAGE", tmp_path)
    monkeypatch.setattr(cache, "sources_digest", cache.sources_digest.__wrapped__)  # each process looks at them once
    before = cache.fingerprint()
    (tmp_path / "runtime/other.py").write_text("x = 2\n")
    assert cache.fingerprint() == before
    for name in ("kernels/convolution/two.py", "runtime/jit.py"):
        (tmp_path / name).write_text("x = 2\n")
        assert cache.fingerprint() != before
        before = cache.fingerprint()


def test_the_users_numba_folder_comes_first(monkeypatch, base, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert next(cache.base_folders())[0] == base
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert next(cache.base_folders())[0] == tmp_path / "xdg" / "pydarknet"


def test_a_folder_that_cannot_be_written_is_passed_over(monkeypatch, base, tmp_path, caplog):
    base.write_text("")
    found = cache.find_cache_folder()
    assert found is not None and found.parents[1] == tmp_path / "temporary"
    assert not caplog.messages


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(base, tmp_path, caplog, level, mode):
    folder = [base, base / f"kernels-{cache.fingerprint()}"][level]
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(mode)
    found = cache.find_cache_folder()
    assert found is not None and found.parents[1] == tmp_path / "temporary"
    assert caplog.messages == [
        f"{folder}: not used for compiled kernels, others have access to it (mode {mode:o}); expected 700"
    ]


def test_a_folder_that_others_can_enter_is_not_used(base, caplog):
    folder = base / f"kernels-{cache.fingerprint()}"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert cache.find_cache_folder() != folder
    assert "(mode 755)" in caplog.text


@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_of_another_user_is_not_used(base, monkeypatch, caplog, level):
    folder = [base, base / f"kernels-{cache.fingerprint()}"][level]
    cache.find_cache_folder()
    real = Path.stat, Path.lstat

    def of_another(found, path):
        values = list(found)
        values[4] += path == folder
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", lambda path, **options: of_another(real[0](path, **options), path))
    monkeypatch.setattr(Path, "lstat", lambda path: of_another(real[1](path), path))
    assert cache.find_cache_folder() not in (None, base / f"kernels-{cache.fingerprint()}")
    assert caplog.messages == [f"{folder}: not used for compiled kernels, it belongs to another user"]


def test_a_link_in_the_temporary_folder_is_not_followed(base, tmp_path, caplog):
    base.write_text("")
    (tmp_path / "temporary").mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "temporary" / f"pydarknet-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert cache.find_cache_folder() is None
    assert caplog.messages[0].endswith(", it is a link")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_without_any_folder_one_line_says_so_and_nothing_is_left_behind(base, tmp_path, caplog):
    base.write_text("")
    (tmp_path / "temporary").write_text("")
    assert cache.find_cache_folder() is None
    (line,) = caplog.messages
    assert line.startswith("compiled kernels cannot be kept, so that every run compiles them anew (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "temporary"]


def test_without_a_home_the_temporary_folder_is_used(base, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    found = cache.find_cache_folder()
    assert found is not None and found.parents[1] == tmp_path / "temporary"
    (line,) = caplog.messages
    assert line.startswith("the home folder is unknown (set HOME)")


def test_folders_of_other_versions_are_removed_when_nobody_uses_them(base, monkeypatch):
    mine = cache.find_cache_folder()
    assert mine is not None
    old, young, other = base / f"kernels-{'0' * 16}", base / f"kernels-{'1' * 16}", base / "kernels-of-mine"
    for folder in (old, young, other):
        (folder / "below").mkdir(parents=True)
    part = mine / "saved-0" / "a.saved.1.2.part"
    part.parent.mkdir()
    part.write_bytes(b"")
    long_ago = time.time() - 31 * 86400
    for path in (old, other, mine, part):
        os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr(cache, "CACHE_FOLDER", mine)
    cache.remove_old.__wrapped__()
    assert sorted(path.name for path in base.iterdir()) == sorted([young.name, other.name, mine.name])
    assert not part.exists()


def test_a_folder_that_is_used_is_not_old(base):
    folder = cache.find_cache_folder()
    assert folder is not None
    os.utime(folder, (0, 0))
    cache.find_cache_folder()
    assert time.time() - folder.stat().st_mtime < 60


def test_a_machine_with_compiled_kernels_is_not_cold(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path)
    assert cache.is_cold()
    (tmp_path / "below").mkdir()
    Path(tmp_path / "below" / "index.nbc").write_bytes(b"")
    assert not cache.is_cold()


CONTENTS = [
    None, True, 7, -1.5, float("inf"), "text", b"", b"\0\xff" * 9, [], [1, "b", b"b"], (1, (2, 3)), {1, 2},
    frozenset("ab"),
    {"code": b"\x7fELF", "thunk": None, "symbols": ["a", "b"]}, {(1, 2): 3, 4: {"l": b"x"}}, {"a": ([1], {"b": b"y"})},
]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    CONTENTS,
    ids=lambda content: type(content).__name__,
)
def test_contents_come_back_with_their_types(content):
    def types(value):
        return [type(value), *([types(each) for each in value] if isinstance(value, (list, tuple)) else [])]

    found = cache.decode(cache.encode(content))
    assert found == content
    assert types(found) == types(content)


def test_numpys_numbers_come_back():
    for number in (np.float32(0.1), np.int64(-5), np.bool_(True)):
        found = cache.decode(cache.encode([number]))[0]
        assert type(found) is type(number) and found == number


def test_what_is_no_data_is_refused():
    for value in (object(), print, cache.Path("x"), np.zeros(3)):
        with pytest.raises(TypeError, match="expected numbers, text, bytes or collections"):
            cache.encode({"value": value})


def test_every_flipped_bit_and_every_shorter_file_is_noticed(tmp_path, caplog):
    path = tmp_path / "file"
    cache.write_checked(path, b"some content")
    whole = path.read_bytes()
    assert cache.read_checked(path) == b"some content"
    damaged = [whole[:size] for size in range(len(whole))]
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        path.write_bytes(data)
        assert cache.read_checked(path) is None
        assert not path.exists()
    assert set(caplog.messages) == {f"{path}: the kernel cache is damaged and is made anew"}
    assert cache.read_checked(path) is None


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        cache.write_checked(tmp_path / "file", b"data")
    assert not list(tmp_path.iterdir())


def test_numbas_version_is_read_without_it(monkeypatch, tmp_path):
    import numba

    assert cache.numba_version() == numba.__version__
    assert cache.numba_is_known()
    for text, version, known in (
        ("version_json = '''\n{\n \"version\": \"99.0.1\"\n}\n'''\n", "99.0.1", False),
        ('version = "0.58.1"\n', "0.58.1", False),
        ("nothing\n", "unknown", False),
    ):
        (tmp_path / "_version.py").write_text(text)
        monkeypatch.setattr(cache, "package_folder", lambda _: tmp_path)
        cache.numba_version.cache_clear()
        assert (cache.numba_version(), cache.numba_is_known()) == (version, known)
    cache.numba_version.cache_clear()
