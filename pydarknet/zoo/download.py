"""Fetch published weights by name, and accept only the file that was asked for.

What has arrived is in a file of its own, the part. A transfer that was cut off continues it. A second file,
PART.from, has the address and the version on the server: a later run continues only the same one.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from ..config.dialect import choose_dialect
from ..config.published import Published, find_published
from ..config.sections import read_config
from ..errors import DarknetError, DownloadError, OutputError, needed_package
from ..network.network import Network, without_warnings
from ..network.weights import check_file_length, file_lengths
from ..utils.files import make_folder, output_errors, write_file
from ..utils.resources import models_folder, network_file
from ..version import __version__

if TYPE_CHECKING:
    from requests import Response

PART = "part"  # the file of the staging folder with the bytes that have arrived
CHUNK = 1 << 14  # bytes
SILENCE = (10.0, 30.0)  # seconds without a connection, without a byte
VAIN_ATTEMPTS = 5  # in a row, that brought no further byte
ATTEMPTS = 1000
FIRST_PAUSE = 0.2  # seconds after the first attempt in vain; each further one waits twice as long

Progress = Callable[[int, int | None], None]  # (bytes that have arrived, bytes of the file if known)


def download(
    name: str,
    to: str | Path | None = None,
    *,
    url: str | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """The file of the published weights `name`, fetched unless it exists.

    to        the folder; by default `models_folder()`, where `load` and all commands look
    url       the address, such as that of a mirror, instead of the published ones
    progress  called with (bytes so far, bytes of the file if known)
    report    called with one line for each action

    A file is accepted if it has exactly the parameters of the network and, if stated, the checksum of a public
    list. A download that was cut off is continued, in the same call and in the next one. Raises OptionError for
    an unknown name or a missing pooch, DownloadError, OutputError.
    """
    entry = find_published(name)
    with needed_package("downloads need pooch", "'pydarknet[zoo]'"):
        import pooch
    target = (models_folder() if to is None else Path(to)) / entry.file
    expected = expected_layers(entry)
    if target.exists():
        _check_length(target, expected, str(target))
        if wrong := _wrong_checksum(entry, target, str(target), pooch):
            raise DownloadError(f"{wrong}; delete it to download it anew")
        report(f"{target}: is there already")
        return target
    checked = "checked by its size alone, since no public list states a checksum"
    if entry.checksum:
        checked = f"{_algorithm(entry)} as stated by {entry.stated_by}"
    errors = []
    for address in (url,) if url else entry.urls:
        report(f"{entry.file}: from {address}")
        try:
            _fetch(entry, address, target, expected, progress, pooch)
        except DownloadError as error:
            errors.append(str(error))
        else:
            report(f"{target}: {target.stat().st_size} bytes, {checked}")
            return target
    raise DownloadError("; ".join(errors))


def expected_layers(entry: Published) -> list[Any]:
    """The layers whose parameters the file holds."""
    config = read_config(network_file(entry.cfg))
    with without_warnings():  # of keys that the bundled cfg has for the other darknet
        return list(Network(config, choose_dialect("auto", config)).layers[: entry.layers])


def _check_length(path: Path, expected: list[Any], name: str) -> None:
    try:
        check_file_length(path, expected, name)
    except DarknetError as error:
        raise DownloadError(str(error)) from error


def _wrong_checksum(entry: Published, path: Path, where: str, pooch: Any) -> str:
    algorithm, _, stated = entry.checksum.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm) if stated else stated
    wrong = f"{where}: {_algorithm(entry)} {found}; expected {stated}, as stated by {entry.stated_by}"
    return "" if found == stated else wrong


def _algorithm(entry: Published) -> str:
    return entry.checksum.partition(":")[0].upper().replace("SHA", "SHA-")


def _fetch(
    entry: Published, url: str, target: Path, expected: list[Any], progress: Progress | None, pooch: Any
) -> None:
    sizes = {entry.size} if entry.size else set(file_lengths(expected))
    with _staging_folder(target) as staging:
        whole = staging / target.name
        transfer = Transfer(staging / PART, sizes, progress, any_version=bool(entry.checksum))
        for _ in range(2):
            is_old = whole.exists()  # of a run that was killed at this point
            if not is_old:
                transfer(url, whole)
                _check_length(whole, expected, url)
            wrong = _wrong_checksum(entry, whole, url, pooch)
            if not wrong or not (is_old or transfer.resumed):
                break
            whole.unlink()
        if wrong:
            raise DownloadError(wrong)
        _check_length(whole, expected, url)
        whole.replace(target)


@contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, for this process alone. It stays only if it has a part."""
    staging = target.with_name(f".{target.name}.part")
    make_folder(staging)
    try:
        with (staging / "lock").open("ab") as lock:
            with suppress(ImportError):  # Windows
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                yield staging
            finally:
                if not (staging / PART).exists():
                    shutil.rmtree(staging, ignore_errors=True)
    except BlockingIOError:
        raise DownloadError(f"{target}: another process is downloading this file") from None
    except OSError as error:
        raise OutputError(f"{error.filename or staging}: cannot write: {error.strerror or error}") from error


class _CutError(Exception):
    """The connection ended before the file did; another attempt may continue it."""


class Transfer:
    """Fetches a file over HTTP into `part`: continued after a cut, never longer than expected.

    sizes: the sizes in bytes that the file may have; empty if unknown. any_version: continue a part of another
    version: for files whose checksum is compared later.
    """

    def __init__(
        self,
        part: Path,
        sizes: Collection[int] = (),
        progress: Progress | None = None,
        any_version: bool = False,
    ) -> None:
        self.part, self.sizes, self.progress = part, sizes, progress
        self.any_version, self.resumed = any_version, False  # resumed: bytes of an earlier run are in the file
        self.note = part.with_name(part.name + ".from")

    def __call__(self, url: str, output_file: str | Path) -> None:
        """Fetch `url` and move it to `output_file`. Raises DownloadError, OutputError."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{url}: expected an address that begins with http:// or https://")
        make_folder(self.part.parent)
        try:
            with output_errors(self.part), self.part.open("ab") as stream:
                if not self.any_version and self._origin()[0] != url:
                    _empty(stream)
                self.resumed = stream.tell() > 0
                self._receive_all(url, stream)
        except DownloadError:
            if not self.part.stat().st_size:
                for path in (self.part, self.note):
                    path.unlink(missing_ok=True)
            raise
        self.part.replace(output_file)
        self.note.unlink(missing_ok=True)

    def _origin(self) -> tuple[str, str]:
        """The address and the version (ETag or Last-Modified) of the part; empty if unknown."""
        with suppress(OSError, ValueError):
            url, _, version = self.note.read_text(encoding="utf-8").partition("\n")
            return url, version.strip()
        return "", ""

    def _receive_all(self, url: str, stream: BinaryIO) -> None:
        from requests import RequestException

        vain, furthest, reason = 0, stream.tell(), ""
        for _ in range(ATTEMPTS):
            try:
                self._receive(url, stream)
                stream.flush()
                os.fsync(stream.fileno())
                return
            except (RequestException, _CutError) as error:
                reason, may_pass = _judged(error)
                if not may_pass:
                    raise DownloadError(f"{url}: {reason}") from error
            vain = 0 if stream.tell() > furthest else vain + 1
            furthest = max(furthest, stream.tell())
            if vain == VAIN_ATTEMPTS:
                break
            time.sleep(FIRST_PAUSE * 2 ** (vain - 1) if vain else 0)
        arrived = stream.tell()
        kept = f"; {arrived} bytes have arrived and are kept, a new call goes on from there" if arrived else ""
        raise DownloadError(f"{url}: {reason}{kept}")

    def _receive(self, url: str, stream: BinaryIO) -> None:
        import requests

        start = stream.tell()
        headers = {"User-Agent": f"pydarknet/{__version__}", "Accept-Encoding": "identity"}
        known_url, version = self._origin()
        if start:
            headers["Range"] = f"bytes={start}-"
            if version and known_url == url:
                headers["If-Range"] = version
        with requests.get(url, headers=headers, stream=True, timeout=SILENCE) as answer:
            if urlsplit(url).scheme == "https" != urlsplit(answer.url).scheme:
                raise DownloadError(f"{url}: leads to {answer.url}, which is not encrypted")
            if answer.status_code == 416 and start in self.sizes:
                return
            total = self._position(answer, stream, start)
            if (url, _version(answer)) != (known_url, version):
                write_file(self.note, f"{url}\n{_version(answer)}".encode())  # whole, whenever this process is killed
            expected = " or ".join(map(str, sorted(self.sizes)))
            if total is not None and self.sizes and total not in self.sizes:
                _empty(stream)
                raise DownloadError(f"{url}: the server's file has {total} bytes; expected {expected}")
            largest = max(self.sizes) if self.sizes else total
            answer.raw.enforce_content_length = False  # it would drop the bytes that came right before a cut
            for block in answer.iter_content(CHUNK):
                if largest is not None and stream.tell() + len(block) > largest:
                    _empty(stream)
                    raise DownloadError(f"{url}: the server sends more than the {largest} bytes that were expected")
                stream.write(block)
                if self.progress:
                    self.progress(stream.tell(), total or largest)
        arrived = stream.tell()
        if (total is not None and arrived < total) or (self.sizes and arrived not in self.sizes):
            raise _CutError(f"the connection ended after {arrived} of {expected if total is None else total} bytes")

    def _position(self, answer: "Response", stream: BinaryIO, start: int) -> int | None:
        """Empty `stream` unless the answer continues it; the whole size, None if unknown."""
        from requests import HTTPError

        status = answer.status_code
        if status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if found and int(found[1]) == start:
                return None if found[2] == "*" else int(found[2])
        if status not in (206, 416):
            answer.raise_for_status()
            if status != 200:
                raise HTTPError(f"status {status}", response=answer)
        _empty(stream)
        if status != 200:
            another = "the server sent another range than asked for"
            raise _CutError(another if status == 206 else f"the server has nothing after byte {start}")
        self.resumed = False  # the whole file comes again
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None


def _empty(stream: BinaryIO) -> None:
    stream.seek(0)
    stream.truncate()


def _version(answer: "Response") -> str:
    """A version for `If-Range`: a strong ETag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _judged(error: Exception) -> tuple[str, bool]:
    from requests import exceptions as of

    if isinstance(error, _CutError):
        return str(error), True
    if isinstance(error, of.HTTPError) and error.response is not None:
        status = error.response.status_code
        reason = f"the server answers {status} {error.response.reason or ''}".strip()
        return reason, status in (408, 425, 429) or status >= 500
    if isinstance(error, of.Timeout):
        return "the server is silent", True
    reason = f"the connection was lost ({' '.join(str(error).split())[:120]})"
    root: BaseException | None = error
    while root is not None and not getattr(root, "strerror", None):
        root = root.__cause__ or root.__context__
    if isinstance(root, OSError):  # the system's words, without the addresses of objects of requests and urllib3
        reason = f"no connection, or a lost one ({root.strerror})"
    return reason, isinstance(error, of.ConnectionError | of.ChunkedEncodingError | of.ContentDecodingError)
