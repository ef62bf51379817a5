"""Fetch published weights by name, and accept them only if they are what was asked for."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..config.dialect import choose_dialect
from ..config.published import Published, find_published
from ..config.sections import read_config
from ..errors import DarknetError, DownloadError, OptionError, OutputError
from ..network.builder import without_warnings
from ..network.network import Network
from ..network.weights import check_file_length, file_lengths
from ..utils.files import make_folder
from ..utils.resources import models_folder, network_file
from .transfer import Progress, Transfer

Report = Callable[[str], None]

PART = "part"  # the file of the staging folder with what has arrived


def download(
    name: str,
    to: str | Path | None = None,
    *,
    url: str | None = None,
    progress: Progress | None = None,
    report: Report = lambda line: None,
) -> Path:
    """The file of the published weights `name`, fetched unless it is there already.

    to        the folder; by default `models_folder()`, where `load` and all commands look
    url       fetch it from this address, of a mirror for example, instead of the published ones
    progress  called with (bytes so far, bytes of the file if known)
    report    called with one line for each thing that is done

    A file is accepted if it holds exactly the numbers that the network takes and, where a public list states a
    checksum, has that one. A download that was cut off is gone on with, in the same call and in the next one.

    Raises OptionError for an unknown name or a missing pooch, DownloadError for what cannot be fetched and for files
    with wrong bytes, OutputError for a folder that cannot be written.
    """
    entry = find_published(name)
    pooch = _pooch()
    folder = models_folder() if to is None else Path(to)
    target = folder / entry.file
    expected = expected_layers(entry)
    if target.exists():
        check(entry, target, expected, pooch)
        report(f"{target}: is there already")
        return target
    errors = []
    for address in (url,) if url else entry.urls:
        report(f"{entry.file}: from {address}")
        try:
            _fetch(entry, address, target, expected, progress, pooch)
            report(f"{target}: {target.stat().st_size} bytes, {verdict(entry)}")
            return target
        except DownloadError as error:
            errors.append(str(error))
    raise DownloadError("; ".join(errors))


def verdict(entry: Published) -> str:
    """How far a downloaded file of the entry has been checked."""
    if not entry.checksum:
        return "checked by its size alone, since no public list states a checksum"
    return f"{_algorithm(entry)} as stated by {entry.stated_by}"


def expected_layers(entry: Published) -> list[Any]:
    """The layers whose parameters the file holds."""
    config = read_config(network_file(entry.cfg))
    with without_warnings():  # of keys that the bundled cfg has for the other darknet
        layers = Network(config, choose_dialect("auto", config)).layers
    return list(layers if entry.layers is None else layers[: entry.layers])


def check(entry: Published, path: Path, expected: list[Any], pooch: Any) -> None:
    """Raise DownloadError unless the file is what was published."""
    _check_length(path, expected, str(path))
    algorithm, _, stated = entry.checksum.partition(":")
    if stated and (found := pooch.file_hash(str(path), alg=algorithm)) != stated:
        raise DownloadError(_wrong(entry, str(path), found) + "; delete it to download it anew")


def _fetch(
    entry: Published, url: str, target: Path, expected: list[Any], progress: Progress | None, pooch: Any
) -> None:
    """Download `url` to `target`. Where bytes of an earlier run led to a wrong checksum, start once more without."""
    sizes = {entry.size} if entry.size else set(file_lengths(expected))
    with _staging_folder(target) as staging:
        for _ in range(2):
            transfer = Transfer(
                staging / PART, sizes, lambda path: _check_length(path, expected, url), progress,
                any_version=bool(entry.checksum),
            )  # fmt: skip
            try:
                pooch.retrieve(url, entry.checksum or None, fname=target.name, path=staging, downloader=transfer)
                break
            except ValueError as error:  # pooch has deleted the file
                if transfer.resumed:
                    continue
                found = str(error).partition(" but got ")[2].partition(". ")[0]
                raise DownloadError(_wrong(entry, url, found)) from error
        _check_length(staging / target.name, expected, url)  # it may be there from a run that was killed at this point
        (staging / target.name).replace(target)


@contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """The hidden folder beside `target` in which it is made, for this process alone.

    It stays only if it holds bytes that a later run can go on with. Raises DownloadError where another process has it,
    OutputError for a folder that cannot be made.
    """
    staging = target.with_name(f".{target.name}.part")
    make_folder(staging)
    try:
        with (staging / "lock").open("ab") as lock:
            _hold(lock, target)
            for path in staging.glob("tmp*"):  # pooch's, of a run that was killed
                path.unlink()
            try:
                yield staging
            finally:
                if not (staging / PART).exists():
                    shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{error.filename or staging}: cannot write: {error.strerror or error}") from error


def _hold(lock: BinaryIO, target: Path) -> None:
    """Hold the file until it is closed. Raises DownloadError where another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DownloadError(f"{target}: another process is downloading this file") from None


def _check_length(path: Path, expected: list[Any], name: str) -> None:
    try:
        check_file_length(path, expected, name)
    except DarknetError as error:
        raise DownloadError(str(error)) from error


def _wrong(entry: Published, where: str, found: str) -> str:
    return (
        f"{where}: {_algorithm(entry)} {found}; expected {entry.checksum.partition(':')[2]}, as stated by "
        f"{entry.stated_by}"
    )


def _algorithm(entry: Published) -> str:
    return entry.checksum.partition(":")[0].upper().replace("SHA", "SHA-")


def _pooch() -> Any:
    try:
        import pooch
    except ImportError:
        raise OptionError("downloads need pooch: pip install 'pydarknet[zoo]'") from None
    logger: logging.Logger = pooch.get_logger()
    logger.setLevel(logging.WARNING)  # its remarks are `report`'s
    return pooch
