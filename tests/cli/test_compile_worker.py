"""With an empty cache, two processes compile, a line tells of it, and the answer is the same."""

import os
import subprocess
import sys

import pytest

from pydarknet.runtime.compile_ahead import Work

CFG = "[net]\ninputs=8\n[connected]\noutput=8\nactivation=leaky\n[connected]\noutput=3\n[softmax]\n"


def run(*words, **environment):
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)


@pytest.mark.slow
def test_two_processes_fill_an_empty_cache(tmp_path):
    cfg = tmp_path / "net.cfg"
    cfg.write_text(CFG)
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    result = run("pydarknet", "speed", str(cfg), "1", **cache, PYDARKNET_COMPILE_PROCESSES="2", PYDARKNET_PROGRESS="1")
    assert result.returncode == 0
    assert "compiling kernels" in result.stderr
    compiled = {path.name for path in (tmp_path / "cache").rglob("*.nbc")}
    assert compiled
    assert not list((tmp_path / "cache").rglob("*.claim"))
    again = run("pydarknet", "speed", str(cfg), "1", **cache, PYDARKNET_PROGRESS="1")
    assert again.returncode == 0 and "compiling" not in again.stderr
    assert {path.name for path in (tmp_path / "cache").rglob("*.nbc")} == compiled


@pytest.mark.slow
def test_a_network_that_is_none_is_left_to_the_process_that_runs_it(tmp_path):
    import json

    (tmp_path / "net.cfg").write_text("[net]\n[nothing]\n")
    work = Work(str(tmp_path / "net.cfg"), "auto", 8, 8, 1, "float32", False)
    result = run("pydarknet.cli.compile_worker", json.dumps(work))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
