"""Every layer of both darknets; `registry.py` holds the table of their cfg names."""

from .registry import INPUT, LAYERS, Changes, Layer, Parameter, Place, layer_class

__all__ = ["INPUT", "LAYERS", "Changes", "Layer", "Parameter", "Place", "layer_class"]
