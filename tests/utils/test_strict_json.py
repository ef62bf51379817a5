"""JSON that every reader takes."""

import json
import math

from pydarknet.utils.strict_json import json_text, to_json


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


def test_numbers_that_are_none_become_null():
    content = {"a": math.nan, "b": [1.5, -math.inf, (2, math.inf)], "c": "nan", "d": None}
    text = to_json(content)
    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": [1.5, None, [2, None]], "c": "nan", "d": None}


def test_finite_numbers_and_options_are_those_of_json():
    assert to_json({"b": 0.1, "a": "\u00e9"}, ensure_ascii=False, indent=1, sort_keys=True) == (
        '{\n "a": "\u00e9",\n "b": 0.1\n}'
    )


def test_bytes_that_are_no_text():
    assert json_text(b"a\xff".decode("utf-8", "surrogateescape")) == "a\ufffd"
