"""Where compiled code is kept."""

from __future__ import annotations

from pathlib import Path

from pydarknet.runtime import cache


def test_the_cache_folder_is_named_after_the_sources():
    assert cache.CACHE_FOLDER.name == f"kernels-{cache.fingerprint()}"


def test_a_change_in_any_kernel_source_changes_the_folder(monkeypatch, tmp_path):
    (tmp_path / "kernels" / "convolution").mkdir(parents=True)
    for name in ("kernels/one.py", "kernels/convolution/two.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(cache, "PACKAGE", tmp_path)
    monkeypatch.setattr(cache, "SOURCES", (tmp_path / "kernels", tmp_path / "runtime"))
    before = cache.fingerprint()
    (tmp_path / "kernels/convolution/two.py").write_text("x = 2\n")
    assert cache.fingerprint() != before


def test_the_users_numba_folder_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.base_folder() == tmp_path / "mine"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert cache.base_folder() == tmp_path / "xdg" / "pydarknet"


def test_a_folder_that_cannot_be_written_is_passed_over(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    assert cache.base_folder().parent == tmp_path / "temporary"


def test_a_machine_with_compiled_kernels_is_not_cold(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "CACHE_FOLDER", tmp_path)
    assert cache.is_cold()
    (tmp_path / "below").mkdir()
    Path(tmp_path / "below" / "index.nbi").write_bytes(b"")
    assert not cache.is_cold()
