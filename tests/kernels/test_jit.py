"""Where compiled code is kept, and how many threads it uses."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from pydarknet.kernels import jit


@pytest.fixture
def restored_threads():
    before = jit.threads()
    yield
    jit.set_threads(before)


def test_the_cache_folder_is_named_after_the_sources():
    assert jit.CACHE_FOLDER.name == f"kernels-{jit._fingerprint()}"


def test_a_change_in_any_kernel_source_changes_the_folder(monkeypatch, tmp_path):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    before = jit._fingerprint()
    (tmp_path / "two.py").write_text("x = 2\n")
    assert jit._fingerprint() != before


def test_the_users_numba_folder_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jit._base_folder() == tmp_path / "mine"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert jit._base_folder() == tmp_path / "xdg" / "pydarknet"


def test_a_folder_that_cannot_be_written_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    assert jit._base_folder().parent == tmp_path / "temporary"


def test_making_kernels_leaves_numbas_own_setting_alone():
    assert str(jit.CACHE_FOLDER) != numba.config.CACHE_DIR


def test_a_machine_with_compiled_kernels_is_not_cold(monkeypatch, tmp_path):
    monkeypatch.setattr(jit, "CACHE_FOLDER", tmp_path)
    assert jit.is_cold()
    (tmp_path / "below").mkdir()
    Path(tmp_path / "below" / "index.nbi").write_bytes(b"")
    assert not jit.is_cold()


@pytest.mark.parametrize("count, expected", [(0, 1), (1, 1), (10_000, numba.config.NUMBA_NUM_THREADS)])
def test_threads_stay_between_one_and_those_of_the_machine(restored_threads, count, expected):
    jit.set_threads(count)
    assert jit.threads() == expected
