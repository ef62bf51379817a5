"""The table of layers: every name leads to a class, and each dialect knows its own."""

from __future__ import annotations

import pytest

from pydarknet.config.dialect import ALEXEYAB_SECTIONS, DIALECTS, PJREDDIE_SECTIONS
from pydarknet.errors import ConfigError
from pydarknet.layers.base import Layer
from pydarknet.layers.registry import LAYERS, layer_class


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_name_leads_to_a_layer(name):
    assert issubclass(LAYERS[name], Layer)


def test_sections_of_the_dialects_are_in_the_table():
    assert set(LAYERS) >= ALEXEYAB_SECTIONS | PJREDDIE_SECTIONS


@pytest.mark.parametrize("dialect, foreign", [("pjreddie", "scale_channels"), ("alexeyab", "deconvolutional")])
def test_a_section_of_the_other_dialect_is_refused_with_a_hint(dialect, foreign):
    with pytest.raises(ConfigError, match=rf"\[{foreign}\]; the other dialect has it, see --dialect"):
        layer_class(foreign, DIALECTS[dialect])


def test_a_misspelt_section_gets_a_suggestion():
    with pytest.raises(
        ConfigError, match=r"Type not recognized: \[convolutionl\].*convolutional.*the pjreddie dialect"
    ):
        layer_class("convolutionl", DIALECTS["pjreddie"])
