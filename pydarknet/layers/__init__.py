"""Every layer type by its cfg name. A new layer is one file and one line here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from ..config import did_you_mean
from ..dialect import Dialect
from ..errors import ConfigError
from .base import INPUT, Changes, Layer, Parameter, Place


class _Table(Mapping[str, type[Layer]]):
    """Layers by name, each imported when it is asked for: a network has few of them, and start-up counts."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> type[Layer]:
        module, _, layer = self._places[name].partition(".")
        return getattr(import_module(f".{module}", __name__), layer)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


# Where each layer stands: file and class.
LAYERS = _Table({
    "activation": "simple.ActivationLayer",
    "avg": "pooling.Avgpool",
    "avgpool": "pooling.Avgpool",
    "batchnorm": "batchnorm_layer.BatchNormLayer",
    "conn": "connected.Connected",
    "connected": "connected.Connected",
    "contrastive": "simple.Contrastive",
    "conv": "convolutional.Convolutional",
    "conv_lstm": "recurrent_convolutional.ConvLstm",
    "convolutional": "convolutional.Convolutional",
    "cost": "simple.Cost",
    "crnn": "recurrent_convolutional.Crnn",
    "crop": "plain.Crop",
    "deconv": "deconvolutional.Deconvolutional",
    "deconvolutional": "deconvolutional.Deconvolutional",
    "detection": "region.DetectionHead",
    "dropout": "dropout.Dropout",
    "empty": "simple.Empty",
    "Gaussian_yolo": "yolo.GaussianYolo",
    "gru": "recurrent.Gru",
    "history": "simple.History",
    "implicit": "simple.Implicit",
    "iseg": "plain.Iseg",
    "l2norm": "plain.L2Norm",
    "local": "local.Local",
    "local_avg": "pooling.LocalAvgpool",
    "local_avgpool": "pooling.LocalAvgpool",
    "logistic": "plain.Logistic",
    "lrn": "plain.Normalization",
    "lstm": "recurrent.Lstm",
    "max": "pooling.Maxpool",
    "maxpool": "pooling.Maxpool",
    "normalization": "plain.Normalization",
    "region": "region.Region",
    "reorg": "resampling.Reorg",
    "reorg3d": "resampling.Reorg3d",
    "rnn": "recurrent.Rnn",
    "route": "route.Route",
    "sam": "scaling.Sam",
    "scale_channels": "scaling.ScaleChannels",
    "shortcut": "shortcut.Shortcut",
    "silence": "simple.Empty",
    "soft": "softmax.Softmax",
    "softmax": "softmax.Softmax",
    "upsample": "resampling.Upsample",
    "yolo": "yolo.Yolo",
})  # fmt: skip


def layer_class(section_kind: str, dialect: Dialect) -> type[Layer]:
    """The class for a section's name. Raises ConfigError (without a place) that lists the known ones."""
    known = sorted(set(LAYERS) - dialect.foreign_sections, key=str.lower)
    if section_kind in known:
        return LAYERS[section_kind]
    hint = did_you_mean(section_kind, known)
    if section_kind in LAYERS:
        hint = "; the other dialect has it, see --dialect"
    raise ConfigError(
        f"Type not recognized: [{section_kind}]{hint}; the {dialect.name} dialect knows: {', '.join(known)}"
    )


__all__ = ["INPUT", "LAYERS", "Changes", "Layer", "Parameter", "Place", "layer_class"]
