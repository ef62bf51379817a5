"""A detector made by hand for coloured squares, for evaluation commands: it finds most of them."""

import numpy as np

import pydarknet
from support.networks import randomise
from support.training_files import detection_files

RED, BLUE = 0, 2  # channels of the input


def evaluation_files(folder, **options):
    """The .data and .cfg file of a set of ten pictures, and the weights of a detector for them."""
    files = detection_files(folder, **options)
    model = pydarknet.load(files.cfg, dialect="alexeyab")
    randomise(model, seed=11)
    (offsets, scales, means, variances, kernels), (biases, filters) = (model.layers[i].parameters() for i in (0, 2))
    offsets[:2], scales[:2], means[:2], variances[:2] = 0, 1, 0, 1
    kernels[:2] = -0.1
    kernels[0, BLUE] = kernels[1, RED] = 0.2  # 1.1 in the middle of a square
    filters *= 0.2  # the other features are noise
    filters[2:4], biases[:4] = 0, (0, 0, -0.1, -0.1)  # boxes of about the square's size
    filters[4, :2], biases[4] = 6, -5  # objectness
    filters[5:, :2], biases[5:] = np.array([[5, -3], [-3, 5]])[:, :, None, None], -1
    weights = folder / "net.weights"
    model.save_weights(weights)
    files.data.write_text(f"classes=2\nvalid={folder}/train.txt\nnames={folder}/names\nresults={folder}/results\n")
    return files, weights
