"""Two charts from the report of `bench.py`: how many times longer a peer takes, in float32 and at its best precision.

python benchmarks/charts.py [benchmarks/results.md] [docs]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from networks import ROOT

CHARTS = {
    "Inference in float32": ("speed-float32.png", "One picture in float32"),
    "Inference at every engine's best precision": ("speed-best.png", "One picture at the best precision of each"),
}
OURS = "pydarknet"


def sections(report: str) -> dict[str, list[dict[str, str]]]:
    """The tables of a report by their headings, a dict for each row."""
    found: dict[str, list[dict[str, str]]] = {}
    heading, head = "", []
    for line in report.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if line.startswith("## "):
            heading, head = line[3:], []
        elif not line.startswith("|") or set(line) <= set("|-: "):
            continue
        elif not head:
            head = cells
        else:
            found.setdefault(heading, []).append(dict(zip(head, cells, strict=True)))
    return found


def peers_of(rows: Sequence[dict[str, str]]) -> list[str]:
    """The columns of other engines."""
    own = ("network", "fastest / ours", "difference")
    return [name for name in rows[0] if name not in own and not name.startswith(OURS)]


def ratios(row: dict[str, str], peers: Sequence[str]) -> list[float]:
    """The time of each peer by our fastest; 0 where it did not run."""
    ours = min(float(value) for name, value in row.items() if name.startswith(OURS))
    return [0.0 if row[peer] == "-" else float(row[peer]) / ours for peer in peers]


def draw(rows: Sequence[dict[str, str]], title: str, path: Path) -> None:
    """Bars of all networks, one for each peer; the line at 1 is our time."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    peers = peers_of(rows)
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(rows) + 1.2), dpi=110)
    height = 0.8 / len(peers)
    for number, peer in enumerate(peers):
        places = [row + number * height for row in range(len(rows))]
        axes.barh(places, [ratios(row, peers)[number] for row in rows], height, label=peer)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(rows))], [row["network"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("time of a peer / time of pydarknet (1: as fast)")
    axes.set_title(title)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    report = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "benchmarks" / "results.md")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "docs")
    tables = sections(report.read_text())
    for heading, (name, title) in CHARTS.items():
        if rows := tables.get(heading):
            draw(rows, title, folder / name)
            print(folder / name)


if __name__ == "__main__":
    main()
