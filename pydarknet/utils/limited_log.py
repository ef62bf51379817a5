"""Warnings about many lines of one kind, of which only the first are worth reading."""

from __future__ import annotations

import logging

log = logging.getLogger("pydarknet")

SHOWN = 20  # warnings that are logged one by one


class LimitedLog:
    """Logs the first `SHOWN` warnings and counts them all in `count`."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, text: str) -> None:
        """Count one warning; log it while few came before."""
        self.count += 1
        if self.count <= SHOWN:
            log.warning("%s", text)
        elif self.count == SHOWN + 1:
            log.warning("more labels are wrong; only the first %d are shown", SHOWN)
