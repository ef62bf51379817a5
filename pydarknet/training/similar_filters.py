"""AlexeyAB's `weights_reject_freq`: one of two very similar filters is initialised again."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from ..layers import Layer

log = logging.getLogger("pydarknet")

SIMILARITY = 0.4  # cosine of two filters
NEAR_HEAD = 3  # layers before a head that are not changed


def reject_similar(layers: Sequence[Layer], rng: np.random.Generator) -> list[int]:
    """Initialise again the first filter of each convolution's most similar pair, if their cosine is above SIMILARITY.

    The first layer, linear convolutions and those near a head are not changed. Returns the indices of changed layers.
    """
    changed = []
    for index, layer in enumerate(layers):
        following = layers[index + 1 : index + 1 + NEAR_HEAD]
        if index == 0 or not layer.has_filters or any(other.is_head for other in following):
            continue
        parameters = {record.name: record.array for record in layer.named_parameters()}
        activation = getattr(layer, "activation", None)
        if "weights" not in parameters or len(parameters["weights"]) < 2 or activation is None or activation.is_linear:
            continue
        weights = parameters["weights"]
        pair, cosine = _most_similar(weights.reshape(len(weights), -1))
        if cosine <= SIMILARITY:
            continue
        log.info("layer %d: filters %d and %d are similar (cosine %f)", index, *pair, cosine)
        spread = np.sqrt(2 / weights[0].size)
        weights[pair[0]] = spread * (2 * rng.random(weights.shape[1:], np.float32) - 1)
        parameters["biases"][pair[0]] = 0
        if "scales" in parameters:
            parameters["scales"][pair[0]] = 1
        changed.append(index)
    return changed


def _most_similar(filters: np.ndarray) -> tuple[tuple[int, int], float]:
    """The first pair of rows with the largest cosine, and that cosine."""
    lengths = np.linalg.norm(filters, axis=1)
    unit = filters / np.where(lengths > 0, lengths, 1)[:, None]
    cosines = unit @ unit.T
    cosines[np.tril_indices(len(filters))] = -np.inf
    first, second = divmod(int(cosines.argmax()), len(filters))
    return (first, second), float(cosines[first, second])
