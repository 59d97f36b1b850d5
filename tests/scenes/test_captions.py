"""The world: fixed by its seed, split by meaning, and drawn as its caption says."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.scenes import captions
from harness.scenes.captions import (
    COLOURS,
    SHAPES,
    SPLITS,
    UNSEEN,
    Scene,
    Thing,
    draw_held_out,
    held_out,
    sample_scene,
    twin,
)
from harness.scenes.judges import WORDS, JudgeCLIP, labels
from harness.scenes.render import render, sample_batch


def test_held_out_file_is_what_its_seed_draws() -> None:
    drawn = draw_held_out()
    assert {split: held_out(split) for split in drawn} == drawn
    assert [len({caption for caption, _ in pairs}) for pairs in drawn.values()] == [1000, 500]


def test_no_held_out_meaning_is_ever_trained_on() -> None:
    trained = {scene.meaning() for seed in range(20) for scene in sample_batch(150, seed, ("train",), twins=True)[2]}
    for split in ("evaluation", "combination"):
        assert not trained & {scene.meaning() for _, scene in held_out(split)}
    rng = random.Random(5)
    assert {sample_scene(rng, ("calibration",)).split() for _ in range(20)} == {"calibration"}


def test_a_combination_is_never_trained_on_but_each_of_its_parts_is() -> None:
    scenes = [scene for seed in range(20) for scene in sample_batch(150, seed, ("train",), twins=True)[2]]
    seen = {(thing.shape, thing.colour) for scene in scenes for thing in scene.things}
    assert not seen & set(UNSEEN)
    assert seen | set(UNSEEN) == set(itertools.product(SHAPES, COLOURS))
    assert all({(t.shape, t.colour) for t in scene.things} & set(UNSEEN) for _, scene in held_out("combination"))


def test_a_twin_means_something_else_and_differs_in_one_respect() -> None:
    rng = random.Random(3)
    for _ in range(300):
        scene = sample_scene(rng, SPLITS)
        other = twin(scene, rng, SPLITS)
        assert other.meaning() != scene.meaning()
        assert (other.background, other.relation) == (scene.background, scene.relation)
        one, two = ([(t.shape, t.colour, t.size) for t in s.things] for s in (scene, other))
        changed = [sum(a != b for a, b in zip(x, y, strict=True)) for x, y in zip(one, two, strict=True)]
        assert one == two[::-1] or sorted(changed) in ([1], [0, 1], [1, 1])


def test_a_picture_and_its_mirrored_sentence_mean_the_same() -> None:
    a, b = Thing("star", "red", "small"), Thing("ring", "blue", "large")
    one, other = Scene("white", (a, b), "left of"), Scene("white", (b, a), "right of")
    assert one.meaning() == other.meaning() and torch.equal(labels([one]), labels([other]))
    assert Scene("white", (b, a), "left of").meaning() != one.meaning()


def test_pictures_follow_from_the_seed() -> None:
    first, second, other = (sample_batch(8, seed, ("train",)) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0]) and first[1] == second[1]
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (8, 3, 64, 64) and first[0].min() >= 0 and first[0].max() <= 1


def test_things_stand_where_the_caption_says() -> None:
    red, blue = Thing("circle", "red", "large"), Thing("square", "blue", "large")
    scenes = [Scene("black", (red, blue), relation) for relation in captions.RELATIONS]
    for relation, picture in zip(captions.RELATIONS, render(scenes, 0), strict=True):
        place = {}
        for name in ("red", "blue"):
            near = (picture - torch.tensor(COLOURS[name]).view(3, 1, 1)).abs().sum(0) < 0.5
            place[name] = near.nonzero().float().mean(0)
        down, right = (place["red"] - place["blue"]).tolist()
        seen = {"left of": -right, "right of": right, "above": -down, "below": down}
        assert seen[relation] > 10


def test_the_scorer_clip_knows_every_word() -> None:
    words = {w for caption, _ in held_out() for w in re.findall(r"\w+|,", caption)}
    assert words <= set(WORDS)
    assert (JudgeCLIP.tokens(["an elephant, black background"]) == 1).sum() == 2


@pytest.mark.parametrize(
    "content",
    ["", '{"evaluation": 3}', '{"evaluation": [{"caption": "a"}]}', "{}", "[" * 100_000],
    ids=["empty", "no list", "a field is missing", "a list is missing", "deeply nested"],
)
def test_a_damaged_list_of_captions_is_one_message(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held_out.json").write_text(content)
    monkeypatch.setattr(captions, "HELD_OUT_FILE", tmp_path / "held_out.json")
    with pytest.raises(HarnessError, match=r"held_out.json cannot be read .*; restore it with `git checkout"):
        held_out()
