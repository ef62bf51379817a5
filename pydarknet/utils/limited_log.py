"""A limit on the number of similar warnings that are logged."""

from __future__ import annotations

import logging

log = logging.getLogger("pydarknet")

SHOWN = 20  # warnings that are logged one by one


class LimitedLog:
    """Logs the first `SHOWN` warnings and counts them all in `count`."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, text: str) -> None:
        """Count a warning, and log it if it is one of the first."""
        self.count += 1
        if self.count <= SHOWN:
            log.warning("%s", text)
        elif self.count == SHOWN + 1:
            log.warning("there are more warnings like these; only the first %d are shown", SHOWN)
