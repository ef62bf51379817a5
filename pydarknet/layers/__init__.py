"""Every layer type by its cfg name. A new layer is one file and one line here."""

from __future__ import annotations

from ..config import did_you_mean
from ..dialect import Dialect
from ..errors import ConfigError
from .base import INPUT, Layer, Parameter, Place
from .batchnorm_layer import BatchNormLayer
from .connected import Connected
from .convolutional import Convolutional
from .deconvolutional import Deconvolutional
from .dropout import Dropout
from .local import Local
from .plain import Crop, Iseg, L2Norm, Logistic, Normalization
from .pooling import Avgpool, LocalAvgpool, Maxpool
from .recurrent import Gru, Lstm, Rnn
from .recurrent_convolutional import ConvLstm, Crnn
from .region import DetectionHead, Region
from .resampling import Reorg, Reorg3d, Upsample
from .route import Route
from .scaling import Sam, ScaleChannels
from .shortcut import Shortcut
from .simple import ActivationLayer, Contrastive, Cost, Empty, History, Implicit
from .softmax import Softmax
from .yolo import GaussianYolo, Yolo

LAYERS: dict[str, type[Layer]] = {
    "activation": ActivationLayer,
    "avg": Avgpool,
    "avgpool": Avgpool,
    "batchnorm": BatchNormLayer,
    "conn": Connected,
    "connected": Connected,
    "contrastive": Contrastive,
    "conv": Convolutional,
    "conv_lstm": ConvLstm,
    "convolutional": Convolutional,
    "cost": Cost,
    "crnn": Crnn,
    "crop": Crop,
    "deconv": Deconvolutional,
    "deconvolutional": Deconvolutional,
    "detection": DetectionHead,
    "dropout": Dropout,
    "empty": Empty,
    "Gaussian_yolo": GaussianYolo,
    "gru": Gru,
    "history": History,
    "implicit": Implicit,
    "iseg": Iseg,
    "l2norm": L2Norm,
    "local": Local,
    "local_avg": LocalAvgpool,
    "local_avgpool": LocalAvgpool,
    "logistic": Logistic,
    "lrn": Normalization,
    "lstm": Lstm,
    "max": Maxpool,
    "maxpool": Maxpool,
    "normalization": Normalization,
    "region": Region,
    "reorg": Reorg,
    "reorg3d": Reorg3d,
    "rnn": Rnn,
    "route": Route,
    "sam": Sam,
    "scale_channels": ScaleChannels,
    "shortcut": Shortcut,
    "silence": Empty,
    "soft": Softmax,
    "softmax": Softmax,
    "upsample": Upsample,
    "yolo": Yolo,
}


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


__all__ = ["INPUT", "LAYERS", "Layer", "Parameter", "Place", "layer_class"]
