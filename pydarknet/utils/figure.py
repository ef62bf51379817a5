"""Pictures of figures. The only part that needs matplotlib (extra `plot`)."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, OutputError
from .files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise OptionError where matplotlib is missing or does not know the extension of `path`."""
    known = new_figure().canvas.get_supported_filetypes()
    extension = Path(path).suffix.lower().removeprefix(".")
    if extension not in known:
        raise OptionError(f"{path}: cannot draw a {extension or 'nameless'} file; expected one of {', '.join(known)}")


def new_figure() -> Figure:
    """An empty figure of 8 x 6 inches. Raises OptionError where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OptionError("drawing a plot needs the matplotlib package: pip install 'pydarknet[plot]'") from None
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure in the form that the extension names. Raises OutputError."""
    content = io.BytesIO()
    try:
        figure.savefig(content, format=Path(path).suffix.lower().removeprefix("."), dpi=120)
    except (ValueError, RuntimeError) as error:
        raise OutputError(f"{path}: cannot draw the plot: {error}") from error
    write_file(path, content.getvalue())
