"""Train a character network for two minutes on generated tales and compare it with pairs of letters on other tales.

    python benchmarks/character_rnn.py [--seconds 120] [--out character-rnn]

Writes the tales and the weights into a folder; the commands it prints work on them.
"""

import argparse
import math
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from make_text import make_text

import pydarknet
from pydarknet.inference.text_generation import generate, scores
from pydarknet.training.text_trainer import TextTrainer
from pydarknet.utils.resources import network_file

CFG = "lstm-small.cfg"
TRAINING, HELD_OUT = (400_000, 1), (20_000, 2)  # characters, seed


def bits_by_pairs(learned: str, held_out: str, smoothing: float = 0.1) -> float:
    """Bits a character of the held-out text, predicted from the counts of pairs of characters in the other text."""
    pairs, firsts, alphabet = Counter(pairwise(learned)), Counter(learned[:-1]), len(set(learned))
    chances = [(pairs[a, b] + smoothing) / (firsts[a] + smoothing * alphabet) for a, b in pairwise(held_out)]
    return -sum(math.log2(chance) for chance in chances) / len(chances)


def train(text: Path, seconds: float, folder: Path) -> tuple[Path, int]:
    """(weights, iterations) after training for this many seconds."""
    # One thread: more gain nothing at layers of this size.
    trainer = TextTrainer(text, network_file(CFG), backup=folder, max_batches=1_000_000, threads=1, chart=False)
    begun = time.perf_counter()
    for record in trainer.run():
        if time.perf_counter() - begun > seconds:
            trainer.stop()
        if record.iteration % 50 == 0:
            print(f"  {record.iteration}: {record.average / math.log(2):.3f} bits a character", flush=True)
    weights = trainer.checkpointer.last_saved
    assert weights is not None
    return weights, trainer.iteration


def main() -> None:
    parser = argparse.ArgumentParser(description="A character network against pairs of letters.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, default=Path("character-rnn"))
    options = parser.parse_args()
    folder: Path = options.out
    folder.mkdir(exist_ok=True)
    learned, held_out = make_text(*TRAINING), make_text(*HELD_OUT)
    (folder / "tales.txt").write_text(learned, encoding="ascii")
    (folder / "held_out.txt").write_text(held_out, encoding="ascii")
    print(f"Training {CFG} for {options.seconds:g} seconds on {len(learned)} characters")
    weights, iterations = train(folder / "tales.txt", options.seconds, folder)
    model = pydarknet.load(CFG, weights, threads=1)
    score = list(scores(model, b"\n\n", held_out.encode()))[-1]
    pairs = bits_by_pairs(learned, held_out)
    print(f"\n| {len(held_out)} held-out characters | bits a character | perplexity |\n|---|---:|---:|")
    print(f"| pairs of letters | {pairs:.3f} | {2**pairs:.3f} |")
    print(f"| {CFG}, {iterations} iterations | {score.bits:.3f} | {score.perplexity:.3f} |\n")
    model.reset_state()
    print(bytes(generate(model, b"\n\n", 500, 0.7, np.random.default_rng(1))).decode("ascii", "replace"))
    print(f"\npydarknet rnn generate {CFG} {weights} -seed 'Anna was a ' -len 300")
    print(f"pydarknet rnn valid {CFG} {weights} -file {folder / 'held_out.txt'} | tail -n 1")
    if score.bits >= pairs:
        raise SystemExit("not better than pairs of letters")


if __name__ == "__main__":
    main()
