"""The files that come with the package: networks in `cfg/`; names, trees, a picture and weights in `data/`.

Nothing here imports more than the standard library.
"""

import os
from importlib.resources import files
from pathlib import Path, PurePosixPath

from ..errors import DataError

FOLDERS = ("cfg", "data")

# The names list to use for a network of so many classes when nobody gave one.
NAMES_BY_CLASSES = {
    20: "data/voc.names",
    80: "data/coco.names",
    601: "data/openimages.names",
    1000: "data/imagenet.shortnames.list",
    9418: "data/9k.names",
}


def bundled(relative: str) -> Path | None:
    """The bundled file of that name, such as `data/coco.names` or `cfg/tiny.cfg`; None where the package has none."""
    parts = PurePosixPath(relative).parts
    if len(parts) < 2 or parts[0] not in FOLDERS or ".." in parts:
        return None
    path = _home().joinpath(*parts)
    return path if _is_file(path) else None


def network_file(path: str) -> str:
    """`path`, or the bundled .cfg, .data or .weights file that it names where the disk has no such file.

    A network's name alone, such as `yolov4-tiny`, is the name of its .cfg file.
    """
    if _is_file(Path(path)):
        return path
    return str(_first_bundled([path, f"cfg/{path}", f"data/{path}", f"cfg/{path}.cfg"]) or path)


def _first_bundled(names: list[str]) -> Path | None:
    return next(filter(None, map(bundled, names)), None)


def models_folder() -> Path:
    """The folder of downloaded weights: what PYDARKNET_MODELS names, else `models` in the user's cache of pydarknet."""
    if os.environ.get("PYDARKNET_MODELS"):
        return Path(os.environ["PYDARKNET_MODELS"])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111, which may raise
    return Path(cache) / "pydarknet" / "models"


def downloaded(name: str) -> Path | None:
    """The file of that name in `models_folder`, None where there is none."""
    path = models_folder() / name
    return path if _is_file(path) else None


def bundled_names(classes: int, cfg: str = "") -> Path | None:
    """The bundled names of a network with so many classes: `data/NAME.names` for the bundled `cfg/NAME.cfg`,
    else the list of that length, else None."""
    own = bundled(f"cfg/{Path(cfg).name}")
    if own and _is_file(Path(cfg)) and own.samefile(cfg) and (names := bundled(f"data/{own.stem}.names")):
        return names
    return bundled(NAMES_BY_CLASSES.get(classes, ""))


def find_file(path: str, near: Path | None) -> Path:
    """The file that a .data or .cfg file calls `path`. Raises DataError, which lists everything that was tried.

    A relative path is tried against the current folder, then against `near` (the folder of the file that names
    it), then as a bundled file, and last as the bundled file of the same bare name below `data/`. Backslashes,
    as Windows writes them, are tried as slashes, too.
    """
    wanted, posix = Path(path), PurePosixPath(path)
    candidates = [wanted] if near is None or wanted.is_absolute() else [wanted, near / wanted]
    if "\\" in path:
        candidates += [Path(with_slashes(str(candidate))) for candidate in candidates]
    names = [] if wanted.is_absolute() else [posix.as_posix(), f"data/{posix.name}"]
    found = next(filter(_is_file, candidates), None) or _first_bundled(names)
    if found is not None:
        return found
    tried = dict.fromkeys([*map(str, candidates), *(f"bundled {name}" for name in names)])
    raise DataError(f"Couldn't open file: {path} (no such file; tried {', '.join(tried)})")


def _home() -> Path:
    """The folder that holds `cfg` and `data`: the package itself in a wheel, else the one above it."""
    package = Path(str(files("pydarknet")))
    return package if all((package / folder).is_dir() for folder in FOLDERS) else package.parent


def with_slashes(path: str) -> str:
    """A path that was written on Windows, with slashes for backslashes."""
    return path.replace("\\", "/")


exists = os.path.exists  # False for a name that the system refuses, for which `Path.exists` raises an error


def _is_file(path: Path) -> bool:
    return exists(path) and not path.is_dir()
