"""Every layer of both darknets: the table of their classes by cfg name."""

from collections import UserDict
from importlib import import_module
from typing import Any

from ..config.dialect import Dialect
from ..config.sections import did_you_mean
from ..errors import ConfigError
from .base import INPUT, BuildContext, Changes, Layer, Parameter

__all__ = ["INPUT", "LAYERS", "BuildContext", "Changes", "Layer", "Parameter", "layer_class"]


class _Table(UserDict[str, Any]):
    """Classes by cfg name, each imported at first use."""

    def __getitem__(self, name: str) -> type[Layer]:
        module, _, layer = self.data[name].rpartition(".")
        return getattr(import_module(f".{module}", __package__), layer)


# File and class of each layer, and its names in cfg files.
_NAMES = {
    "activations.ActivationLayer": "activation",
    "batchnorm.BatchNormLayer": "batchnorm",
    "connected.Connected": "conn connected",
    "connected.Local": "local",
    "convolution.convolutional.Convolutional": "conv convolutional",
    "convolution.convolutional.Deconvolutional": "deconv deconvolutional",
    "heads.detection.DetectionHead": "detection",
    "heads.region.Region": "region",
    "heads.yolo.GaussianYolo": "Gaussian_yolo",
    "heads.yolo.Yolo": "yolo",
    "joins.Route": "route",
    "joins.Sam": "sam",
    "joins.ScaleChannels": "scale_channels",
    "joins.Shortcut": "shortcut",
    "losses.Contrastive": "contrastive",
    "losses.Cost": "cost",
    "losses.Logistic": "logistic",
    "losses.Softmax": "soft softmax",
    "recurrent.conv_rnn.ConvLstm": "conv_lstm",
    "recurrent.conv_rnn.Crnn": "crnn",
    "recurrent.rnn.Gru": "gru",
    "recurrent.rnn.Lstm": "lstm",
    "recurrent.rnn.Rnn": "rnn",
    "resample.Avgpool": "avg avgpool",
    "resample.LocalAvgpool": "local_avg local_avgpool",
    "resample.Maxpool": "max maxpool",
    "resample.Reorg": "reorg",
    "resample.Reorg3d": "reorg3d",
    "resample.Upsample": "upsample",
    "simple.Crop": "crop",
    "simple.Dropout": "dropout",
    "simple.Empty": "empty silence",
    "simple.History": "history",
    "simple.Implicit": "implicit",
    "simple.Iseg": "iseg",
    "simple.L2Norm": "l2norm",
    "simple.Normalization": "lrn normalization",
}
LAYERS = _Table({name: place for place, names in _NAMES.items() for name in names.split()})


def layer_class(section_kind: str, dialect: Dialect) -> type[Layer]:
    """The class for a section's name. Raises ConfigError."""
    known = sorted(set(LAYERS) - dialect.foreign_sections, key=str.lower)
    if section_kind in known:
        return LAYERS[section_kind]
    hint = did_you_mean(section_kind, known)
    if section_kind in LAYERS:
        hint = "; the other dialect has it, see --dialect"
    raise ConfigError(
        f"Type not recognized: [{section_kind}]{hint}; the {dialect.name} dialect knows: {', '.join(known)}"
    )
