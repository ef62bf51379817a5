"""Every error a user can cause, as one tree.

    DarknetError                 anything wrong with what the user gave us: one line, no traceback at the command line
    ├── ConfigError              a .cfg or .data file: FILE:LINE, the section, what was found, what was expected
    │   └── ShapeError           layers whose sizes do not add up
    ├── WeightsError             a .weights file that is not one, is too short or too long
    ├── ImageError               a picture that cannot be read or written
    ├── DataError                lists, names and other data files
    ├── DownloadError            published weights that cannot be fetched, or whose bytes are not the published ones
    ├── OutputError              a file that cannot be written: no such folder, no permission, no space
    ├── DivergedError            a network whose loss, parameters or outputs are no longer finite numbers
    └── OptionError              an argument of the API or the command line that makes no sense

Anything else that is raised is a bug of ours and keeps its traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class DarknetError(Exception):
    """Base of every error that bad input can cause. Its text is one line that says what was found and expected.

    Control characters of the text (a file may have any in the place of a name) are shown as escapes, so that the
    text stays one line and cannot steer a terminal.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if text.isprintable() else "".join(map(_shown, text)))


def _shown(character: str) -> str:
    """The character, or its escape; surrogates, which stand for undecodable bytes of a file's name, stay."""
    return character if character.isprintable() or "\udc80" <= character <= "\udcff" else repr(character)[1:-1]


class ConfigError(DarknetError):
    """A .cfg or .data file that cannot be used."""


class ShapeError(ConfigError):
    """Layers whose sizes do not fit one another."""


class WeightsError(DarknetError):
    """A .weights file that cannot be used with this network."""


class ImageError(DarknetError):
    """A picture that cannot be read or written."""


class DataError(DarknetError):
    """A list, names, labels or tree file that cannot be used."""


class DownloadError(DarknetError):
    """Published weights that cannot be fetched, or whose bytes are not the published ones."""


class OutputError(DarknetError):
    """A file that cannot be written."""


class OptionError(DarknetError):
    """An argument that makes no sense, of the API or of the command line."""


class DivergedError(DarknetError):
    """The loss, a parameter or an output of a network is no longer a finite number."""


@contextmanager
def needed_package(why: str, install: str) -> Iterator[None]:
    """Around imports of packages that not everybody has. Raises OptionError: `why`, and what pip installs them."""
    try:
        yield
    except ImportError:
        raise OptionError(f"{why}: pip install {install}") from None
