"""Every layer of both darknets; `registry.py` holds the table of their cfg names."""

from .registry import INPUT, LAYERS, BuildContext, Changes, Layer, Parameter, layer_class

__all__ = ["INPUT", "LAYERS", "BuildContext", "Changes", "Layer", "Parameter", "layer_class"]
