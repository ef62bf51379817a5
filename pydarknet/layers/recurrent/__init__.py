"""Recurrent layers and back-propagation through time."""
