"""Damaged files, made from good ones: bytes, lines and numbers changed by a seeded generator."""

import re

NUMBERS = [b"0", b"-1", b"1", b"2147483648", b"9" * 30, b"9" * 400, b"9" * 5000,
           b"1e999", b"-1e-999", b"nan", b"inf", b".5",
           b"", b"x", b"0x10", b"65536"]  # fmt: skip
TEXTS = [b"\0", b"\x80", b"\xff\xfe", "\u00b2".encode(), b"\r", b"\n", b"\t", b"%s", b"../", b"/", b"=",
         b"[", b"]", b"<", b"&x;",
         b'"', b"{", b",", b"#", b"a" * 300, b"-"]  # fmt: skip
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?")


def mutated(content, rng, times=None):
    """One to eight changes of `content`, of a random kind each."""
    for _ in range(times or int(rng.integers(1, 9))):
        content = MUTATIONS[int(rng.integers(len(MUTATIONS)))](content, rng)
    return content


def _at(content, rng):
    return int(rng.integers(len(content) + 1))


def _flip(content, rng):
    if not content:
        return content
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def _cut(content, rng):
    return content[: _at(content, rng)]


def _remove(content, rng):
    at = _at(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 20)) :]


def _repeat(content, rng):
    at = _at(content, rng)
    part = content[at : at + int(rng.integers(1, 60))]
    return content[:at] + part * int(rng.integers(1, 30)) + content[at:]


def _insert(content, rng):
    at = _at(content, rng)
    return content[:at] + TEXTS[int(rng.integers(len(TEXTS)))] + content[at:]


def _noise(content, rng):
    at = _at(content, rng)
    return content[:at] + rng.bytes(int(rng.integers(1, 40))) + content[at:]


def _number(content, rng):
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    match = found[int(rng.integers(len(found)))]
    return content[: match.start()] + NUMBERS[int(rng.integers(len(NUMBERS)))] + content[match.end() :]


def _lines(content, rng):
    """Two lines change places, or one is repeated or left out."""
    lines = content.split(b"\n")
    i, j = rng.integers(len(lines), size=2)
    kind = int(rng.integers(3))
    if kind == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 1:
        lines.insert(i, lines[j])
    else:
        del lines[i]
    return b"\n".join(lines)


MUTATIONS = [_flip, _cut, _remove, _repeat, _insert, _noise, _number, _number, _lines]
