"""pydarknet on a cluster of Ray (extra `ray`). Nothing else in the package imports Ray, and this only when it runs."""

from .detector import Detector

__all__ = ["Detector"]
