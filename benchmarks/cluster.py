"""Archives on a cluster of two nodes with one processor each, on this machine, beside one process with two threads.

python benchmarks/cluster.py PICTURES CFG WEIGHTS                  # in turns, and whether the results are the same
python benchmarks/cluster.py PICTURES CFG WEIGHTS --kill 20        # a node is killed every 20 seconds, and one joins
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

PYDARKNET = [sys.executable, "-m", "pydarknet"]
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


def timed(command: list[str], **options: object) -> tuple[float, subprocess.CompletedProcess[str]]:
    start = time.perf_counter()
    done = subprocess.run(command, text=True, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start, done


def results(lines: list[str]) -> dict[str, object]:
    """By picture, without the measured time. Each picture may be there once."""
    found = {}
    for line in map(json.loads, lines):
        del line["seconds"]
        assert line["filename"] not in found, f"{line['filename']}: twice"
        found[line["filename"]] = line
    return found


def by_one_process(words: list[str]) -> tuple[float, dict[str, object]]:
    seconds, done = timed(
        [*PYDARKNET, "detect", *words, "--json", "--no-picture", "--threads", "2"], stdout=subprocess.PIPE
    )
    return seconds, results(done.stdout.splitlines())


def on_cluster(words: list[str], kill: float | None) -> tuple[float, dict[str, object]]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(**NODE) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*PYDARKNET, "batch", "detect", *words, "--out", folder, "--address", cluster.address]
        )
        while process.poll() is None:
            try:
                process.wait(kill)
            except subprocess.TimeoutExpired:
                cluster.remove_node(nodes.pop(0), allow_graceful=False)
                nodes.append(cluster.add_node(**NODE))
                print(f"killed a node after {time.perf_counter() - start:.0f} s", file=sys.stderr)
        seconds = time.perf_counter() - start
        lines = [line for part in sorted(Path(folder).glob("part-*")) for line in part.read_text().splitlines()]
    cluster.shutdown()
    return seconds, results(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pictures", "cfg", "weights"):
        parser.add_argument(name)
    parser.add_argument("--kill", type=float, metavar="SECONDS", help="kill a node that often")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    words = [options.cfg, options.weights, options.pictures]
    for _ in range(options.turns):
        seconds, expected = by_one_process(words)
        print(f"one process, 2 threads: {len(expected) / seconds:.2f} pictures/s", flush=True)
        there, found = on_cluster(words, options.kill)
        ratio = seconds / there
        print(f"2 nodes of 1 processor: {len(found) / there:.2f} pictures/s, {ratio:.3f} of that", flush=True)
        print("the same results" if found == expected else "OTHER RESULTS", flush=True)


if __name__ == "__main__":
    main()
