"""The world: fixed by its seed, split by meaning, and drawn as its caption says."""

from __future__ import annotations

import random
import re

import torch

from harness.scenes import captions
from harness.scenes.captions import COLOURS, Scene, Thing, draw_held_out, held_out, sample_scene
from harness.scenes.judges import WORDS, JudgeCLIP, labels
from harness.scenes.render import render, sample_batch


def test_held_out_file_is_what_its_seed_draws() -> None:
    assert held_out() == draw_held_out()
    assert len({caption for caption, _ in held_out()}) == 1000


def test_no_held_out_meaning_is_ever_trained_on() -> None:
    rng = random.Random(5)
    trained = {sample_scene(rng).meaning() for _ in range(3000)}
    assert not trained & {scene.meaning() for _, scene in held_out()}
    assert {sample_scene(rng, "calibration").split() for _ in range(20)} == {"calibration"}


def test_a_picture_and_its_mirrored_sentence_mean_the_same() -> None:
    a, b = Thing("star", "red", "small"), Thing("ring", "blue", "large")
    one, other = Scene("white", (a, b), "left of"), Scene("white", (b, a), "right of")
    assert one.meaning() == other.meaning() and torch.equal(labels([one]), labels([other]))
    assert Scene("white", (b, a), "left of").meaning() != one.meaning()


def test_pictures_follow_from_the_seed() -> None:
    first, second, other = sample_batch(8, 3), sample_batch(8, 3), sample_batch(8, 4)
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


def test_the_judge_knows_every_word() -> None:
    words = {w for caption, _ in held_out() for w in re.findall(r"\w+|,", caption)}
    assert words <= set(WORDS)
    assert (JudgeCLIP.tokens(["an elephant, black background"]) == 1).sum() == 2
