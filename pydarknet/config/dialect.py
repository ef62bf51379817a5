"""Everything in which pjreddie's darknet and AlexeyAB's differ.

The two read the same files and give the same numbers to 1e-6, save for what stands here. `pjreddie` follows its CPU
build in batch normalisation, because the published numbers are its; where a CPU build is plainly faulty, both follow
the GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import OptionError
from .sections import Config

_EVERY_LAYER = frozenset({"clip", "dont_update", "burnin_update", "train_only_bn"})
_TRACKING = frozenset(
    {"embedding_layer", "track_history_size", "sim_thresh", "dets_for_track", "dets_for_show", "track_ciou_norm"}
)
_YOLO_HEAD = _TRACKING | {
    "resize", "scale_x_y", "new_coords", "iou_loss", "iou_normalizer", "obj_normalizer", "cls_normalizer",
    "delta_normalizer", "uc_normalizer", "iou_thresh", "iou_thresh_kind", "objectness_smooth", "focal_loss",
    "label_smooth_eps", "max_delta", "counters_per_class", "nms_kind", "beta_nms", "show_details", "yolo_point",
}  # fmt: skip

# Keys that only AlexeyAB's darknet reads, by section.
ALEXEYAB_KEYS: Mapping[str, frozenset[str]] = {
    "net": frozenset({
        "learning_rate_min", "sgdr_cycle", "sgdr_mult", "seq_scales", "flip", "letter_box", "mosaic", "cutmix", "mixup",
        "mosaic_bound", "blur", "gaussian_noise", "label_smooth_eps", "resize_step", "dynamic_minibatch", "ema_alpha",
        "track", "augment_speed", "sequential_subdivisions", "try_fix_nan", "weights_reject_freq", "equidistant_point",
        "badlabels_rejection_percentage", "num_sigmas_reject_badlabels", "contrastive", "contrastive_jit_flip",
        "contrastive_color", "unsupervised", "adversarial_lr", "attention", "max_chart_loss", "optimized_memory",
        "workspace_size_limit_MB", "use_cuda_graph", "loss_scale", "show_receptive_field",
    }),
    "convolutional": frozenset({
        "stride_x", "stride_y", "dilation", "antialiasing", "share_index", "cbn", "bin_output", "assisted_excitation",
        "sway", "rotate", "stretch", "stretch_sway", "angle", "grad_centr", "reverse", "coordconv", "stream",
        "wait_stream",
    }),
    "maxpool": frozenset({
        "stride_x", "stride_y", "maxpool_depth", "out_channels", "antialiasing", "maxpool_zero_nonmax",
    }),
    "dropout": frozenset({"dropblock", "dropblock_size_rel", "dropblock_size_abs"}),
    "route": frozenset({"groups", "group_id", "stream", "wait_stream"}),
    "shortcut": frozenset({"weights_type", "weights_normalization"}),
    "rnn": frozenset({"hidden", "logistic"}),
    "crnn": frozenset({"output", "hidden", "size", "stride", "dilation", "pad", "padding", "groups", "xnor"}),
    "yolo": _YOLO_HEAD,
    "region": frozenset({"focal_loss", "resize"}),
}  # fmt: skip

# Keys of [net] that both read.
NET_KEYS = frozenset({
    "batch", "subdivisions", "time_steps", "inputs", "height", "width", "channels", "learning_rate", "momentum",
    "decay", "max_batches", "policy", "burn_in", "power", "step", "scale", "steps", "scales", "gamma", "adam", "B1",
    "B2", "eps", "max_crop", "min_crop", "angle", "aspect", "saturation", "exposure", "hue",
})  # fmt: skip

# Keys that only pjreddie's darknet reads, by section.
PJREDDIE_KEYS: Mapping[str, frozenset[str]] = {
    "net": frozenset({"max_ratio", "min_ratio", "center", "clip", "random", "notruth"}),
    "cost": frozenset({"noobj", "thresh"}),
    "connected": frozenset({"learning_rate"}),
    "local": frozenset({"learning_rate"}),
    "shortcut": frozenset({"alpha", "beta"}),
    "reorg": frozenset({"flatten", "extra"}),
    "gru": frozenset({"tanh"}),
    "crnn": frozenset({"output_filters", "hidden_filters"}),
    "region": frozenset({"background"}),
}
_PJREDDIE_EVERY_LAYER = frozenset({"dontsave", "numload", "truth", "smooth"})

ALEXEYAB_SECTIONS = frozenset({
    "local_avgpool", "local_avg", "reorg3d", "conv_lstm", "history", "scale_channels", "sam", "empty", "silence",
    "implicit", "contrastive", "Gaussian_yolo",
})  # fmt: skip
PJREDDIE_SECTIONS = frozenset({"deconvolutional", "deconv", "logistic", "l2norm", "iseg"})
ALEXEYAB_ACTIVATIONS = frozenset({
    "relu6", "gelu", "revleaky", "swish", "mish", "hard_mish", "normalize_channels", "normalize_channels_softmax",
    "normalize_channels_softmax_maxval",
})  # fmt: skip
# Read by AlexeyAB's darknet only, but standing in pjreddie's own files as well: no sign of either.
_NO_SIGN = frozenset({"hidden", "logistic"})
_ALIASES = {"conn": "connected", "conv": "convolutional", "max": "maxpool", "network": "net"}


@dataclass(frozen=True)
class Dialect:
    """One darknet's choices."""

    name: str
    epsilon_inside_root: bool  # batch norm: (x - m) / sqrt(v + 1e-5), else / (sqrt(v) + 1e-6)
    uniform_filters: bool  # initial filters: s U(-1, 1), else s N(0, 1)
    batchnorm_layer_has_bias: bool  # the [batchnorm] record begins with biases
    lstm_order: str  # gates of the eight records, w... then u...
    gru_input_first: bool  # gru records: uz ur uh wz wr wh, else w before u
    region_by_cell: bool  # region output ordered cell, anchor, entry with raw x and y; else planar, x and y logistic
    always_letterboxes: bool  # pictures for [yolo] and [region]; else only with letter_box=1 in [net]
    shortcut_resamples: bool  # one source of any size with alpha and beta; else many of equal size with weights
    xnor_padding: float  # what a padded pixel counts in a binarised convolution
    xnor_folds_batch_norm: bool  # filters are binarised after batch norm was folded into them
    dropout: float  # default probability
    connected_epsilon_inside_root: bool
    version: tuple[int, int, int]  # of saved files
    detect_thresh: float  # `detect`; `detector test` has its own below
    detector_thresh: float
    valid_thresh: float  # `detector valid`
    valid_nms: float
    coco_id_after_underscore: bool  # image_id: the number after the last `_` of a name; else its first number
    ops_per_group: bool  # operations of a grouped convolution are divided by its groups
    speed_tells_operations: bool  # `speed` prints operations, in all and a second
    smooth_cost_sign: float  # of the delta of a smooth cost beyond 1: pjreddie's darknet goes the wrong way
    crnn_learns: bool  # whether the convolutions of [crnn] are updated
    updates_by_seen: bool  # an update is due when the pictures seen say so; else after every `subdivisions` steps
    trains_before_stop: bool  # layers before `stopbackward` use the batch's statistics and decay; else they are frozen
    stops_for_a_while: bool  # a `stopbackward` above 1 ends after so many iterations
    mends_updates: bool  # accumulated updates that are no finite numbers count as 0
    adam_epsilon: float
    adam_by_iteration: bool  # Adam's corrections for a short past count iterations; else updates of this run
    detects_best_class_first: bool  # printing: by left edge, best class first; else every class in array order
    yolo_max_boxes: int  # of one picture that [yolo] and [detection] learn from
    region_max_boxes: int
    skips_unknown_classes: bool  # labels of classes that the head does not have; else they train box and objectness
    yolo_iou_normalizer: float
    yolo_adds_box_deltas: bool  # several truths of one slot add up; else the last one counts
    yolo_spares_confident_only: bool  # ignore_thresh holds for slots with a class above 0.25; else for all
    yolo_looks_at_own_class: bool  # a slot has a class already if the delta of this very class is set; else of class 0
    yolo_prints_losses: bool
    region_slope_in_cost: bool  # the logistic function's slope belongs to the delta of which the cost is made
    region_small_boxes_count_more: bool  # coord_scale times 2 - w h
    region_keeps_classes: bool  # without softmax, the next object of a slot adds its class; else it replaces the others
    region_class_lowers_objectness: bool  # a picture without boxes of which the class is known lowers all objectness
    # `demo`: raw outputs are averaged over frames, boxes suppressed by objectness, frames scaled as pictures; else
    # pictures lag behind by half of those frames, the last head suppresses, frames are scaled in 8 bits.
    demo_averages_outputs: bool
    demo_nms: float
    rnn_restart: int  # `rnn train`: one in so many streams jumps to another place after a mini-batch
    rnn_saves: tuple[int, int]  # iterations between numbered weights, and between backups
    rnn_tells_bits: bool  # `rnn valid` prints bits a character
    writes_whole_iterations: bool  # tools that write weights cut the pictures seen down to a multiple of the batch
    oneoff_shrinks: bool  # `oneoff` divides initial weights by 10
    oneoff_classes: int  # filters in the file that `oneoff` was made for
    validates_on_square: bool  # `classifier valid` shows the largest square of a picture; else its middle
    validates_longer_side: bool  # `classifier validmulti` scales the longer side, and leaves mirrored ones without tree
    validation_sizes: tuple[int, ...]  # of `classifier validmulti`, in pixels
    limits_top: bool  # no more classes are looked at than there are
    valid_prints_scores: bool  # `classifier valid` prints class and outputs of each picture; else a line feed first
    tools_know_lstm: bool  # `statistics`, `normalize` and `reset` look into [lstm]

    @property
    def net_keys(self) -> frozenset[str]:
        """The keys of [net] that this darknet reads."""
        own = ALEXEYAB_KEYS if self.name == "alexeyab" else PJREDDIE_KEYS
        return NET_KEYS | own["net"]

    def foreign_keys(self, kind: str) -> frozenset[str]:
        """Keys of section `kind` that this darknet does not read although the other does."""
        kind = _ALIASES.get(kind, kind)
        if self.name == "alexeyab":
            return PJREDDIE_KEYS.get(kind, frozenset()) | (_PJREDDIE_EVERY_LAYER if kind != "net" else frozenset())
        return ALEXEYAB_KEYS.get(kind, frozenset()) | (_EVERY_LAYER if kind != "net" else frozenset())

    @property
    def foreign_sections(self) -> frozenset[str]:
        """Section names that only the other darknet knows."""
        return PJREDDIE_SECTIONS if self.name == "alexeyab" else ALEXEYAB_SECTIONS

    @property
    def foreign_activations(self) -> frozenset[str]:
        """Activation names that only the other darknet knows."""
        return frozenset() if self.name == "alexeyab" else ALEXEYAB_ACTIVATIONS


PJREDDIE = Dialect(
    name="pjreddie",
    epsilon_inside_root=False,
    uniform_filters=False,
    batchnorm_layer_has_bias=False,
    lstm_order="ifog",
    gru_input_first=False,
    region_by_cell=False,
    always_letterboxes=True,
    shortcut_resamples=True,
    xnor_padding=0.0,
    xnor_folds_batch_norm=False,
    dropout=0.5,
    connected_epsilon_inside_root=False,
    version=(0, 2, 0),
    detect_thresh=0.5,
    detector_thresh=0.5,
    valid_thresh=0.005,
    valid_nms=0.45,
    coco_id_after_underscore=True,
    ops_per_group=True,
    speed_tells_operations=True,
    smooth_cost_sign=-1.0,
    crnn_learns=False,
    updates_by_seen=True,
    trains_before_stop=True,
    stops_for_a_while=False,
    mends_updates=False,
    adam_epsilon=1e-7,
    adam_by_iteration=False,
    detects_best_class_first=False,
    yolo_max_boxes=90,
    region_max_boxes=30,
    skips_unknown_classes=False,
    yolo_iou_normalizer=1.0,
    yolo_adds_box_deltas=False,
    yolo_spares_confident_only=False,
    yolo_looks_at_own_class=False,
    yolo_prints_losses=False,
    region_slope_in_cost=False,
    region_small_boxes_count_more=True,
    region_keeps_classes=True,
    region_class_lowers_objectness=True,
    demo_averages_outputs=True,
    demo_nms=0.4,
    rnn_restart=64,
    rnn_saves=(10000, 100),
    rnn_tells_bits=True,
    writes_whole_iterations=False,
    oneoff_shrinks=True,
    oneoff_classes=11921,
    validates_on_square=True,
    validates_longer_side=True,
    validation_sizes=(224, 256, 288, 320),
    limits_top=False,
    valid_prints_scores=True,
    tools_know_lstm=False,
)
ALEXEYAB = Dialect(
    name="alexeyab",
    epsilon_inside_root=True,
    uniform_filters=True,
    batchnorm_layer_has_bias=True,
    lstm_order="figo",
    gru_input_first=True,
    region_by_cell=True,
    always_letterboxes=False,
    shortcut_resamples=False,
    xnor_padding=-1.0,
    xnor_folds_batch_norm=True,
    dropout=0.2,
    connected_epsilon_inside_root=True,
    version=(0, 2, 5),
    detect_thresh=0.24,
    detector_thresh=0.25,
    valid_thresh=0.001,
    valid_nms=0.6,
    coco_id_after_underscore=False,
    ops_per_group=False,
    speed_tells_operations=False,
    smooth_cost_sign=1.0,
    crnn_learns=True,
    updates_by_seen=False,
    trains_before_stop=False,
    stops_for_a_while=True,
    mends_updates=True,
    adam_epsilon=1e-6,
    adam_by_iteration=True,
    detects_best_class_first=True,
    yolo_max_boxes=200,
    region_max_boxes=200,
    skips_unknown_classes=True,
    yolo_iou_normalizer=0.75,
    yolo_adds_box_deltas=True,
    yolo_spares_confident_only=True,
    yolo_looks_at_own_class=True,
    yolo_prints_losses=True,
    region_slope_in_cost=True,
    region_small_boxes_count_more=False,
    region_keeps_classes=False,
    region_class_lowers_objectness=False,
    demo_averages_outputs=False,
    demo_nms=0.45,
    rnn_restart=10,
    rnn_saves=(1000, 10),
    rnn_tells_bits=False,
    writes_whole_iterations=True,
    oneoff_shrinks=False,
    oneoff_classes=9372,
    validates_on_square=False,
    validates_longer_side=False,
    validation_sizes=(224, 288, 320, 352, 384),
    limits_top=True,
    valid_prints_scores=False,
    tools_know_lstm=True,
)
DIALECTS = {dialect.name: dialect for dialect in (PJREDDIE, ALEXEYAB)}


def choose_dialect(name: str, config: Config) -> Dialect:
    """The dialect called `name`; `auto` is AlexeyAB's when the file uses anything that only it knows.

    Raises OptionError for any other name.
    """
    if name == "auto":
        return ALEXEYAB if _only_alexeyab_knows(config) else PJREDDIE
    if name not in DIALECTS:
        raise OptionError(f"dialect {name!r}: expected auto, {' or '.join(DIALECTS)}")
    return DIALECTS[name]


def _only_alexeyab_knows(config: Config) -> bool:
    for section in [config.net, *config.layers]:
        if section.kind in ALEXEYAB_SECTIONS:
            return True
        keys = {option.key for option in section.options}
        if keys & PJREDDIE.foreign_keys(section.kind) - _NO_SIGN:
            return True
        if any(o.key == "activation" and o.value in ALEXEYAB_ACTIVATIONS for o in section.options):
            return True
        if section.kind == "shortcut" and any(o.key == "from" and "," in o.value for o in section.options):
            return True
    return False
