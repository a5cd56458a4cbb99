"""A module of helpers that keep things, called by the name of the module."""

counts: dict[str, int] = {"n": 0}
scale = 0.0


class Meter:
    n = 0


meter = Meter()


def tick() -> int:
    counts["n"] += 1
    return counts["n"]


def clear() -> None:
    global scale
    counts["n"], meter.n, scale = 0, 0, 0.0
