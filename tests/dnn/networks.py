"""Networks for comparisons with OpenCV: which of the bundled ones it reads, and parameters for them."""

from pathlib import Path

import numpy as np

from pydarknet.model import load_model

ROOT = Path(__file__).parents[2]

# The bundled networks whose layers OpenCV's importer knows.
READ_BY_OPENCV = [
    "alexnet", "darknet", "darknet19", "darknet19_448", "darknet53", "darknet9000", "extraction", "resnet50",
    "small", "squeezenet-caffe", "squeezenet", "tiny", "toys", "vgg-16", "yolo-fastest", "yolo9000",
    "yolov2-tiny-voc", "yolov2-tiny", "yolov2-voc", "yolov2", "yolov3-spp", "yolov3-tiny", "yolov3", "yolov4-csp",
    "yolov4-custom", "yolov4-tiny-3l", "yolov4-tiny-custom", "yolov4-tiny", "yolov4", "yolov7-tiny", "yolov7",
]  # fmt: skip
# Those that OpenCV then computes otherwise or not at all: it has no word trees, and no shortcuts between layers of two
# sizes; behind a crop or slices of several sources it gives a layer's parameters to another one.
NOT_COMPUTED = {"darknet9000", "yolo9000", "vgg-16", "resnet50", "adjusted_crop", "slices"}

_CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation="
_POOL = "[maxpool]\nsize=2\nstride=2\n"
_HEAD = "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
_YOLO = "[yolo]\nclasses=2\nnum=4\nmask=1,3\nanchors=4,5, 6,7, 8,9, 12,20\n"
# Small networks, each with something of its own.
SMALL = {
    "activations": "".join(f"{_CONV}{name}\n" for name in ("relu", "leaky", "swish", "mish", "logistic", "tanh")),
    "normalised": f"{_CONV}leaky\nbatch_normalize=1\n{_CONV}linear\nbatch_normalize=1\n",
    "sam": f"{_CONV}leaky\n{_CONV}logistic\n[sam]\nfrom=0\n",
    "scale_channels": f"{_CONV}leaky\n[avgpool]\n{_CONV}logistic\n[scale_channels]\nfrom=0\nactivation=leaky\n",
    "shortcut": f"{_CONV}leaky\n{_CONV}linear\n[shortcut]\nfrom=-2\nactivation=leaky\n[dropout]\n",
    "slice": f"{_CONV}leaky\n[route]\nlayers=-1\ngroups=2\ngroup_id=1\n{_CONV}leaky\n",
    "slices": f"{_CONV}leaky\n{_CONV}leaky\n[route]\nlayers=-1,-2\ngroups=2\ngroup_id=1\n{_CONV}linear\n",
    "crop": f"[crop]\ncrop_width=6\ncrop_height=5\nnoadjust=1\n{_CONV}leaky\n",
    "adjusted_crop": f"[crop]\ncrop_width=6\ncrop_height=5\n{_CONV}leaky\n",
    "pools": f"{_CONV}leaky\n{_POOL}[maxpool]\nsize=3\nstride=1\n[reorg]\nstride=2\n[upsample]\nstride=2\n[avgpool]\n",
    "connected": f"{_CONV}leaky\n[connected]\noutput=7\nactivation=leaky\n[dropout]\n[connected]\noutput=5\n"
    "activation=linear\n[softmax]\n[cost]\n",
    "yolo": f"{_CONV}leaky\n{_HEAD}{_YOLO}[route]\nlayers=0\n{_HEAD}{_YOLO}scale_x_y=1.2\nthresh=0.1\n",
    "yolo_nms": f"{_HEAD}{_YOLO}nms_threshold=0.2\nthresh=0.05\n",
    "new_coords": f"{_CONV}leaky\n{_HEAD.replace('linear', 'logistic')}{_YOLO}new_coords=1\nscale_x_y=2\n",
    "region": f"{_HEAD}[region]\nclasses=2\nnum=2\ncoords=4\nsoftmax=1\nthresh=.2\nanchors=1,1.5, 3,2\n",
    "region_classfix": f"{_HEAD}[region]\nclasses=2\nnum=2\ncoords=4\nsoftmax=1\nclassfix=-1\nanchors=1,1.5, 3,2\n",
    "two_ends": f"{_CONV}leaky\n{_POOL}[route]\nlayers=0\n{_CONV}linear\n",
}


def small(name):
    """The text of a small network, 8 x 8 pixels."""
    return f"[net]\nwidth=8\nheight=8\nchannels=3\n{SMALL[name]}"


def write_small(name, folder):
    """A small network with seeded parameters: the paths of its .cfg and .weights files."""
    cfg = folder / f"{name}.cfg"
    cfg.write_text(small(name))
    return cfg, write_parameters(cfg, folder / f"{name}.weights")


def write_parameters(cfg, target, side=None):
    """A .weights file of seeded numbers with which outputs neither vanish nor explode: residual branches are small, and
    what detection heads read has a deviation of 1.5 or 2.5."""
    model = load_model(cfg, seed=1)
    rng = np.random.default_rng(2)
    for index, layer in enumerate(model.layers):
        for parameter in layer.named_parameters():
            kind, shape = parameter.name.rpartition(".")[2], parameter.array.shape
            if kind == "scales":
                residual = any(later.kind == "shortcut" for later in model.layers[index + 1 : index + 2])
                parameter.array[:] = rng.uniform(0.2, 0.3, shape) if residual else rng.uniform(0.8, 1.2, shape)
            elif kind == "rolling_variance":
                parameter.array[:] = rng.uniform(0.5, 1.5, shape)
            elif kind in ("rolling_mean", "biases"):
                parameter.array[:] = 0.1 * rng.standard_normal(shape)
    model.parameters_changed()
    x = blob(model.input_shape if side is None else (model.input_shape[0], side, side))
    for head in model.heads:
        source = model.layers[head].sources[0]
        sums = model.layer_outputs(x)[source]
        if model.layers[source].section.text("activation") == "logistic":
            certain = np.clip(sums.astype(np.float64), 1e-7, 1 - 1e-7)
            sums = np.log(certain / (1 - certain))
        deviation = sums.std()
        for parameter in model.layers[source].named_parameters():
            parameter.array[...] *= (2.5 if model.layers[head].kind == "region" else 1.5) / deviation
        model.parameters_changed()
    model.save_weights(target)
    return target


def blob(shape, seed=3):
    """A smooth seeded input (1, c, h, w) of numbers from 0 to 1."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    side = 4 if height > 16 else 1  # of squares of one colour, in pixels
    coarse = rng.random((1, channels, -(-height // side), -(-width // side)), np.float32)
    return np.ascontiguousarray(coarse.repeat(side, 2).repeat(side, 3)[:, :, :height, :width])
