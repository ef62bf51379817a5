"""All differences between pjreddie's darknet and AlexeyAB's.

Apart from these, both read the same files and compute the same numbers to 1e-6. `pjreddie` follows its CPU build
in batch normalisation, because its published numbers come from it. Where a CPU build has an obvious fault, both
follow the GPU build.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from ..errors import OptionError
from .sections import Config, Section

EVERY_LAYER = "every layer"  # in the tables of keys: all sections but [net]


def key_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# Keys that only AlexeyAB's darknet reads, by section.
ALEXEYAB_KEYS: Mapping[str, frozenset[str]] = {
    "net": key_set("""
        learning_rate_min sgdr_cycle sgdr_mult seq_scales flip letter_box mosaic cutmix mixup
        mosaic_bound blur gaussian_noise label_smooth_eps resize_step dynamic_minibatch
        ema_alpha track augment_speed sequential_subdivisions try_fix_nan weights_reject_freq
        equidistant_point badlabels_rejection_percentage num_sigmas_reject_badlabels contrastive
        contrastive_jit_flip contrastive_color unsupervised adversarial_lr attention
        max_chart_loss optimized_memory workspace_size_limit_MB use_cuda_graph loss_scale
        show_receptive_field
    """),
    "convolutional": key_set("""
        stride_x stride_y dilation antialiasing share_index cbn bin_output assisted_excitation
        sway rotate stretch stretch_sway angle grad_centr reverse coordconv stream wait_stream
    """),
    "maxpool": key_set("stride_x stride_y maxpool_depth out_channels antialiasing maxpool_zero_nonmax"),
    "dropout": key_set("dropblock dropblock_size_rel dropblock_size_abs"),
    "route": key_set("groups group_id stream wait_stream"),
    "shortcut": key_set("weights_type weights_normalization"),
    "rnn": key_set("hidden logistic"),
    "crnn": key_set("output hidden size stride dilation pad padding groups xnor"),
    "yolo": key_set("""
        embedding_layer track_history_size sim_thresh dets_for_track dets_for_show track_ciou_norm
        resize scale_x_y new_coords iou_loss iou_normalizer obj_normalizer cls_normalizer
        delta_normalizer uc_normalizer iou_thresh iou_thresh_kind objectness_smooth focal_loss
        label_smooth_eps max_delta counters_per_class nms_kind beta_nms show_details yolo_point
    """),
    "region": key_set("focal_loss resize"),
    EVERY_LAYER: key_set("clip dont_update burnin_update train_only_bn"),
}

# Keys of [net] that both read.
NET_KEYS = key_set("""
    batch subdivisions time_steps inputs height width channels learning_rate momentum decay
    max_batches policy burn_in power step scale steps scales gamma adam B1 B2 eps max_crop
    min_crop angle aspect saturation exposure hue
""")

# Keys that only pjreddie's darknet reads, by section.
PJREDDIE_KEYS: Mapping[str, frozenset[str]] = {
    "net": key_set("max_ratio min_ratio center clip random notruth"),
    "cost": key_set("noobj thresh"),
    "connected": key_set("learning_rate"),
    "local": key_set("learning_rate"),
    "shortcut": key_set("alpha beta"),
    "reorg": key_set("flatten extra"),
    "gru": key_set("tanh"),
    "crnn": key_set("output_filters hidden_filters"),
    "region": key_set("background"),
    EVERY_LAYER: key_set("dontsave numload truth smooth"),
}

ALEXEYAB_SECTIONS = key_set("""
    local_avgpool local_avg reorg3d conv_lstm history scale_channels sam empty silence implicit
    contrastive Gaussian_yolo
""")
PJREDDIE_SECTIONS = key_set("deconvolutional deconv logistic l2norm iseg")
ALEXEYAB_ACTIVATIONS = key_set("""
    relu6 gelu revleaky swish mish hard_mish normalize_channels normalize_channels_softmax
    normalize_channels_softmax_maxval
""")
# Keys that only AlexeyAB's darknet reads, but pjreddie's own files contain too: they indicate neither dialect.
_NO_SIGN = key_set("hidden logistic")
_ALIASES = {"conn": "connected", "conv": "convolutional", "max": "maxpool", "network": "net"}

T = TypeVar("T")


def _each(pjreddie: T, alexeyab: T) -> T:
    return field(metadata={"pjreddie": pjreddie, "alexeyab": alexeyab})


@dataclass(frozen=True, kw_only=True, repr=False)
class Dialect:
    """One darknet's choices. Each field has its value in pjreddie's darknet, then in AlexeyAB's."""

    name: str = _each("pjreddie", "alexeyab")
    version: tuple[int, int, int] = _each((0, 2, 0), (0, 2, 5))  # in the header of saved .weights files

    net_keys: frozenset[str] = _each(NET_KEYS | PJREDDIE_KEYS["net"], NET_KEYS | ALEXEYAB_KEYS["net"])  # keys of [net]
    # What only the other darknet knows.
    foreign_sections: frozenset[str] = _each(ALEXEYAB_SECTIONS, PJREDDIE_SECTIONS)
    foreign_activations: frozenset[str] = _each(ALEXEYAB_ACTIVATIONS, frozenset())

    # --- Layers ---
    # Batch normalisation: (x - m) / sqrt(v + epsilon); for 0, (x - m) / (sqrt(v) + 1e-6).
    epsilon_inside_root: float = _each(0.0, 1e-5)
    connected_epsilon_inside_root: float = _each(0.0, 1e-5)
    batchnorm_layer_has_bias: bool = _each(False, True)  # the record of [batchnorm] begins with biases
    uniform_filters: bool = _each(False, True)  # initial filters: s U(-1, 1); else s N(0, 1)
    lstm_order: str = _each("ifog", "figo")  # gates of the eight records, w... then u...
    gru_input_first: bool = _each(False, True)  # records of [gru]: uz ur uh wz wr wh; else w before u
    # [region]: the output is ordered cell, anchor, entry with raw x and y; else NCHW with logistic x and y.
    region_by_cell: bool = _each(False, True)
    always_letterboxes: bool = _each(True, False)  # for detectors; else only with letter_box=1
    # [shortcut]: one source of any size with alpha and beta; else several of equal size with weights.
    shortcut_resamples: bool = _each(True, False)
    xnor_padding: float = _each(0.0, -1.0)  # a padded pixel of a binarised convolution
    xnor_folds_batch_norm: bool = _each(False, True)  # into filters before they are binarised
    dropout: float = _each(0.5, 0.2)  # default probability

    # --- Commands ---
    detect_thresh: float = _each(0.5, 0.24)  # of `detect`
    detector_thresh: float = _each(0.5, 0.25)  # of `detector test`
    valid_thresh: float = _each(0.005, 0.001)  # of `detector valid`
    valid_nms: float = _each(0.45, 0.6)
    # image_id of COCO: the number after the last `_` of a file name; else its first number.
    coco_id_after_underscore: bool = _each(True, False)
    # Detections are printed by left edge, each box with its best class first; else in array order.
    detects_best_class_first: bool = _each(False, True)
    ops_per_group: bool = _each(True, False)  # `ops` divides by the groups of a convolution
    speed_prints_operations: bool = _each(True, False)  # in all and per second
    classifier_demo_letterboxes: bool = _each(True, False)
    # `demo`: raw outputs are averaged over frames, boxes suppressed by objectness, frames scaled as pictures; else
    # the picture shown is half of those frames old, the last head suppresses, frames are scaled in 8 bits.
    demo_averages_outputs: bool = _each(True, False)
    demo_nms: float = _each(0.4, 0.45)
    rnn_restart: int = _each(64, 10)  # a stream jumps with probability 1 / rnn_restart per mini-batch
    rnn_saves: tuple[int, int] = _each((10000, 100), (1000, 10))  # iterations between weights, backups
    rnn_prints_bits: bool = _each(True, False)  # `rnn valid`: per character
    writes_whole_iterations: bool = _each(False, True)  # tools round images seen down
    oneoff_shrinks: bool = _each(True, False)  # `oneoff` divides initial weights by 10
    oneoff_classes: int = _each(11921, 9372)  # filters in the file that `oneoff` was made for
    validates_on_square: bool = _each(True, False)  # `classifier valid`: the largest; else the middle
    # `classifier validmulti` scales the longer side, and does not apply the tree to mirrored pictures.
    validates_longer_side: bool = _each(True, False)
    validation_sizes: tuple[int, ...] = _each((224, 256, 288, 320), (224, 288, 320, 352, 384))
    limits_top: bool = _each(False, True)  # to the number of classes
    # `classifier valid` prints class and outputs of each picture; else a line feed before each line.
    valid_prints_scores: bool = _each(True, False)
    tools_know_lstm: bool = _each(False, True)  # `statistics`, `normalize` and `reset`

    # --- Training ---
    smooth_cost_sign: float = _each(-1.0, 1.0)  # of its delta beyond 1; pjreddie's is wrong
    crnn_learns: bool = _each(False, True)  # the convolutions of [crnn] are updated
    # An update is due by the number of images seen; else after every `subdivisions` mini-batches.
    updates_by_seen: bool = _each(True, False)
    # Layers before `stopbackward` use the statistics of the batch and weight decay; else they are frozen.
    trains_before_stop: bool = _each(True, False)
    stops_for_a_while: bool = _each(False, True)  # `stopbackward` above 1: for that many iterations
    mends_updates: bool = _each(False, True)  # accumulated updates that are not finite count as 0
    adam_epsilon: float = _each(1e-7, 1e-6)
    adam_by_iteration: bool = _each(False, True)  # bias correction; else by updates of this run
    yolo_max_boxes: int = _each(90, 200)  # truths of a picture that [yolo] and [detection] use
    region_max_boxes: int = _each(30, 200)  # likewise [region]
    skips_unknown_classes: bool = _each(False, True)  # else they train box and objectness
    yolo_iou_normalizer: float = _each(1.0, 0.75)
    yolo_adds_box_deltas: bool = _each(False, True)  # of one prediction; else the last counts
    # ignore_thresh applies to predictions with a class above 0.25; else to all.
    yolo_spares_confident_only: bool = _each(False, True)
    # A prediction has a class already if the delta of this class is set; else if that of class 0 is.
    yolo_looks_at_own_class: bool = _each(False, True)
    yolo_prints_losses: bool = _each(False, True)
    region_slope_in_cost: bool = _each(False, True)  # the cost's delta includes the logistic slope
    region_small_boxes_count_more: bool = _each(True, False)  # coord_scale times 2 - w h
    # Without softmax, a further truth of a prediction adds its class; else it replaces the others.
    region_keeps_classes: bool = _each(True, False)
    # A picture with labels without boxes, of known class, lowers the objectness of all predictions.
    region_class_lowers_objectness: bool = _each(True, False)

    def foreign_keys(self, kind: str) -> frozenset[str]:
        """Keys of section `kind` that only the other darknet reads."""
        keys, kind = PJREDDIE_KEYS if self.name == "alexeyab" else ALEXEYAB_KEYS, _ALIASES.get(kind, kind)
        return keys.get(kind, frozenset()) | (frozenset() if kind == "net" else keys[EVERY_LAYER])


PJREDDIE, ALEXEYAB = (
    Dialect(**{each.name: each.metadata[name] for each in fields(Dialect)}) for name in ("pjreddie", "alexeyab")
)
DIALECTS = {dialect.name: dialect for dialect in (PJREDDIE, ALEXEYAB)}


def choose_dialect(name: str, config: Config) -> Dialect:
    """The dialect of that name; `auto` is AlexeyAB's for a file with anything that only it knows."""
    if name == "auto":
        return ALEXEYAB if any(map(_only_alexeyab_knows, [config.net, *config.layers])) else PJREDDIE
    if name not in DIALECTS:
        raise OptionError(f"dialect {name!r}: expected auto, {' or '.join(DIALECTS)}")
    return DIALECTS[name]


def _only_alexeyab_knows(section: Section) -> bool:
    keys = {option.key for option in section.options}
    return (
        section.kind in ALEXEYAB_SECTIONS
        or bool(keys & PJREDDIE.foreign_keys(section.kind) - _NO_SIGN)
        or any(o.key == "activation" and o.value in ALEXEYAB_ACTIVATIONS for o in section.options)
        or any(o.key == "from" and "," in o.value and section.kind == "shortcut" for o in section.options)
    )
