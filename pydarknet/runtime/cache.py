"""Where compiled code is kept between runs, and the files in it.

Machine code from the cache is executed, and files for Numba are pickles: whoever can write to the folder could
run code as its user. Therefore only folders that nobody else can write to are used (the rules are in
`docs/runtime.md`).
"""

import hashlib
import json
import logging
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

log = logging.getLogger("pydarknet")

PACKAGE = Path(__file__).parents[1]
# What the compiled code depends on: the kernels, and the modules that say how they are compiled and kept.
EMITTERS = ("arguments", "codegen", "jit", "numba_libraries", "object_writer", "thread_team_ir", "threads")
FORMAT = 1  # of saved files

CATALOGUE, TEAM = "modules.saved", "team.saved"
OWN_SETTINGS = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"}  # what of Numba's environment is followed here too
KNOWN_NUMBA = ((0, 59), (0, 68))  # oldest and newest version whose inside the saved code is known to fit
KEPT_DAYS = 30  # for which the folder of another version is kept after its last use
DAMAGED = "%s: the kernel cache is damaged and is made anew"


# --- the processor ----------------------------------------------------------------------------------------------------

CPUINFO = Path("/proc/cpuinfo")

# The microarchitecture levels of the x86-64 psABI, each with the flags of /proc/cpuinfo that it adds.
LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
BASES = {"x86_64": "x86-64", "aarch64": "aarch64"}  # what every processor of a machine's kind can run
ALIASES = {"AMD64": "x86_64", "arm64": "aarch64"}  # as other systems name them

# The lines of /proc/cpuinfo that tell one kind of processor from another: of x86-64, and of ARM.
_TELLING = {
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features",
}  # fmt: skip


class Processor(NamedTuple):
    """The first processor of this machine."""

    machine: str  # its kind: x86_64, aarch64, ...
    name: str  # its model; "" where the system does not tell
    flags: frozenset[str]  # its features, as Linux names them; empty where the system does not tell
    identity: str  # a text that is the same for processors with the same instructions; "" likewise

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels whose code it runs, the best first; none where its flags are not known."""
        if self.machine not in BASES or not self.flags:
            return ()
        levels = LEVELS if self.machine == "x86_64" else {}
        better = takewhile(lambda level: levels[level] <= self.flags, levels)
        return (*reversed(list(better)), BASES[self.machine])


@cache
def processor() -> Processor:
    return read_processor(CPUINFO)


def read_processor(cpuinfo: Path) -> Processor:
    """The first processor that a file like Linux's /proc/cpuinfo describes; of other systems only the kind is known."""
    machine = ALIASES.get(platform.machine(), platform.machine())
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return Processor(machine, "", frozenset(), "")
    lines: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        lines.setdefault(key, value)
    flags = frozenset(lines.get("flags", lines.get("Features", "")).split())
    telling = [f"{key}: {value}" for key, value in lines.items() if key in _TELLING]
    return Processor(machine, lines.get("model name", ""), flags, "\n".join(telling) if flags else "")


# --- versions ---------------------------------------------------------------------------------------------------------


@cache
def package_folder(package: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def fingerprint() -> str:
    """A hash of all kernel sources and versions: every state of them gets a folder of its own, as a kernel
    depends on functions in other files, too."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}".encode())
    digest.update((package_folder("numba") / "_version.py").read_bytes())
    digest.update(sources_digest())
    return digest.hexdigest()[:16]


@cache
def sources_digest() -> bytes:
    """A hash of all that the kernels' machine code is made from, but Numba."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    emitters = [PACKAGE / "runtime" / f"{name}.py" for name in EMITTERS]
    for source in sorted([*(PACKAGE / "kernels").rglob("*.py"), *emitters]):
        digest.update(str(source.relative_to(PACKAGE)).encode() + source.read_bytes())
    return digest.digest()


@cache
def numba_version() -> str:
    """Numba's version, read without importing it; "unknown" where its file is of another form."""
    text = (package_folder("numba") / "_version.py").read_text(errors="replace")
    found = re.search(r"""["']?version["']?\s*[:=]\s*["'](\d+\.\d+[^"']*)["']""", text)
    return found[1] if found else "unknown"


def numba_is_known() -> bool:
    """Whether the inside of this Numba is known to fit what saves its code and runs it without Numba."""
    found = re.match(r"(\d+)\.(\d+)", numba_version())
    return found is not None and KNOWN_NUMBA[0] <= (int(found[1]), int(found[2])) <= KNOWN_NUMBA[1]


# --- folders ----------------------------------------------------------------------------------------------------------


class UntrustedFolderError(OSError):
    """A folder in which others could put code for this user to run."""


def make_own(folder: Path, forbidden: int, follow_links: bool = False) -> None:
    """Make a folder with mode 0700, or see that it is this user's, with none of the `forbidden` bits in its
    mode.

    Raises UntrustedFolderError, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "getuid"):
        return
    status = folder.stat() if follow_links else folder.lstat()
    reasons = {
        "it is a link": not stat.S_ISDIR(status.st_mode),
        "it belongs to another user": status.st_uid != os.getuid(),
        f"others have access to it (mode {stat.S_IMODE(status.st_mode):o}); expected 700": status.st_mode & forbidden,
    }
    if why := next(filter(reasons.get, reasons), None):
        raise UntrustedFolderError(f"{folder}: not used for compiled kernels, {why}")


def base_folders() -> Iterator[tuple[Path, bool]]:
    """Where the cache may be, best first: $NUMBA_CACHE_DIR or the user's cache folder, then the temporary
    folder; each with whether it may be a symbolic link, which it must not where others can make one."""
    if own := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(own), True
    elif users := os.environ.get("XDG_CACHE_HOME"):
        yield Path(users) / "pydarknet", True
    else:
        try:
            yield Path.home() / ".cache" / "pydarknet", True
        except RuntimeError:  # no $HOME, and no entry of this user in the passwd file
            log.warning("the home folder is unknown (set HOME); compiled kernels are kept in the temporary folder")
    user = os.getuid() if hasattr(os, "getuid") else "cache"
    yield Path(tempfile.gettempdir()) / f"pydarknet-{user}", False


def find_cache_folder() -> Path | None:
    """The folder for this state of the sources, made; None, with one line, where there is none that can be used."""
    reasons = []
    try:
        for base, follow_links in base_folders():
            folder = base / f"kernels-{fingerprint()}"
            try:
                make_own(base, 0o022, follow_links)
                make_own(folder, 0o077)
                with tempfile.TemporaryFile(dir=folder):
                    os.utime(folder)  # for `remove_old`
                    return folder
            except UntrustedFolderError as error:
                log.warning("%s", error)
            except OSError as error:
                reasons.append(f"{error.filename or folder}: {error.strerror or error}")
    except OSError as error:  # no temporary folder at all
        reasons.append(error.strerror or str(error))
    log.warning("compiled kernels cannot be kept, so that every run compiles them anew (%s)", "; ".join(reasons))
    return None


CACHE_FOLDER = find_cache_folder()


def is_cold() -> bool:
    """Whether nothing has been compiled yet on this machine, so that the first run will take its time."""
    return CACHE_FOLDER is None or not any(CACHE_FOLDER.glob("**/*.nbc"))


@cache
def remove_old() -> None:
    """Remove what other versions have left and nobody has used for KEPT_DAYS, and what killed processes left behind."""
    if CACHE_FOLDER is None:
        return
    now = time.time()
    for path in CACHE_FOLDER.parent.glob("kernels-*"):
        is_ours = re.fullmatch(r"kernels-[0-9a-f]{16}", path.name) and path != CACHE_FOLDER and not path.is_symlink()
        if is_ours and _age(path, now) > KEPT_DAYS * 86400:
            shutil.rmtree(path, ignore_errors=True)
    for path in [*CACHE_FOLDER.rglob("*.part"), *CACHE_FOLDER.rglob("*.claim")]:
        if _age(path, now) > 3600:
            _unlink(path)


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.info("%s: cannot be removed (%s)", path, error.strerror or error)


# --- files with a checksum --------------------------------------------------------------------------------------------


def write_checked(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, with a checksum in front. Raises OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)
        temporary.replace(path)
    finally:
        _unlink(temporary)


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote, or None where there is nothing, or nothing whole; a damaged file is taken away."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) > 32 and hashlib.sha256(data[32:]).digest() == data[:32]:
        return data[32:]
    log.warning(DAMAGED, path)
    _unlink(path)
    return None


# --- saved kernels ----------------------------------------------------------------------------------------------------


def is_plain_linux() -> bool:
    """Whether machine code that was made before fits: on Linux, with none of Numba's own settings in force."""
    settings = {name for name in os.environ if name.startswith("NUMBA_")} - OWN_SETTINGS
    is_linux = sys.platform == "linux" and sys.byteorder == "little"
    return is_linux and not settings and not Path(".numba_config.yaml").exists()


def is_possible() -> bool:
    """Whether saved code may be used or made here: `is_plain_linux`, with a Numba that is known."""
    return CACHE_FOLDER is not None and is_plain_linux() and numba_is_known()


@cache
def folder() -> Path:
    """The folder for this processor and this llvmlite. Raises ImportError without llvmlite."""
    assert CACHE_FOLDER is not None
    identity = processor().identity
    if not identity:  # the system does not tell this processor from others, but LLVM does
        import llvmlite.binding as llvm

        identity = f"{platform.machine()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest = hashlib.sha256((package_folder("llvmlite") / "_version.py").read_bytes() + identity.encode())
    return CACHE_FOLDER / f"saved-{digest.hexdigest()[:16]}"


def file_of(kernel: str, kinds: tuple[str, ...]) -> str:
    """The name of the file with the code of `module.name` for arguments of these kinds."""
    return f"{kernel}-{hashlib.sha256(' '.join(kinds).encode()).hexdigest()[:16]}.saved"


def write(name: str, content: Any) -> None:
    """Keep something in a file of the folder, whole or not at all. Raises OSError."""
    make_own(folder(), 0o022)
    write_checked(folder() / name, encode(content))


def read(name: str) -> Any:
    """What `write` kept, or None where there is nothing, or nothing whole; a damaged file is taken away."""
    if not _is_trusted(folder()):
        return None
    data = read_checked(folder() / name)
    return None if data is None else decode(data)


@cache
def _is_trusted(folder: Path) -> bool:
    """Whether files of the folder may be run, also where it does not exist yet; says why not."""
    try:
        if folder.exists() or folder.is_symlink():
            make_own(folder, 0o022)
        return True
    except OSError as error:
        log.warning("%s", error)
        return False


# The format: the length of a JSON text (4 bytes), the text, and the bytes that it refers to. What JSON lacks stands in
# it as a list of one letter and the content; lists are such lists too.


def encode(content: Any) -> bytes:
    """Numbers, text, bytes and collections of these as bytes; `decode` gives them back, of the same types."""
    blobs: list[bytes] = []
    text = json.dumps(_to_json(content, blobs)).encode()
    return len(text).to_bytes(4, "little") + text + b"".join(blobs)


def decode(data: bytes) -> Any:
    """What `encode` was given. Raises ValueError for what `encode` never gives."""
    try:
        end = 4 + int.from_bytes(data[:4], "little")
        return _from_json(json.loads(data[4:end]), memoryview(data)[end:])
    except (ValueError, LookupError, TypeError, SyntaxError, RecursionError) as error:
        raise ValueError(f"damaged content: {error}") from error


_COLLECTIONS = {"l": list, "t": tuple, "s": set, "f": frozenset}


def _to_json(value: Any, blobs: list[bytes]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is bytes:
        blobs.append(value)
        return ["b", sum(map(len, blobs)) - len(value), len(value)]
    if isinstance(value, np.generic):
        return ["n", value.dtype.str, value.tobytes().hex()]
    if type(value) is dict:
        return ["d", [[_to_json(key, blobs), _to_json(each, blobs)] for key, each in value.items()]]
    for letter, kind in _COLLECTIONS.items():
        if type(value) is kind:
            return [letter, [_to_json(each, blobs) for each in value]]
    raise TypeError(f"{type(value).__name__}: expected numbers, text, bytes or collections of these")


def _from_json(value: Any, blobs: memoryview) -> Any:
    if not isinstance(value, list):
        return value
    letter, *rest = value
    if letter == "b":
        return bytes(blobs[rest[0] : rest[0] + rest[1]])
    if letter == "n":
        return np.frombuffer(bytes.fromhex(rest[1]), np.dtype(rest[0]))[0]
    if letter == "d":
        return {_from_json(key, blobs): _from_json(each, blobs) for key, each in rest[0]}
    return _COLLECTIONS[letter](_from_json(each, blobs) for each in rest[0])
