"""JSON that every reader takes: no NaN or Infinity, which the standard has no numbers for, and text that is UTF-8."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(content: Any, **options: Any) -> str:
    """`json.dumps(content, **options)` with null in the place of NaN and infinity."""
    try:
        return json.dumps(content, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_with_nulls(content), allow_nan=False, **options)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(text: str) -> str:
    """Text that JSON can hold: bytes that are not UTF-8 become the replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
