"""Write a text for recurrent networks: little tales from a grammar, from one seed.

Each tale has a hero with a thing and a place, which come back sentences later, so that there is more to learn than
which letter follows which.

    python benchmarks/make_text.py OUT.txt [--characters 400000] [--seed 1]
"""

import argparse
import random
from pathlib import Path

NAMES = [
    "Anna",
    "Bertil",
    "Clara",
    "Didrik",
    "Elsa",
    "Fabian",
    "Greta",
    "Henrik",
    "Ida",
    "Jonas",
    "Karin",
    "Lennart",
    "Maja",
    "Nils",
    "Olga",
    "Petra",
]
KINDS = [
    "baker",
    "carpenter",
    "doctor",
    "farmer",
    "gardener",
    "judge",
    "painter",
    "sailor",
    "shepherd",
    "tailor",
    "teacher",
    "weaver",
]
THINGS = [
    "basket",
    "bell",
    "bottle",
    "coat",
    "drum",
    "hammer",
    "kettle",
    "lamp",
    "letter",
    "mirror",
    "rope",
    "saddle",
    "shovel",
    "whistle",
]
COLOURS = ["black", "blue", "brown", "green", "grey", "red", "silver", "white", "yellow"]
PLACES = [
    "the barn",
    "the bridge",
    "the forest",
    "the harbour",
    "the market",
    "the mill",
    "the river",
    "the tower",
    "the well",
]
WEATHER = ["It rained all day", "Snow was falling", "The sun was shining", "There was thick fog", "The wind blew hard"]
VERBS = [("lost", "found"), ("sold", "bought back"), ("hid", "remembered"), ("broke", "mended"), ("lent", "got back")]
NUMBERS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def tale(rng: random.Random) -> str:
    """One tale: a few sentences and an empty line."""
    name, friend = rng.sample(NAMES, 2)
    kind, thing, colour, place = (rng.choice(words) for words in (KINDS, THINGS, COLOURS, PLACES))
    did, undid = rng.choice(VERBS)
    after = f"After {rng.choice(NUMBERS)} days"
    parts = [f"{name} was a {kind} who had a {colour} {thing}."]
    if rng.random() < 0.6:
        parts.append(f"{rng.choice(WEATHER)} when {name} went to {place}.")
    parts.append(f"At {place} {name} {did} the {colour} {thing}.")
    if rng.random() < 0.5:
        parts.append(f'"Where is your {thing}?" asked {friend}. "I do not know," said the {kind}.')
    if rng.random() < 0.5:
        parts.append(f"So {name} and {friend} walked from {place} to {rng.choice(PLACES)} and back again.")
    parts.append(f"{after} {name} {undid} the {thing} and was happy.")
    return " ".join(parts) + "\n\n"


def make_text(characters: int, seed: int) -> str:
    """Tales, cut after so many characters."""
    rng = random.Random(seed)
    parts: list[str] = []
    size = 0
    while size < characters:
        parts.append(tale(rng))
        size += len(parts[-1])
    return "".join(parts)[:characters]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write tales from a grammar.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--characters", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.write_text(make_text(options.characters, options.seed), encoding="ascii")


if __name__ == "__main__":
    main()
