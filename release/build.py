"""Make the wheel with compiled kernels, in dist/: `make wheel`, which is `python -m release.build`.

1. For each level (`levels.py`), a process records the kernels that are needed (`record.py`) and compiles them
   (`compile_level.py`) into build/objects/.
2. They are linked into one shared object per level, with a catalogue beside it (`link.py`), in build/shipped/.
3. Hatchling makes the wheel; `hatch_hook.py` adds build/shipped/ and the platform's tag.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydarknet.runtime.cache import processor, sources_digest

from .compile_level import SUPPORT
from .hatch_hook import FOLDER_VARIABLE, PLATFORM_VARIABLE
from .levels import Target, targets
from .link import LinkError, glibc_of, link, linker
from .networks import ROOT

OBJECTS, SHIPPED, DIST = ROOT / "build" / "objects", ROOT / "build" / "shipped", ROOT / "dist"
RECIPE = ("compile_level.py", "levels.py", "networks.py", "object_code.py", "record.py", "support_code.py")
LARGEST = 30 << 20  # bytes of a wheel, at most


def recipe_hash() -> str:
    """A hash of the sources of object files and of the programs that make them."""
    import llvmlite
    import numba

    digest = hashlib.sha256(f"{sources_digest().hex()} {numba.__version__} {llvmlite.__version__}".encode())
    for name in RECIPE:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def compile_in(target: Target, folder: Path, *names: str) -> None:
    """Compile kernels for one level into a folder, in a process with the level's environment. names: see
    `compile_level`. Raises SystemExit."""
    with tempfile.TemporaryDirectory() as cache:  # an empty one, so that Numba compiles
        environment = target.environment() | {"NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-m", "release.compile_level", target.level, str(folder), *names]
        done = subprocess.run(command, env=environment, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{target.level}: the kernels cannot be compiled")


def link_level(target: Target, objects: Path, folder: Path) -> Path:
    """Make the shared object and the catalogue of one level from the files in `objects`. Raises LinkError."""
    files = list(objects.glob("*.o"))
    library = folder / f"{target.level}.so"
    link(files, sorted(path.stem for path in files if path.stem != SUPPORT), library)
    library.chmod(0o644)
    shutil.copyfile(objects / "catalogue", library.with_suffix(".catalogue"))
    print(f"{library.name}: {len(files) - 1} kernels, {library.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    return library


def make_shipped(again: bool = False) -> str:
    """Compile and link all levels into build/shipped/. Returns the platform's tag. Raises LinkError, SystemExit.

    again: also compile kernels that an earlier call has compiled from the same sources.
    """
    linker()  # raises now, not after minutes of compiling
    shutil.rmtree(SHIPPED, ignore_errors=True)
    SHIPPED.mkdir(parents=True)
    newest = (0, 0)
    for target in targets():
        objects = OBJECTS / f"{target.level}-{recipe_hash()}"
        if again:
            shutil.rmtree(objects, ignore_errors=True)
        if not (objects / "catalogue").exists():
            compile_in(target, objects)
        newest = max(newest, glibc_of(link_level(target, objects, SHIPPED).read_bytes()))
    return f"manylinux_{newest[0]}_{newest[1]}_{processor().machine}"


def make_wheel(tag: str) -> Path:
    """Let Hatchling write the wheel. Raises SystemExit."""
    environment = os.environ | {FOLDER_VARIABLE: str(SHIPPED), PLATFORM_VARIABLE: tag}
    before = set(DIST.glob("*.whl"))
    for path in before:
        path.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(DIST)]
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=sys.stderr)
    wheels = list(DIST.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise SystemExit("hatchling could not build the wheel")
    size = wheels[0].stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{wheels[0]}: {size / 1e6:.1f} MB; expected at most {LARGEST / 1e6:.0f}")
    return wheels[0]


def main() -> None:
    start = time.perf_counter()
    try:
        tag = make_shipped("--again" in sys.argv[1:])
    except LinkError as error:
        raise SystemExit(str(error)) from error
    wheel = make_wheel(tag)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - start:.0f} s")
    print(f"sha256 {digest}")


if __name__ == "__main__":
    main()
