"""The best weights of all runs in a folder, and a sidecar file with their measurement.

NAME_best.json belongs to NAME_best.weights and holds its hash. Both are written under temporary names; then the weights
are renamed, then the sidecar. A kill between the two leaves NAME_best.json.new, whose hash fits the new weights.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..network.network import Network
from ..utils.files import flush, hash_of, to_json, write_file

log = logging.getLogger("pydarknet")

NEW = ".new"


class BestWeights:
    """NAME_best.weights in a folder."""

    def __init__(self, folder: Path, base: str) -> None:
        self.path = folder / f"{base}_best.weights"
        self.sidecar = folder / f"{base}_best.json"

    def record(self) -> dict[str, Any] | None:
        """The sidecar's content; None if there are no weights, or no sidecar that belongs to them."""
        if not self.path.is_file():
            return None
        for candidate in (self.sidecar, self._new):
            try:
                content = json.loads(candidate.read_text(encoding="utf-8"))
                if content["hash"] == hash_of(self.path):
                    return {**content, "value": float(content["value"])}
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return None

    @property
    def _new(self) -> Path:
        return self.sidecar.with_name(self.sidecar.name + NEW)

    def save_if_best(self, network: Network, value: float, about: dict[str, Any]) -> Path | None:
        """Write the network's parameters unless the weights in the folder are better. Returns the path if they are
        written.

        value: the measurement. about: further content of the sidecar. Weights without a sidecar, such as darknet's own,
        are renamed to NAME_best.old.weights. Raises OutputError.
        """
        known = self.record()
        if known is not None and known["value"] > value:
            log.warning(
                "%s has %s = %f of iteration %s, better than %f; it is kept",
                self.path,
                known.get("kind", "value"),
                known["value"],
                known.get("iteration", "?"),
                value,
            )
            return None
        temporary = self.path.with_name(f".{self.path.name}{NEW}")
        try:
            if known is None and self.path.exists():
                aside = self.path.with_name(f"{self.path.stem}.old.weights")
                log.warning("%s: these weights have no record of their value; they are renamed to %s", self.path, aside)
                self.path.replace(aside)
            network.save_weights(temporary)
            content = {**about, "value": value, "weights": self.path.name, "hash": hash_of(temporary)}
            write_file(self._new, to_json(content, indent=1).encode() + b"\n")
            temporary.replace(self.path)
            flush(self.path.parent)
            self._new.replace(self.sidecar)
            flush(self.path.parent)
        except (OSError, OutputError) as error:
            temporary.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).rpartition(": ")[2]
            raise OutputError(f"{self.path}: cannot write: {reason}") from error
        return self.path
