"""Augmentation: random changes of pictures and their boxes."""
