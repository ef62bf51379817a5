"""Copy a small choice of the recorded cases into tests/golden: one of each layer, dialect and kind, and a few options.

    python tests/support/choose_recorded.py FOLDER_OF_ALL_CASES

The choice is a greedy cover: the case that adds the most layers for its size comes first, until every pair of layer and
dialect that was recorded is in it, once for inference, once for training and once for the boxes of a head.
"""

import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parents[1] / "golden"
ALIASES = {"conv": "convolutional", "max": "maxpool"}  # darknet's short section names
LARGE = ("real_", "full_", "mini_")  # whole networks
OPTIONS = {
    "conv_antialiasing1_ab", "conv_depthwise5s2_ab", "conv_dilation2_k5s2_ab", "conv_groups3_9to6_pj",
    "conv_k3s2p1_ab", "conv_xnor_c5_ab", "train_policy_steps_ab", "weights_header_32bit_ab",
}  # fmt: skip


def covered(case: dict) -> set[tuple[str, str, str]]:
    """What a case is evidence for: (kind, layer, dialect)."""
    layers = [ALIASES.get(name, name).lower() for name in case["layers"]]
    pairs = {(case["kind"], layer, case["dialect"]) for layer in layers}
    return pairs | ({("boxes", layers[-1], case["dialect"])} if case.get("detections") else set())


def choose(cases: list[dict]) -> list[dict]:
    """The smallest cases that together cover what all of them cover, and those of `OPTIONS`."""
    small = [case for case in cases if not case["name"].startswith(LARGE) and not {"weights", "input"} & case.keys()]
    chosen = [case for case in small if case["name"] in OPTIONS]
    left = set().union(*map(covered, small)) - set().union(*map(covered, chosen))
    while left:
        best = max(small, key=lambda case: len(covered(case) & left) / case["bytes"])
        chosen.append(best)
        left -= covered(best)
    return sorted(chosen, key=lambda case: case["name"])


def main(folder: Path) -> None:
    cases = choose(json.loads((folder / "index.json").read_text(encoding="utf-8"))["cases"])
    for old in (path for path in HERE.iterdir() if path.is_dir()):
        shutil.rmtree(old)
    for case in cases:
        for file in sorted((folder / case["path"]).iterdir()):
            if file.name == "truth.npy":  # truth_boxes.json says the same
                continue
            target = HERE / case["name"] / file.name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    lines = ",\n".join(json.dumps({**case, "path": case["name"]}) for case in cases)
    (HERE / "index.json").write_text(f'{{"cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(cases)} cases, {sum(case['bytes'] for case in cases)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
