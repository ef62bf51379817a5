"""The table of layer classes by cfg name. A new layer is a file and a line here."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

from ..config.dialect import Dialect
from ..config.sections import did_you_mean
from ..errors import ConfigError
from .base import INPUT, BuildContext, Changes, Layer, Parameter


class _Table(UserDict[str, Any]):
    """Classes by cfg name, each imported at first use: a network has few of them, and start-up time counts."""

    def __getitem__(self, name: str) -> type[Layer]:
        module, _, layer = self.data[name].rpartition(".")
        return getattr(import_module(f".{module}", __package__), layer)


# File and class of each layer.
LAYERS = _Table({
    "activation": "activation.ActivationLayer",
    "avg": "pooling.Avgpool",
    "avgpool": "pooling.Avgpool",
    "batchnorm": "batchnorm.BatchNormLayer",
    "conn": "connected.Connected",
    "connected": "connected.Connected",
    "contrastive": "cost.Contrastive",
    "conv": "convolution.convolutional.Convolutional",
    "conv_lstm": "recurrent.conv_rnn.ConvLstm",
    "convolutional": "convolution.convolutional.Convolutional",
    "cost": "cost.Cost",
    "crnn": "recurrent.conv_rnn.Crnn",
    "crop": "simple.Crop",
    "deconv": "convolution.deconvolutional.Deconvolutional",
    "deconvolutional": "convolution.deconvolutional.Deconvolutional",
    "detection": "heads.detection.DetectionHead",
    "dropout": "dropout.Dropout",
    "empty": "simple.Empty",
    "Gaussian_yolo": "heads.yolo.GaussianYolo",
    "gru": "recurrent.rnn.Gru",
    "history": "simple.History",
    "implicit": "simple.Implicit",
    "iseg": "simple.Iseg",
    "l2norm": "simple.L2Norm",
    "local": "convolution.local.Local",
    "local_avg": "pooling.LocalAvgpool",
    "local_avgpool": "pooling.LocalAvgpool",
    "logistic": "activation.Logistic",
    "lrn": "simple.Normalization",
    "lstm": "recurrent.rnn.Lstm",
    "max": "pooling.Maxpool",
    "maxpool": "pooling.Maxpool",
    "normalization": "simple.Normalization",
    "region": "heads.region.Region",
    "reorg": "resample.Reorg",
    "reorg3d": "resample.Reorg3d",
    "rnn": "recurrent.rnn.Rnn",
    "route": "route.Route",
    "sam": "scale_channels.Sam",
    "scale_channels": "scale_channels.ScaleChannels",
    "shortcut": "shortcut.Shortcut",
    "silence": "simple.Empty",
    "soft": "softmax.Softmax",
    "softmax": "softmax.Softmax",
    "upsample": "resample.Upsample",
    "yolo": "heads.yolo.Yolo",
})  # fmt: skip


def layer_class(section_kind: str, dialect: Dialect) -> type[Layer]:
    """The class for a section's name. Raises ConfigError, without file and line, that lists the known names."""
    known = sorted(set(LAYERS) - dialect.foreign_sections, key=str.lower)
    if section_kind in known:
        return LAYERS[section_kind]
    hint = did_you_mean(section_kind, known)
    if section_kind in LAYERS:
        hint = "; the other dialect has it, see --dialect"
    raise ConfigError(
        f"Type not recognized: [{section_kind}]{hint}; the {dialect.name} dialect knows: {', '.join(known)}"
    )


__all__ = ["INPUT", "LAYERS", "BuildContext", "Changes", "Layer", "Parameter", "layer_class"]
