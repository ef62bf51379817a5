"""Data sets: lists of pictures, labels, augmentation, mini-batches, conversion."""
