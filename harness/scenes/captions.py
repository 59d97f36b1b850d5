"""The world of `scenes`: what a picture can show, how a caption describes it, and which scenes are held out."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness.errors import HarnessError

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.10, 0.12),
    "orange": (1.00, 0.55, 0.05),
    "yellow": (0.98, 0.90, 0.10),
    "green": (0.12, 0.68, 0.22),
    "cyan": (0.15, 0.80, 0.90),
    "blue": (0.12, 0.22, 0.90),
    "purple": (0.55, 0.15, 0.75),
    "pink": (1.00, 0.50, 0.72),
}
BACKGROUNDS: dict[str, tuple[float, float, float]] = {
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
    "gray": (0.50, 0.50, 0.50),
    "brown": (0.42, 0.26, 0.12),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
# The groups that scenes are divided into, see `Scene.split`.
SPLITS = ("train", "evaluation", "calibration", "combination")
# Pairs of shape and colour that the model never trains on. A scene with one of them is a "combination".
UNSEEN = (("star", "purple"), ("ring", "orange"), ("triangle", "green"), ("cross", "cyan"))
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

HELD_OUT_FILE = Path(__file__).parent / "held_out.json"


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    shape: str
    """One of `SHAPES`."""
    colour: str
    """One of `COLOURS`."""
    size: str
    """One of `SIZES`."""


@dataclass(frozen=True)
class Scene:
    """One or two things on a background."""

    background: str
    """One of `BACKGROUNDS`."""
    things: tuple[Thing, ...]
    """One thing, or two things in the order of the caption."""
    relation: str | None
    """Where the first thing is, seen from the second: one of `RELATIONS`. None for a single thing."""

    def ordered(self) -> tuple[str | None, tuple[Thing, ...]]:
        """Return the scene as a picture shows it, whatever order the caption has.

        Returns:
            The relation "left of" or "above" (None for a single thing), and the things from left to right or from top
            to bottom.
        """
        if self.relation in ("right of", "below"):
            return OPPOSITE[self.relation], self.things[::-1]
        return self.relation, self.things

    def meaning(self) -> str:
        """Return a text that is equal for two scenes exactly where one picture shows both.

        For example, "A left of B" and "B right of A" have one meaning.
        """
        relation, things = self.ordered()
        words = [f"{t.size} {t.colour} {t.shape}" for t in things]
        return f"{f' {relation} '.join(words)} | {self.background}"

    def split(self) -> str:
        """Return the split that the scene belongs to: one of `SPLITS`.

        A scene with a thing of `UNSEEN` is a "combination". The hash of its meaning decides about every other scene:
        one in ten is "evaluation", one in ten is "calibration", and the others are "train".
        """
        if any((thing.shape, thing.colour) in UNSEEN for thing in self.things):
            return "combination"
        bucket = int.from_bytes(hashlib.sha256(self.meaning().encode()).digest()[:4], "big") % 10
        return {0: "evaluation", 1: "calibration"}.get(bucket, "train")


def sample_scene(rng: random.Random, splits: Collection[str]) -> Scene:
    """Draw a scene from some splits. A quarter of the draws have one thing, the others have two."""
    while True:
        count = 1 if rng.random() < 0.25 else 2
        things = tuple(Thing(rng.choice(SHAPES), rng.choice(tuple(COLOURS)), rng.choice(SIZES)) for _ in range(count))
        relation = rng.choice(RELATIONS) if count == 2 else None
        scene = Scene(rng.choice(tuple(BACKGROUNDS)), things, relation)
        if scene.split() in splits:
            return scene


def twin(scene: Scene, rng: random.Random, splits: Collection[str]) -> Scene:
    """Draw a scene that has another meaning but differs from the given scene in one respect only.

    Two things change places or exchange one attribute. A single thing gets another shape, colour or size, and so does
    one of two things in every fifth draw. Scene and twin often have the same words in another order. A text encoder
    that trains without twins may ignore the order of words, and then never learns which of two things is on the left.

    Args:
        scene: The scene to vary.
        rng: The source of the draws.
        splits: The splits that the twin may come from.
    """
    while True:
        things = list(scene.things)
        attribute, values = rng.choice((("shape", SHAPES), ("colour", tuple(COLOURS)), ("size", SIZES)))
        if len(things) == 1 or rng.random() < 0.2:
            place = rng.randrange(len(things))
            things[place] = replace(things[place], **{attribute: rng.choice(values)})
        elif rng.random() < 0.5:
            things.reverse()
        else:
            first, second = (getattr(thing, attribute) for thing in things)
            things = [replace(things[0], **{attribute: second}), replace(things[1], **{attribute: first})]
        other = replace(scene, things=tuple(things))
        if other.split() in splits and other.meaning() != scene.meaning():
            return other


def describe(scene: Scene, rng: random.Random) -> str:
    """Return one of several English captions for the scene, in lower case."""
    phrases = [f"a {t.size} {t.colour} {t.shape}" for t in scene.things]
    if scene.relation is None:
        text = phrases[0] if rng.random() < 0.7 else phrases[0].removeprefix("a ")
    else:
        words = {"left of": ("left of", "to the left of"), "right of": ("right of", "to the right of")}
        between = rng.choice(words.get(scene.relation, (scene.relation,)))
        text = f"{phrases[0]} {between} {phrases[1]}"
    ground = scene.background
    return text + rng.choice((f" on a {ground} background", f", {ground} background", f" against {ground}"))


def sample_captions(n: int, seed: int, split: str) -> list[tuple[str, Scene]]:
    """Draw n pairs of caption and scene from one split. No caption occurs twice."""
    rng = random.Random(seed)
    pairs: dict[str, Scene] = {}
    while len(pairs) < n:
        scene = sample_scene(rng, (split,))
        pairs.setdefault(describe(scene, rng), scene)
    return list(pairs.items())


def draw_held_out() -> dict[str, list[tuple[str, Scene]]]:
    """Draw the lists that `held_out.json` stores.

    Each list is shuffled, so that its first captions resemble the whole list.
    """
    lists = {}
    for split, n in (("evaluation", 1000), ("combination", 500)):
        lists[split] = sample_captions(n, 20241113, split)
        random.Random(20241113).shuffle(lists[split])
    return lists


def held_out(split: str = "evaluation") -> list[tuple[str, Scene]]:
    """Return a fixed list of captions with their scenes. The model never trains on the meaning of any of them.

    Args:
        split: "evaluation" for the 1,000 captions behind the gate and all quality figures; "combination" for 500
            captions with a pair of `UNSEEN`.

    Raises:
        HarnessError: `held_out.json` is missing or damaged.
    """
    try:
        lists = msgspec.json.decode(HELD_OUT_FILE.read_bytes(), type=dict[str, list[_Stored]])
        return [(entry.caption, entry.scene()) for entry in lists[split]]
    except (OSError, ValueError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        raise HarnessError(
            f"{HELD_OUT_FILE} cannot be read ({error}); restore it with `git checkout -- {HELD_OUT_FILE}`"
        ) from error


class _Stored(msgspec.Struct):
    """One caption of `held_out.json`."""

    caption: str
    background: str
    relation: str | None
    things: list[tuple[str, str, str]]  # size, colour, shape

    def scene(self) -> Scene:
        things = tuple(Thing(shape, colour, size) for size, colour, shape in self.things)
        fits = all(t.shape in SHAPES and t.colour in COLOURS and t.size in SIZES for t in things)
        related = self.relation in RELATIONS if len(things) == 2 else len(things) == 1 and self.relation is None
        if not (fits and related and self.background in BACKGROUNDS):
            raise ValueError(f"the scene of {self.caption!r} is damaged")
        return Scene(self.background, things, self.relation)
