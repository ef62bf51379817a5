"""`doctor` and `warm-up`."""

import json


def test_doctor(run):
    result = run("doctor")
    assert result.exit_code in (0, 1)  # 1 where this machine has a problem
    assert result.stdout.startswith("pydarknet\n  version ")
    assert (result.exit_code == 0) == ("no problems found" in result.stdout)
    facts = json.loads(run("doctor", "--json").stdout)
    assert {"processor", "packages", "kernels", "opencv", "problems"} <= set(facts)


def test_a_problem_is_the_exit_code(run, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    result = run("doctor")
    assert result.exit_code == 1
    assert "problems\n  NUMBA_DISABLE_JIT is set" in result.stdout


def test_warm_up(run, classifier, detector):
    result = run("warm-up", classifier.cfg, detector.cfg, "--train")
    assert result.exit_code == 0, result.stderr
    assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [classifier.cfg, detector.cfg]
    assert result.stderr.splitlines()[-1].startswith("kernels are kept in ")
    assert run("warm_up", classifier.cfg).exit_code == 0
    assert run("warm-up", "none.cfg").exit_code == 1
