"""Hatchling's hook for wheels: with compiled kernels if `build.py` requests it, else for any platform.

It does not import the package, because Hatchling runs it without the package's requirements.
"""

import os
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `build.py` needs only the names below
    BuildHookInterface = object  # type: ignore[misc, assignment]

FOLDER_VARIABLE, PLATFORM_VARIABLE = "PYDARKNET_SHIPPED_FOLDER", "PYDARKNET_WHEEL_PLATFORM"


class ShippedKernels(BuildHookInterface):
    """Adds the files of a folder as `pydarknet/shipped/`, and the tag of their platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder or version == "editable":
            return
        for path in sorted(Path(folder).iterdir()):
            build_data["force_include"][str(path)] = f"pydarknet/shipped/{path.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{os.environ[PLATFORM_VARIABLE]}"
