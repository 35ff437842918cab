"""Analyses of saved records, by hand. Boxes count both ends, as `box_iou` does."""

import numpy as np
import pytest

from modeling_sat.evaluation import LocalizationEvaluator, View
from modeling_sat.evaluation.analysis import (
    accuracy_by_threshold,
    boxes_at,
    count_causes,
    error_causes,
    median_of_correct,
    sizes_and_overlaps,
)


SIZE = (20, 20)


def evaluator_with(maps, boxes, masks=None, thresholds=(0.25, 0.5, 0.75), top1=0):
    evaluator = LocalizationEvaluator("sat", View(SIZE, crop=None), thresholds)
    top5 = np.tile([top1, 1, 2, 3, 4], (len(maps), 1))
    ids = [f"image-{index}" for index in range(len(maps))]
    evaluator.update(ids, maps, top5, [0] * len(maps), boxes, [SIZE] * len(maps), masks)
    return evaluator


def rectangle(left, top, right, bottom, value=1.0):
    """A map that is `value` on the half-open rectangle."""
    localization_map = np.zeros(SIZE, np.float32)
    localization_map[top:bottom, left:right] = value
    return localization_map


def cause(predicted, ground_truth, of="gt_known_loc", top1=0):
    boxes = [np.array(ground_truth, dtype=float).reshape(-1, 4)]
    return error_causes(evaluator_with([rectangle(*predicted)], boxes, top1=top1), 0.5, of)[0]


class TestErrorCauses:
    # `sat` writes the half-open rectangle (l, t, r, b) as the box [l, t, r, b]: (r - l + 1) × (b - t + 1) pixels.

    def test_correct(self):
        assert cause((0, 0, 9, 9), [0, 0, 9, 9]) is None

    def test_an_overlap_of_one_half_is_correct(self):
        assert cause((0, 0, 9, 4), [0, 0, 9, 9]) is None  # 10 × 5 of 10 × 10

    def test_a_wrong_class_comes_first_unless_the_class_is_known(self):
        assert cause((0, 0, 9, 9), [0, 0, 9, 9], of="top1_loc", top1=7) == "classification"
        assert cause((0, 0, 9, 9), [0, 0, 9, 9], of="gt_known_loc", top1=7) is None

    def test_part(self):
        assert cause((2, 2, 5, 5), [0, 0, 9, 9]) == "part"  # 4 × 4 of 10 × 10, all of it inside

    def test_more(self):
        assert cause((0, 0, 19, 19), [0, 0, 9, 9]) == "more"  # 20 × 20 around 10 × 10

    def test_multiple_instances(self):
        # 20 × 20 holds two boxes of 5 × 5 each; with one of them alone it is too much.
        assert cause((0, 0, 19, 19), [[0, 0, 4, 4], [10, 10, 14, 14]]) == "multiple instances"
        assert cause((0, 0, 19, 19), [[0, 0, 4, 4]]) == "more"

    def test_other(self):
        assert cause((0, 0, 4, 4), [10, 10, 19, 19]) == "other"
        # [6, 0, 15, 9] shares 4 × 10 of each box's 10 × 10: IoP 0.4, IoG 0.4, overlap 40 / 160
        assert cause((6, 0, 15, 9), [0, 0, 9, 9]) == "other"

    def test_counts_are_fractions_of_all_images(self):
        counts = count_causes(["part", None, "part", "other"])
        assert counts == {"classification": 0, "multiple instances": 0, "part": 0.5, "more": 0, "other": 0.25}

    def test_unknown_kind(self):
        with pytest.raises(ValueError, match="'top1_loc' or 'gt_known_loc'"):
            error_causes(evaluator_with([rectangle(0, 0, 9, 9)], [np.array([[0, 0, 9, 9.0]])]), 0.5, "top1")


def test_boxes_at_every_threshold():
    localization_map = rectangle(0, 0, 15, 10, 0.6)
    localization_map[0:5, 0:5] = 1
    evaluator = evaluator_with([localization_map], [np.array([[0, 0, 9, 9.0]])])
    boxes = [boxes_at(evaluator, threshold)[0].tolist() for threshold in (0.25, 0.5, 0.75)]
    assert boxes == [[0, 0, 15, 10], [0, 0, 15, 10], [0, 0, 5, 5]]


def test_median_is_of_the_correct_alone():
    assert median_of_correct(np.array([0.1, 0.5, 0.9, 0.6])) == 0.6
    assert median_of_correct(np.array([0.1, 0.2])) is None


def test_accuracy_by_threshold():
    # At 0.25 and 0.5 the box is [0, 0, 9, 9] of the first map; above 0.5 the second is empty: the whole view.
    maps = [rectangle(0, 0, 9, 9), rectangle(0, 0, 9, 9, 0.6)]
    maps[1][19, 19] = 1
    evaluator = evaluator_with(maps, [np.array([[0, 0, 9, 9.0]])] * 2)
    assert accuracy_by_threshold(evaluator).tolist() == [1, 1, 0.5]


class TestSizes:
    BOXES = [np.array([[0, 0, 9, 9.0]])]

    def test_by_box(self):
        sizes, overlaps, kind = sizes_and_overlaps(evaluator_with([rectangle(0, 0, 9, 4)], self.BOXES), 0.5)
        assert kind == "box"
        assert (sizes.tolist(), overlaps.tolist()) == ([100 / 400], [0.5])

    def test_by_mask(self):
        # Object 10 × 10, of it 10 × 5 found, and 10 × 2 of background; 100 pixels of the other 300 are ignored.
        mask = np.zeros(SIZE, np.uint8)
        mask[:10, :10], mask[10:, 10:] = 1, 255
        evaluator = evaluator_with([rectangle(0, 5, 10, 12)], self.BOXES, [mask])
        sizes, overlaps, kind = sizes_and_overlaps(evaluator, 0.5)
        assert kind == "mask"
        assert (sizes.tolist(), overlaps.tolist()) == ([100 / 300], [50 / (100 + 20)])
