"""Pictures of figures. The only part that needs matplotlib (extra `plot`)."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import OptionError, OutputError, needed_package
from .files import StrPath, write_file


def check_plot(path: StrPath) -> None:
    """Raise OptionError where matplotlib is missing or does not know the extension of `path`."""
    known = new_figure().canvas.get_supported_filetypes()
    extension = Path(path).suffix.lower().removeprefix(".")
    if extension not in known:
        raise OptionError(f"{path}: cannot draw a {extension or 'nameless'} file; expected one of {', '.join(known)}")


def new_figure() -> Any:
    """An empty matplotlib figure of 8 x 6 inches. Raises OptionError where matplotlib is missing."""
    with needed_package("drawing a plot needs the matplotlib package", "'pydarknet[plot]'"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: StrPath) -> None:
    """Write a figure in the form that the extension names. Raises OutputError."""
    content = io.BytesIO()
    try:
        figure.savefig(content, format=Path(path).suffix.lower().removeprefix("."), dpi=120)
    except (ValueError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot draw the plot: {error}") from error
    write_file(path, content.getvalue())


# A colour that no chart uses otherwise: `inline_svg` replaces it by the page's own.
INK = "#010203"


@contextlib.contextmanager
def inline_style(salt: str) -> Iterator[None]:
    """Within the block, figures are drawn in `INK` on nothing, for `inline_svg`. salt: makes the names in the
    SVG those of this figure alone. Raises OptionError where matplotlib is missing."""
    new_figure()
    from matplotlib import rc_context

    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 11}
    for part in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"):
        style[part] = INK
    with rc_context({**style, "figure.facecolor": "none", "axes.facecolor": "none"}):
        yield


def inline_svg(figure: Any) -> str:
    """A figure as an <svg> element for a page: as wide as its place, in the page's colour and font."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", dpi=150, transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # names that every figure has and nothing refers to
    head, end, rest = text.partition(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return re.sub(r"(?<=font: )[^;\"]*?(?=[\d.]+px)", "", f"{head}{end}{rest}".replace(INK, "currentColor"))
