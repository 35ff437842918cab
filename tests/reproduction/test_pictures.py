"""The same images by each row, from records alone."""

import numpy as np
import pytest

from modeling_sat.reproduction.pictures import (
    Looked,
    draw_lines,
    look,
    most_different,
    seed_looked_at,
    side_by_side,
    spread_out,
)
from modeling_sat.reproduction.results import Key, StudyResults


@pytest.fixture
def results(tmp_path, evaluated) -> StudyResults:
    good, half = (evaluated(tmp_path / name / "evaluation", found) for name, found in (("good", 1), ("half", 0.5)))
    return StudyResults({Key("SAT"): {1: good, 0: good}, Key("CAM"): {1: half}, Key("failed"): {}})


def test_rows_are_seen_by_a_seed_that_all_have(results):
    assert list(look(results)) == ["SAT", "CAM"]
    assert seed_looked_at(results) == 1
    assert seed_looked_at(StudyResults({Key("a"): {}})) is None and look(StudyResults({})) == {}


def test_images_are_spread_or_differ_most(results):
    looked = look(results)
    assert spread_out(looked, 3) == ["image 0", "image 2", "image 5"]
    assert spread_out(looked, 99) == [f"image {index}" for index in range(6)]
    # The second row fails on the last three; on the others both maps are alike.
    assert most_different(looked, 9) == ["image 3", "image 4", "image 5"]
    assert most_different(looked, 1, without=["image 3"]) == ["image 4"]


def test_each_line_says_what_each_row_made_of_an_image(results, photographs):
    (line,) = draw_lines(look(results), photographs, ["image 3"])
    assert line.image.caption == "pear"
    good, bad = line.panels
    assert good.caption == "IoU 1.00"
    assert bad.caption == "IoU 0.00, as apple"
    assert not np.array_equal(np.asarray(good.picture), np.asarray(bad.picture))


def test_a_sheet_has_a_line_for_each_image(results, photographs):
    sheet = side_by_side(results, photographs, count=3)
    other = side_by_side(results, photographs, count=6)
    assert sheet.width == other.width > 3 * 200 and other.height > 1.8 * sheet.height


def test_without_boxes_the_preview_gives_one(tmp_path, evaluated, photographs):
    outcomes = [
        evaluated(tmp_path / name / "evaluation", found, boxes=False) for name, found in (("a", 1), ("b", 0.5))
    ]
    looked = {name: Looked.of(outcome) for name, outcome in zip("ab", outcomes)}
    assert looked["a"].overlaps is None and looked["a"].threshold == 0.5
    assert most_different(looked, 9) == ["image 3", "image 4", "image 5"]
    bare = photographs.remove_columns("boxes").add_column("boxes", [[]] * len(photographs))
    (line,) = draw_lines(looked, bare, ["image 4"])
    assert [panel.caption for panel in line.panels] == ["", "as pear"]
    green = [(np.asarray(panel.picture) == (60, 255, 60)).all(axis=-1) for panel in line.panels]
    assert all(pixels.any() for pixels in green)
    assert np.argwhere(green[0]).mean() > 1.5 * np.argwhere(green[1]).mean()  # the middle, and the top left corner
