"""Install and test pydarknet with the oldest and newest dependencies, on every Python at hand.

    make matrix                                              all Pythons, quick tests
    python .ci/matrix.py --python 3.10 --versions oldest     one of each
    python .ci/matrix.py --versions opencv4 tests/images     other tests

Each combination gets a virtual environment and a kernel cache of its own below build/matrix, so that the kernels are
compiled with its Numba. The exit status is 0 when all combinations pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "matrix"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
QUICK = "not slow and not cluster"
TOOLS = ["pytest>=9", "pytest-xdist>=3.5", "mypy>=1.11", "ruff>=0.6", "matplotlib>=3.7"]

# The lower bounds of pyproject.toml; of what they leave open, the oldest that exists for this Python.
OLDEST = {
    "3.10": ["numpy==1.24.0", "numba==0.59.0", "llvmlite==0.42.0", "opencv-python==4.7.0.72", "click==8.1.0"],
    "3.11": ["numpy==1.24.0", "numba==0.59.0", "llvmlite==0.42.0", "opencv-python==4.7.0.72", "click==8.1.0"],
    "3.12": ["numpy==1.26.0", "numba==0.59.0", "llvmlite==0.42.0", "opencv-python==4.8.1.78", "click==8.1.0"],
    "3.13": ["numpy==2.1.0", "numba==0.61.0", "llvmlite==0.44.0", "opencv-python==4.10.0.84", "click==8.1.0"],
}
NEWEST = ["numpy", "numba", "llvmlite", "opencv-python", "click"]
VERSIONS = {
    "oldest": lambda python: OLDEST[python],
    "newest": lambda python: NEWEST,
    "opencv4": lambda python: [*NEWEST[:3], "opencv-python<5", "click"],
}


def interpreters() -> dict[str, str]:
    """The Pythons at hand by their version: on PATH, in its usual folders, and this one."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    folders += [str(path / "bin") for path in pyenv.glob("3.*")]
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for python in PYTHONS:
        for folder in folders:
            program = shutil.which(f"python{python}", path=folder)
            if python not in found and program and _version(program) == python:
                found[python] = program
    return {python: found[python] for python in PYTHONS if python in found}


def _version(program: str) -> str:
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([program, "-c", code], capture_output=True, text=True).stdout.strip()


def run(python: str, program: str, versions: str, tests: list[str]) -> tuple[bool, str]:
    """Install and test one combination: whether it passed, and the versions or the step that failed."""
    folder = FOLDER / f"{python}-{versions}"
    venv, log = folder / "venv", folder / "log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "PYTHON"))}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    own = venv / "bin" / "python"
    if versions == "opencv4":  # which reads networks itself: its answers are compared with ours
        environment["PYDARKNET_OPENCV4"] = str(own)
    install = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    folder.mkdir(parents=True, exist_ok=True)
    steps = [
        *([] if own.exists() else [[program, "-m", "venv", str(venv)]]),
        [*install, "--upgrade", *VERSIONS[versions](python), *TOOLS],
        [*install, "--no-deps", "--editable", str(ROOT)],
        [str(own), "-m", "pip", "check"],
        [str(own), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=auto", "-m", QUICK, *tests],
    ]
    with log.open("w") as output:
        for step in steps:
            print("$", *step, file=output, flush=True)
            if subprocess.run(step, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT).returncode:
                return False, f"failed: {' '.join(step[1:5])} ...; see {log.relative_to(ROOT)}"
    return True, _installed(own)


def _installed(python: Path) -> str:
    code = f"import importlib.metadata as m; print(*(f'{{n}} {{m.version(n)}}' for n in {NEWEST}), sep=', ')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all at hand")
    parser.add_argument("--versions", action="append", choices=VERSIONS, help="default: all")
    parser.add_argument("tests", nargs="*", help="what pytest gets, options too; default: all quick tests")
    options, more = parser.parse_known_args()
    at_hand, failed = interpreters(), False
    for python in options.python or PYTHONS:
        if python not in at_hand:
            print(f"{python}: not on this machine")
            continue
        for versions in options.versions or VERSIONS:
            start = time.monotonic()
            passed, what = run(python, at_hand[python], versions, [*options.tests, *more])
            failed |= not passed
            verdict = "passed" if passed else "FAILED"
            print(f"{python} {versions}: {verdict} in {time.monotonic() - start:.0f} s, {what}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
