"""Unsupported training options: rare ones of darknet's GPU and OpenCV builds."""

from collections.abc import Mapping

from ..config.sections import Config, Option, Section

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
            lines.append(
                f"{section.path}:{section.line}: [{section.kind}] is not supported in training: {SECTIONS[kind]}"
            )
        effects = {**OPTIONS[""], **OPTIONS.get(kind, {})}
        lines += [_line(section, o, effects[o.key]) for o in section.options if _is_on(section, kind, o, effects)]
    return lines


def _is_on(section: Section, kind: str, option: Option, effects: Mapping[str, str]) -> bool:
    if option.key not in effects or option.key in section.foreign:
        return False
    return section.real(option.key, 0.0) != NEUTRAL.get((kind, option.key), 0.0)


def _line(section: Section, option: Option, effect: str) -> str:
    place = f"{section.path}:{option.line}: [{section.kind}]"
    return f"{place} {option.key}={option.value} is not supported in training: {effect}"
