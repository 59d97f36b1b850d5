"""The world of `scenes`: what a picture can contain, how a caption says it, and which meanings are held out."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
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
        """Return "train", "evaluation" or "calibration": one meaning in ten each is kept for the latter two."""
        bucket = int.from_bytes(hashlib.sha256(self.meaning().encode()).digest()[:4], "big") % 10
        return {0: "evaluation", 1: "calibration"}.get(bucket, "train")


def sample_scene(rng: random.Random, split: str = "train") -> Scene:
    """Draw a scene whose meaning belongs to `split`: one thing in 40 % of the draws, else two."""
    while True:
        count = 1 if rng.random() < 0.4 else 2
        things = tuple(Thing(rng.choice(SHAPES), rng.choice(tuple(COLOURS)), rng.choice(SIZES)) for _ in range(count))
        relation = rng.choice(RELATIONS) if count == 2 else None
        scene = Scene(rng.choice(tuple(BACKGROUNDS)), things, relation)
        if scene.split() == split:
            return scene


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
        scene = sample_scene(rng, split)
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


def draw_held_out() -> list[tuple[str, Scene]]:
    """Draw what is stored as the held-out list, in an order in which every part looks like the whole."""
    pairs = sample_captions(1000, 20241113, "evaluation")
    random.Random(20241113).shuffle(pairs)
    return pairs


def held_out() -> list[tuple[str, Scene]]:
    """Return the fixed list of 1,000 captions with their scenes, none of whose meanings is ever trained on."""
    return [from_json(entry) for entry in json.loads(HELD_OUT_FILE.read_text())]
