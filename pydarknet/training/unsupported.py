"""Unsupported training options: rare ones of darknet's GPU and OpenCV builds."""

from collections.abc import Mapping

from ..config.sections import Config, Section

# Options by section ("": every layer), each with the actual behaviour. An option with the value 0 is off.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "net": {
        "track": "pictures are drawn one by one, not as sequences of frames",
        "contrastive": "pictures are not drawn in pairs",
        "contrastive_jit_flip": "pictures are not drawn in pairs",
        "contrastive_color": "pictures are not drawn in pairs",
        "unsupervised": "classes are those of the labels",
        "adversarial_lr": "there is no adversarial training",
        "attention": "there is no adversarial training",
        "try_fix_nan": "deltas are not limited; a loss that is not finite ends the run",
        "notruth": "layers get the truth",
    },
    "convolutional": {
        "cbn": "statistics are those of each mini-batch, as with batch_normalize",
        "assisted_excitation": "outputs are not raised where objects are",
        "sway": "filters are not rotated",
        "rotate": "filters are not rotated",
        "stretch": "filters are not stretched",
        "stretch_sway": "filters are not stretched",
        "reverse": "updates are not reversed",
        "coordconv": "coordinates are not added",
    },
    "crop": {
        "angle": "pictures are not rotated",
        "saturation": "colours are not changed",
        "exposure": "colours are not changed",
        "shift": "colours are not changed",
    },
    "cost": {"ratio": "all deltas count", "thresh": "all deltas count"},
    "maxpool": {"maxpool_zero_nonmax": "outputs are not changed"},
    "yolo": {"embedding_layer": "embeddings are not trained"},
    "": {"truth": "later layers learn from the labels"},
}
SECTIONS = {"contrastive": "embeddings are not trained", "iseg": "masks are not trained"}
NEUTRAL = {("crop", "saturation"): 1.0, ("crop", "exposure"): 1.0}
ALIASES = {"conv": "convolutional", "max": "maxpool", "Gaussian_yolo": "yolo"}


def unsupported(config: Config) -> list[str]:
    """A line for each unsupported option or section that is on: its place, and the actual behaviour."""
    lines = []
    for section in [config.net, *config.layers]:
        kind = "net" if section is config.net else ALIASES.get(section.kind, section.kind)
        if kind in SECTIONS:
            lines.append(_line(section, section.line, "", SECTIONS[kind]))
        effects = {**OPTIONS[""], **OPTIONS.get(kind, {})}
        for option in section.options:
            neutral = NEUTRAL.get((kind, option.key), 0.0)
            if option.key in effects.keys() - section.foreign and section.real(option.key, 0.0) != neutral:
                lines.append(_line(section, option.line, f" {option.key}={option.value}", effects[option.key]))
    return lines


def _line(section: Section, number: int, option: str, effect: str) -> str:
    return f"{section.path}:{number}: [{section.kind}]{option} is not supported in training: {effect}"
