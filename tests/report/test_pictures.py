"""Pictures on disk: names of any script, contact sheets of every group, nothing left of a longer run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from harness import files
from harness.errors import HarnessError
from harness.png import ACROSS, SIDE, row_of
from harness.report import pictures
from harness.report.pictures import contact_grid, contact_sheets, save_all
from tests.report.made_up import ENDS, SHARPNESS, cases, registered, results

IMAGES = torch.arange(3 * 3 * 8 * 8, dtype=torch.uint8).view(3, 3, 8, 8)
CASE = "scenes-unet-magnitude-all-0.50"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("A red dog, 2 blue cups.", "0000-A-red-dog-2-blue-cups.png"),
        ("красный пёс", "0000-красный-пёс.png"),
        ("一只红色的狗", "0000-一只红色的狗.png"),
        ("लाल कुत्ता", "0000-लाल-कुत्ता.png"),
        ("a/b\\c: ../../d", "0000-a-b-c-d.png"),
        ("!?", "0000.png"),
    ],
)
def test_names_keep_the_words_of_any_script(tmp_path: Path, caption: str, name: str) -> None:
    save_all(IMAGES[:1], [caption], tmp_path / CASE)
    assert names(tmp_path / CASE) == [name]


@pytest.mark.parametrize("letter", ["a", "狗", "𠀋"])
def test_a_long_caption_fits_into_a_file_name(tmp_path: Path, letter: str) -> None:
    save_all(IMAGES[:1], [letter * 1000], tmp_path / CASE)
    (name,) = names(tmp_path / CASE)
    assert 45 <= len(name) - len("0000-.png") <= 60 and set(name[5:-4]) == {letter}


def test_a_picture_holds_its_pixels_case_and_caption(tmp_path: Path) -> None:
    save_all(IMAGES, ["one", "two", "drei Hunde"], tmp_path / CASE)
    with Image.open(tmp_path / CASE / "0002-drei-Hunde.png") as picture:
        assert picture.text == {"case": CASE, "caption": "drei Hunde"}  # type: ignore[attr-defined]
        assert picture.convert("RGB").getpixel((1, 0)) == tuple(IMAGES[2, :, 0, 1].tolist())


def test_pictures_of_a_longer_earlier_run_go_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / CASE
    save_all(IMAGES, ["one", "two", "three"], folder)
    files.write(folder / "0002-mine.png", row_of(IMAGES))
    files.write(folder / "notes.png", row_of(IMAGES))
    (folder / "0003-broken.png").write_text("no picture")
    save_all(IMAGES[:2], ["one", "another"], folder)
    assert names(folder) == ["0000-one.png", "0001-another.png", "0002-mine.png", "0003-broken.png", "notes.png"]


def test_a_row_has_twelve_pictures_at_most() -> None:
    import io

    for count in (1, 3, 20):
        with Image.open(io.BytesIO(row_of(IMAGES[:1].repeat(count, 1, 1, 1)))) as row:
            assert row.size == (SIDE * min(count, ACROSS), SIDE)


def test_a_sheet_per_group_with_the_dense_row_on_top(tmp_path: Path) -> None:
    made = results(*cases("unet", "magnitude", [0.5, 0.25]), *cases("unet", "random", [0.5]))
    for record in [*made.dense.values(), *(result.record for result in made.cases)]:
        files.write(tmp_path / "rows" / f"{record.case.id}.png", row_of(IMAGES))
    paths = contact_sheets(made, tmp_path)
    assert [path.name for path in paths] == [
        "contact-scenes-unet-magnitude-all.png",
        "contact-scenes-unet-random-all.png",
    ]
    heights = []
    for path in paths:
        with Image.open(path) as sheet:
            heights.append(sheet.height)
    assert heights[0] - heights[1] == SIDE
    (tmp_path / "rows" / f"{CASE}.png").unlink()
    with pytest.raises(HarnessError, match=rf"--report: .*{CASE}.png is missing or damaged .* a --report folder each"):
        contact_sheets(made, tmp_path)


def test_labels_are_the_level_and_the_first_two_headline_metrics() -> None:
    (result,) = results(*cases("unet", "magnitude", [0.5])).cases
    assert pictures._label(result.record) == "0.50\nFID 33.56\nCLIP score 81.45"
    with registered(SHARPNESS):
        (sharp,) = results(
            *cases("unet", "magnitude", [0.5]), ends={"clip": ENDS["clip"], "sharpness": (9.0, 1.0)}
        ).cases
        assert pictures._label(sharp.record) == "0.50\nCLIP score 81.45\nsharpness 8.0"


def test_a_grid_has_rows_of_eight(tmp_path: Path) -> None:
    contact_grid(IMAGES[:1].repeat(9, 1, 1, 1), ["a caption"] * 9, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (8 * 144, 2 * (144 + 46))
