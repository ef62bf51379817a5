"""What the README shows of the report of `bench.py`: two charts, how many times longer a peer takes, and a table.

python benchmarks/charts.py [benchmarks/results.md] [README.md]
"""

import re
import statistics
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from networks import ROOT
from report import table

CHARTS = {
    "Inference in float32": ("speed-float32.png", "One picture in float32"),
    "Inference at every engine's best precision": ("speed-best.png", "One picture at the best precision of each"),
}
OURS = "pydarknet"
PART = re.compile("(<!-- begin: [^\n]* -->\n).*(<!-- end -->)", re.DOTALL)  # of the README


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


def peers_of(rows: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    """The columns of each other engine."""
    own, found = ("network", "fastest / ours", "difference"), dict[str, list[str]]()
    for name in rows[0]:
        if name not in own and not name.startswith(OURS):
            found.setdefault(re.sub(" (default|int8)$", "", name), []).append(name)
    return found


def ratios(row: dict[str, str], peers: dict[str, list[str]]) -> list[float]:
    """The fastest time of each peer by our fastest; 0 where it did not run."""
    ours = min(float(value) for name, value in row.items() if name.startswith(OURS))
    times = [[float(row[name]) for name in names if row[name] != "-"] for names in peers.values()]
    return [min(each, default=0.0) / ours for each in times]


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
    axes.legend(frameon=False, ncols=len(peers), loc="upper center", bbox_to_anchor=(0.5, -0.12))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def shown(report: str) -> str:
    """The part of the README: the machine, the table in float32, what it says of other precisions and of training."""
    tables, machine = sections(report), report.split("\n\n")[1].splitlines()
    means = [line for line in report.splitlines() if line.startswith("Geometric mean")]
    training = statistics.geometric_mean(float(row["PyTorch / ours"]) for row in tables["Training"])
    (first, (chart, _)), (second, (best_chart, _)) = CHARTS.items()
    columns = [name for name in tables[first][0] if name != "difference"]
    rows = [[row[name] for name in columns] for row in tables[first]]
    source = f"{machine[0].strip()} {machine[1].strip()} Milliseconds for one picture in float32, from {machine[2]}:"
    return "\n\n".join([
        "\n".join(textwrap.wrap(source, 138, break_long_words=False, break_on_hyphens=False)),
        table(columns, rows), means[0], f"![{first}](docs/{chart})", f"{second}: {means[1][0].lower()}{means[1][1:]}",
        f"![{second}](docs/{best_chart})",
        f"Training: geometric mean of PyTorch / pydarknet over {len(tables['Training'])} networks: {training:.2f}.\n",
    ])  # fmt: skip


def main() -> None:
    report = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "benchmarks" / "results.md").read_text()
    readme = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "README.md")
    for heading, (name, title) in CHARTS.items():
        draw(sections(report)[heading], title, readme.parent / "docs" / name)
    readme.write_text(PART.sub(lambda found: found[1] + shown(report) + found[2], readme.read_text()))
    print(f"{readme}: the part on speed, and {len(CHARTS)} charts in {readme.parent / 'docs'}")


if __name__ == "__main__":
    main()
