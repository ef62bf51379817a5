"""The base of layers whose forward pass is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..runtime.program import Call
from ..tensor import Tensor
from .base import Layer


@dataclass(kw_only=True, eq=False, repr=False)
class KernelLayer(Layer):
    """A layer whose forward pass is calls, of kernels if it can be, with arguments that stay the same from one
    `setup` to the next."""

    _calls: Sequence[Call] | None = field(default=None, repr=False)

    def setup(self, sources: list[Tensor], output: Tensor | None) -> None:
        super().setup(sources, output)
        self._calls = None

    def bind(self) -> Sequence[Call]:
        """The calls, for the tensors that the layer is bound to."""
        raise NotImplementedError

    def calls(self) -> Sequence[Call]:
        if self._calls is None:  # not before they are needed: in training some are not
            self._calls = self.bind()
        return self._calls

    def forward(self) -> None:
        for call in self.calls():
            call()
