"""The world of `scenes`: what a picture can contain, how a caption says it, and which meanings are held out."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

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
# Where a scene can belong (`Scene.split`), and the things that make it a "combination".
SPLITS = ("train", "evaluation", "calibration", "combination")
UNSEEN = (("star", "purple"), ("ring", "orange"), ("triangle", "green"), ("cross", "cyan"))
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

HELD_OUT_FILE = Path(__file__).parent / "held_out.json"


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    shape: str
    colour: str
    size: str


@dataclass(frozen=True)
class Scene:
    """One or two things on a background; `relation` says where the first stands, seen from the second."""

    background: str
    things: tuple[Thing, ...]
    relation: str | None

    def ordered(self) -> tuple[str | None, tuple[Thing, ...]]:
        """Return (axis, things from left to right or from top to bottom): what a picture can show of the relation."""
        if self.relation in ("right of", "below"):
            return OPPOSITE[self.relation], self.things[::-1]
        return self.relation, self.things

    def meaning(self) -> str:
        """Return the same text for every scene that the same picture may show ("A left of B", "B right of A")."""
        relation, things = self.ordered()
        words = [f"{t.size} {t.colour} {t.shape}" for t in things]
        return f"{f' {relation} '.join(words)} | {self.background}"

    def split(self) -> str:
        """Return which split the scene belongs to.

        "combination" where a thing is one of `UNSEEN`, a shape and a colour never trained together; of the others one
        meaning in ten each is kept for "evaluation" and "calibration", and the rest are "train".
        """
        if any((thing.shape, thing.colour) in UNSEEN for thing in self.things):
            return "combination"
        bucket = int.from_bytes(hashlib.sha256(self.meaning().encode()).digest()[:4], "big") % 10
        return {0: "evaluation", 1: "calibration"}.get(bucket, "train")


def sample_scene(rng: random.Random, splits: Collection[str]) -> Scene:
    """Draw a scene that belongs to one of `splits`: one thing in a quarter of the draws, else two."""
    while True:
        count = 1 if rng.random() < 0.25 else 2
        things = tuple(Thing(rng.choice(SHAPES), rng.choice(tuple(COLOURS)), rng.choice(SIZES)) for _ in range(count))
        relation = rng.choice(RELATIONS) if count == 2 else None
        scene = Scene(rng.choice(tuple(BACKGROUNDS)), things, relation)
        if scene.split() in splits:
            return scene


def twin(scene: Scene, rng: random.Random, splits: Collection[str]) -> Scene:
    """Draw a scene of `splits` that means something else but differs from `scene` in one respect only.

    Two things change places or exchange one attribute; one thing, and two in one draw of five, get another shape,
    colour or size. Words in a bag do not tell twins apart: a contrastive text encoder that never meets them never
    learns which of two things stands on the left.
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
        found = replace(scene, things=tuple(things))
        if found.split() in splits and found.meaning() != scene.meaning():
            return found


def describe(scene: Scene, rng: random.Random) -> str:
    """Return one of the scene's paraphrases in English, lower case."""
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
    """Draw `n` pairs of caption and scene from one split, no caption twice."""
    rng = random.Random(seed)
    found: dict[str, Scene] = {}
    while len(found) < n:
        scene = sample_scene(rng, (split,))
        found.setdefault(describe(scene, rng), scene)
    return list(found.items())


def to_json(caption: str, scene: Scene) -> dict[str, object]:
    """Return caption and scene as plain JSON values."""
    things = [[t.size, t.colour, t.shape] for t in scene.things]
    return {"caption": caption, "background": scene.background, "relation": scene.relation, "things": things}


def from_json(entry: dict[str, object]) -> tuple[str, Scene]:
    """Read what `to_json` wrote."""
    things = tuple(Thing(size=s, colour=c, shape=f) for s, c, f in entry["things"])  # type: ignore[attr-defined]
    return str(entry["caption"]), Scene(str(entry["background"]), things, entry["relation"])  # type: ignore[arg-type]


def draw_held_out() -> dict[str, list[tuple[str, Scene]]]:
    """Draw what is stored as the held-out lists, each in an order in which every part looks like the whole."""
    found = {}
    for split, n in (("evaluation", 1000), ("combination", 500)):
        found[split] = sample_captions(n, 20241113, split)
        random.Random(20241113).shuffle(found[split])
    return found


def held_out(split: str = "evaluation") -> list[tuple[str, Scene]]:
    """Return a fixed list of captions with their scenes, none of whose meanings the model is ever trained on.

    "evaluation": 1,000 captions, what the gate and all quality figures use. "combination": 500 captions with a shape
    and a colour that the model never saw together (`UNSEEN`).
    """
    return [from_json(entry) for entry in json.loads(HELD_OUT_FILE.read_text())[split]]
