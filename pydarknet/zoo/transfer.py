"""One file over HTTP: resumed after a cut, never longer than expected, named where it does not arrive.

What has arrived lies in a file of its own, the part. A second file, named as the part with `.from` behind, says which
version on which server it is a part of, so that a later run goes on only with the same one.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from ..errors import DownloadError, OutputError
from ..utils.files import make_folder, write_file
from ..version import __version__

if TYPE_CHECKING:
    from requests import Response

CHUNK = 1 << 14  # bytes
SILENCE = (10.0, 30.0)  # seconds without a connection, without a byte
VAIN_ATTEMPTS = 5  # in a row, that did not come further than those before
ATTEMPTS = 1000
FIRST_PAUSE = 0.2  # seconds after the first attempt in vain; each further one waits twice as long

Progress = Callable[[int, int | None], None]  # (bytes that have arrived, bytes of the file if known)


class _CutError(Exception):
    """The connection ended before the file did; another attempt may go on."""


class Transfer:
    """What fetches a file into `part`. pooch calls it as `transfer(url, output_file, pooch)`.

    sizes     the sizes in bytes that the file may have; empty where nothing is known
    check     called with the path of the whole file before it is handed over; raises what is wrong with it
    progress  called after each block
    any_version  go on with the part of an earlier run though its server may have another version by now: for files
                 whose checksum is compared afterwards
    """

    def __init__(
        self,
        part: Path,
        sizes: Collection[int] = (),
        check: Callable[[Path], None] | None = None,
        progress: Progress | None = None,
        any_version: bool = False,
    ) -> None:
        self.part, self.sizes, self.check, self.progress = part, sizes, check, progress
        self.any_version = any_version
        self.resumed = False  # whether bytes of an earlier run are in the file
        self.note = part.with_name(part.name + ".from")

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Fetch `url` and move it to `output_file`. Raises DownloadError, OutputError and what `check` raises."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{url}: expected an address that begins with http:// or https://")
        make_folder(self.part.parent)
        try:
            with self.part.open("ab") as stream:
                self._begin(url, stream)
                self._receive_all(url, stream)
        except DownloadError:
            if not self.part.stat().st_size:
                self.forget()
            raise
        except OSError as error:
            raise OutputError(f"{self.part}: cannot write: {error.strerror or error}") from error
        try:
            if self.check:
                self.check(self.part)
        except Exception:
            self.forget()
            raise
        self.part.replace(output_file)
        self.note.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete what has arrived."""
        for path in (self.part, self.note):
            path.unlink(missing_ok=True)

    def _begin(self, url: str, stream: BinaryIO) -> None:
        """Keep the bytes of an earlier run if they can be gone on with."""
        known_url, _ = self._origin()
        if stream.tell() and not self.any_version and known_url != url:
            _empty(stream)
        self.resumed = stream.tell() > 0

    def _origin(self) -> tuple[str, str]:
        """The address and the version (ETag or Last-Modified) of the part; empty where unknown."""
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
            except RequestException as error:
                reason = _reason(error)
                if not _may_pass(error):
                    raise DownloadError(f"{url}: {reason}") from error
            except _CutError as error:
                reason = str(error)
            vain = 0 if stream.tell() > furthest else vain + 1
            furthest = max(furthest, stream.tell())
            if vain == VAIN_ATTEMPTS:
                break
            if vain:
                time.sleep(FIRST_PAUSE * 2 ** (vain - 1))
        stream.flush()
        arrived = stream.tell()
        kept = f"; {arrived} bytes have arrived and are kept, a new call goes on from there" if arrived else ""
        raise DownloadError(f"{url}: {reason}{kept}")

    def _receive(self, url: str, stream: BinaryIO) -> None:
        """One request, from where the part ends. Raises _CutError where the answer ends early."""
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
            self._check_total(url, total, stream)
            answer.raw.enforce_content_length = False  # it would drop the bytes that came right before a cut
            for block in answer.iter_content(CHUNK):
                self._take(url, block, total, stream)
        self._check_end(total, stream)

    def _position(self, answer: Response, stream: BinaryIO, start: int) -> int | None:
        """Set `stream` to where the answer's bytes begin; the size of the whole file, None if unknown."""
        from requests import HTTPError

        if answer.status_code == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if found and int(found[1]) == start:
                return None if found[2] == "*" else int(found[2])
            _empty(stream)
            raise _CutError("the server sent another range than asked for")
        if answer.status_code == 416:
            _empty(stream)
            raise _CutError(f"the server has nothing after byte {start}")
        answer.raise_for_status()
        if answer.status_code != 200:
            raise HTTPError(f"status {answer.status_code}", response=answer)
        _empty(stream)  # the whole file comes again
        self.resumed = False
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None

    def _check_total(self, url: str, total: int | None, stream: BinaryIO) -> None:
        if total is not None and self.sizes and total not in self.sizes:
            _empty(stream)
            raise DownloadError(f"{url}: the server's file has {total} bytes; expected {_either(self.sizes)}")

    def _take(self, url: str, block: bytes, total: int | None, stream: BinaryIO) -> None:
        largest = max(self.sizes) if self.sizes else total
        if largest is not None and stream.tell() + len(block) > largest:
            _empty(stream)
            raise DownloadError(f"{url}: the server sends more than the {largest} bytes that were expected")
        stream.write(block)
        if self.progress:
            self.progress(stream.tell(), total or largest)

    def _check_end(self, total: int | None, stream: BinaryIO) -> None:
        arrived = stream.tell()
        if (total is not None and arrived < total) or (self.sizes and arrived not in self.sizes):
            wanted = str(total) if total is not None else _either(self.sizes)
            raise _CutError(f"the connection ended after {arrived} of {wanted} bytes")


def _empty(stream: BinaryIO) -> None:
    stream.seek(0)
    stream.truncate()


def _either(sizes: Collection[int]) -> str:
    return " or ".join(str(size) for size in sorted(sizes))


def _version(answer: Response) -> str:
    """What `If-Range` may hold: a strong ETag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _may_pass(error: Exception) -> bool:
    """Whether a later attempt may succeed: cut and silent connections, busy servers."""
    from requests import ConnectionError as LostConnection
    from requests import HTTPError, Timeout
    from requests.exceptions import ChunkedEncodingError, ContentDecodingError

    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code in (408, 425, 429) or error.response.status_code >= 500
    return isinstance(error, LostConnection | Timeout | ChunkedEncodingError | ContentDecodingError)


def _reason(error: Exception) -> str:
    """The error of `requests` in a few words, without its objects' addresses."""
    from requests import HTTPError, Timeout

    if isinstance(error, HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason or ''}".strip()
    if isinstance(error, Timeout):
        return "the server is silent"
    root: BaseException | None = error
    while root is not None:  # the system's own words lie below those of requests and urllib3
        if isinstance(root, OSError) and root.strerror:
            return f"no connection, or a lost one ({root.strerror})"
        root = root.__cause__ or root.__context__
    words = " ".join(str(error).split())
    return f"the connection was lost ({words[:120]})"
