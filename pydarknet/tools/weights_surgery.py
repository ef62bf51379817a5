"""darknet's tools that change a network's parameters in place, or print them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..errors import ConfigError, OptionError, WeightsError
from ..layers import Layer
from ..layers.batchnorm import BatchNorm
from ..layers.connected import Connected
from ..layers.convolution.convolutional import Convolutional, Deconvolutional
from ..layers.recurrent.rnn import Gru, Lstm
from ..network.network import Network
from ..network.weights import Header, load_weights
from ..training.learner import mini_batch
from ..utils.arrays import Array
from ..utils.files import StrPath, log, read_text

Part = Convolutional | Deconvolutional | Connected  # layers with one weight array and, optionally, batch normalisation
# Added to variances when batch normalisation is folded into the weights.
CONVOLUTION_EPSILON, CONNECTED_EPSILON = 1e-5, 1e-6
OBJECTNESS_ROWS = 5  # filters of an anchor before its classes: box and objectness


def set_header(network: Network, seen: int | None = None) -> None:
    """Set the dialect's header. seen: images seen, by default as loaded."""
    seen = network.header.seen if seen is None else seen
    if network.dialect.writes_whole_iterations:
        net = network.config.net
        seen -= seen % (mini_batch(net) * net.positive("subdivisions", 1))
    network.header = Header(*network.dialect.version, seen)


def parts_of(layer: Layer, lstm: bool = False) -> list[Part]:
    """The parts of a layer that darknet's tools change: itself, or gates."""
    if isinstance(layer, Gru) or (lstm and isinstance(layer, Lstm)):
        return list(layer.parts.values())
    if isinstance(layer, Convolutional) and layer.shares is not None:
        return []
    return [layer] if isinstance(layer, (Convolutional, Deconvolutional, Connected)) else []


def first_convolution(network: Network) -> Convolutional | None:
    """The first convolution, if its filters have three channels; else None, with a warning."""
    where, found = str(network.path), "no [convolutional] layer"
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Convolutional):
            channels = layer.weights.shape[1]
            if channels == 3:
                return layer
            where, found = f"layer {index} [{layer.kind}]", f"its filters have {channels} channels, expected 3"
            break
    log.warning("%s: %s; nothing changes", where, found)
    return None


def rescale(network: Network) -> None:
    """Convert a network for inputs in -1..1 to 0..1; not exact with batch normalisation."""
    layer = first_convolution(network)
    if layer is not None:
        layer.weights *= 2
        layer.biases -= np.float32(0.5) * layer.weights.sum(axis=(1, 2, 3))
        network.parameters_changed()


def swap_red_and_blue(network: Network) -> None:
    """Convert between RGB and BGR input, in the first convolution."""
    layer = first_convolution(network)
    if layer is not None:
        layer.weights[:] = layer.weights[:, ::-1].copy()
        network.parameters_changed()


# --- batch normalisation ---


def normalize(network: Network, variance: float = 0.0) -> None:
    """Add batch normalisation to convolutions and `[connected]` layers that have none: scales 1, means 0,
    `variance`.

    darknet's variance of 0 is for networks that are trained further; with 1 the network computes the same,
    except
    for epsilon. In `[gru]` (AlexeyAB: and `[lstm]`) it is reset where it exists, and not added where it does
    not.
    """
    if variance < 0:
        raise OptionError(f"variance {variance}: expected at least 0")
    dialect = network.dialect
    roots = dialect.epsilon_inside_root, dialect.connected_epsilon_inside_root
    for index, layer in enumerate(network.layers):
        recurrent = hasattr(layer, "parts")
        parts = [part for part in parts_of(layer, dialect.tools_know_lstm) if (part.norm is not None) == recurrent]
        for part in parts:
            part.norm = BatchNorm(part.biases.size, roots[isinstance(part, Connected)])
            part.norm.rolling_variance[:] = variance
        if recurrent and parts:
            log.warning("layer %d [%s]: its batch normalisation is reset, as in darknet", index, layer.kind)
    _share_again(network)


def fold(network: Network, remove: bool = False) -> None:
    """Fold batch normalisation into weights and biases, and reset it to scales 1, means 0, variances 1, or
    remove it.

    Of recurrent layers only in `[gru]`, and in AlexeyAB's darknet, if it is not removed, in `[lstm]`.
    """
    of_lstm = network.dialect.tools_know_lstm and not remove
    for part in (part for layer in network.layers for part in parts_of(layer, of_lstm)):
        if (norm := part.norm) is None:
            continue
        epsilon = CONNECTED_EPSILON if isinstance(part, Connected) else CONVOLUTION_EPSILON
        with np.errstate(invalid="ignore"):  # invalid statistics give NaN, as in C
            root = np.sqrt(norm.rolling_variance.astype(np.float64) + epsilon)
            factor = (norm.scales / root).astype(np.float32)
        axis = 1 if isinstance(part, Deconvolutional) else 0  # of the outputs
        part.weights *= np.expand_dims(factor, [other for other in range(part.weights.ndim) if other != axis])
        part.biases -= norm.rolling_mean * factor
        norm.scales[:], norm.rolling_mean[:], norm.rolling_variance[:] = 1, 0, 1
        part.norm = None if remove else norm
    _share_again(network)


def denormalize(network: Network) -> None:
    """Fold batch normalisation into weights and biases and remove it, see `fold`."""
    fold(network, remove=True)


def _share_again(network: Network) -> None:
    for layer in network.layers:
        if isinstance(layer, Convolutional) and layer.shares is not None:
            layer.norm = layer.shares.norm
    network.parameters_changed()


def layers_with_norm(network: Network) -> list[int]:
    """The indices of the layers that have batch normalisation, themselves or in a part."""
    parts = [getattr(layer, "parts", {"": layer}).values() for layer in network.layers]
    return [i for i, each in enumerate(parts) if any(getattr(part, "norm", None) is not None for part in each)]


def cfg_text(network: Network) -> str:
    """The text of the network's cfg, with `batch_normalize` changed to match the layers."""
    lines = read_text(network.path, ConfigError).split("\n")
    normalised = layers_with_norm(network)
    for index, layer in reversed(list(enumerate(network.layers))):  # from the end: line numbers stay valid
        section, wanted = layer.section, index in normalised
        if layer.kind == "batchnorm" or (section.flag("batch_normalize") or section.flag("cbn")) == wanted:
            continue
        given = [option for option in section.options if option.key in ("batch_normalize", "cbn")]
        for option in given:
            lines[option.line - 1] = f"{option.key}={int(wanted)}"
        if not given:
            lines.insert(section.line, f"batch_normalize={int(wanted)}")
    return "\n".join(lines)


# --- files ---


def average(network: Network, paths: Sequence[StrPath], allow_partial: bool = False) -> None:
    """Load the mean of convolutions and `[connected]` of several files; all else is that of the first file."""
    if not paths:
        raise OptionError("no weights files; expected at least one")
    loaded = network.load_weights(paths[0], allow_partial)
    kept = [(array, array.copy()) for layer in network.layers for array in layer.parameters()]
    totals = [(array, array.copy()) for layer in network.layers for array in _averaged(layer)]
    for path in paths[1:]:
        network.load_weights(path, allow_partial)
        for array, total in totals:
            total += array
    means = [(array, total * np.float32(1 / len(paths))) for array, total in totals]
    for array, values in (*kept, *means):
        array[:] = values
    network.loaded, network.header = loaded, loaded.header
    network.parameters_changed()


def _averaged(layer: Layer) -> list[Array]:
    if isinstance(layer, Convolutional) and layer.shares is None:
        return layer.parameters()
    return [layer.biases, layer.weights] if isinstance(layer, Connected) else []


def load_first_layers(network: Network, path: StrPath, count: int, allow_partial: bool = False) -> None:
    """Load a file of at least the first `count` layers. Raises OptionError, WeightsError."""
    if not 0 <= count <= len(network.layers):
        raise OptionError(f"{count} layers: expected a number from 0 to {len(network.layers)}, those of {network.path}")
    network.loaded = network.load_weights(path, allow_partial)
    if network.loaded.layers < count:
        raise WeightsError(f"{os.fspath(path)}: holds {network.loaded.layers} whole layers; expected at least {count}")


def one_off(network: Network, path: StrPath, classes: int) -> int:
    """Convert the last layer but one from a classifier's to that of a detector of three anchors.

    The layer has 3 (5 + n) filters, n >= `classes`, and `classes` in the file. The file's become filters 5 and
    following of the first third, which is then copied to the others. The five filters before them are initial
    ones. Returns the number of filters. Raises OptionError, WeightsError.
    """
    layer, where = network.layers[-2] if len(network.layers) > 1 else None, f"{network.path}: the last layer but one"
    if not isinstance(layer, Convolutional) or layer.norm or layer.window.size != 1 or layer.groups != 1:
        raise OptionError(f"{where} must be a plain 1x1 [convolutional], without batch normalisation")
    third, rest = divmod(layer.filters, 3)
    if rest or third < OBJECTNESS_ROWS + classes:
        expected = f"3 x ({OBJECTNESS_ROWS} + n) with n at least the {classes} classes of the file"
        raise OptionError(f"{where} has {layer.filters} filters; expected {expected}")
    whole = layer.record_options
    layer.record_options = replace(whole, filters=classes)  # the record has this number of filters
    try:
        network.header = load_weights(path, network.layers).header
    finally:
        layer.record_options = whole
    found = layer.biases[:classes].copy(), layer.weights[:classes].copy()
    layer.initialise(np.random.default_rng(network.seed), network.dialect)
    if network.dialect.oneoff_shrinks:
        layer.weights *= np.float32(0.1)
    for array, values in zip((layer.biases, layer.weights), found, strict=True):
        array[OBJECTNESS_ROWS : OBJECTNESS_ROWS + classes] = values
        array[third : 2 * third] = array[2 * third :] = array[:third]
    network.parameters_changed()
    return layer.filters


# --- to print ---


def filter_rows(network: Network, index: int) -> Array:
    """The weights of layer `index`, (filters, channels * size * size). Raises OptionError."""
    if not 0 <= index < len(network.layers):
        raise OptionError(f"layer {index}: expected a number from 0 to {len(network.layers) - 1}")
    layer = network.layers[index]
    if not isinstance(layer, Convolutional):
        raise OptionError(f"layer {index} is [{layer.kind}]; expected [convolutional]")
    return layer.weights.reshape(layer.filters, -1)


# (name, root of the mean of squares, mean, variance) of one array
Moments = tuple[str, float, float, float]
# The title of a recurrent layer, and its parts with their titles.
RECURRENT: dict[type[Layer], tuple[str, dict[str, str]]] = {
    Gru: ("GRU", {"uz": "Input Z", "ur": "Input R", "uh": "Input H", "wz": "State Z", "wr": "State R",
                  "wh": "State H"}),
    Lstm: ("LSTM", {gate: gate for gate in ("wf", "wi", "wg", "wo", "uf", "ui", "ug", "uo")}),
}  # fmt: skip


def statistics(network: Network) -> Iterator[list[tuple[str, list[Moments]]]]:
    """Titles of each layer with the moments of scales, biases and weights, if it has batch normalisation."""
    known = (Gru, Lstm) if network.dialect.tools_know_lstm else Gru
    for index, layer in enumerate(network.layers):
        found: list[tuple[str, list[Moments]]] = []
        if isinstance(layer, Connected) and layer.norm:
            found = [(f"Connected Layer {index}", part_moments(layer))]
        elif isinstance(layer, known) and layer.section.flag("batch_normalize"):
            title, gates = RECURRENT[type(layer)]
            found = [(f"{title} Layer {index}", [])]
            found += [(name, part_moments(layer.parts[gate])) for gate, name in gates.items()]
        yield found


def part_moments(part: Connected) -> list[Moments]:
    """The moments of scales, biases and, as in darknet, the first weights, one per output."""
    assert part.norm is not None
    first = part.weights.reshape(-1)[: part.biases.size]
    arrays = {"Scales": part.norm.scales, "Biases": part.biases, "Weights": first}
    return [(name, *moments(values)) for name, values in arrays.items()]


def moments(values: Array) -> tuple[float, float, float]:
    """Root mean square, mean and variance of the values."""
    wide = values.astype(np.float64)
    return float(np.sqrt((wide**2).mean())), float(wide.mean()), float(wide.var())
