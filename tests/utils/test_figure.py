"""Figures: which files they can become, and what is said where they cannot."""

import sys

import cv2
import pytest

from pydarknet.errors import OptionError, OutputError
from pydarknet.utils.figure import check_plot, new_figure, save_figure


@pytest.mark.parametrize("name, kind", [("plot.bmp2", "bmp2"), ("plot", "nameless")])
def test_unknown_extensions_are_refused_with_the_known_ones(name, kind):
    with pytest.raises(OptionError, match=rf"{name}: cannot draw a {kind} file; expected one of .*png"):
        check_plot(name)


def test_a_figure_becomes_a_picture_of_its_size(tmp_path):
    check_plot(tmp_path / "plot.PNG")
    save_figure(new_figure(), tmp_path / "plot.PNG")
    assert cv2.imread(str(tmp_path / "plot.PNG")).shape == (720, 960, 3)  # 8 x 6 inches of 120 dots


def test_a_figure_into_nowhere_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="no-such-folder"):
        save_figure(new_figure(), tmp_path / "no-such-folder" / "plot.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OptionError, match=r"pip install 'pydarknet\[plot\]'"):
        new_figure()
