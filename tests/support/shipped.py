"""A copy of the package with compiled kernels, as in a wheel, but of few kernels."""

import shutil
from pathlib import Path

from support.processes import environment, told_by

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("reorder.softmax_rows", "dense.sgd_step")


def make_package(folder):
    """Copy the package into a folder and ship KERNELS with it, for each level of this machine's kind."""
    package = folder / "pydarknet"
    shutil.copytree(ROOT / "pydarknet", package, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    (package / "shipped").mkdir()
    for target in targets():
        make_level(target, folder / f"objects-{target.level}", package / "shipped")
    return package


def targets():
    from release.levels import targets

    return targets()


def make_level(target, objects, out):
    """The shared object of KERNELS for one level."""
    from release.build import compile_in, link_level

    compile_in(target, objects, *KERNELS)
    return link_level(target, objects, out)


def run(package, program, cache, **changes):
    """Run Python code with a copy of the package and a cache; what it prints, as JSON, and its standard error."""
    ours = {name: value for name, value in environment().items() if not name.startswith("PYDARKNET_")}
    given = ours | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(package.parent)} | changes
    return told_by(program, env=given, cwd=package.parent)
