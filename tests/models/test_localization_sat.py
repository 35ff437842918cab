"""From map to boxes, by hand; and a view there and back."""

import numpy as np
import pytest

from modeling_sat.models.localization_sat import View, map_to_boxes, normalize_map, resize_map


def boxes(rows: list[str], threshold: float = 0.5, multiple_objects: bool = False) -> list[list[int]]:
    """Of a map drawn with # for 1 and . for 0, at its own size."""
    drawn = np.array([[float(mark == "#") for mark in row] for row in rows])
    found, masks = map_to_boxes(drawn, threshold, drawn.shape, multiple_objects)
    assert masks.dtype == bool and masks.shape == (len(found), *drawn.shape)
    for (x_min, y_min, x_max, y_max), mask in zip(found, masks):
        ys, xs = mask.nonzero()
        assert (x_min, y_min, x_max, y_max) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    return found.tolist()


class TestMapToBoxes:
    def test_one_object(self):
        rows = [
            "......",
            "..##..",
            "..###.",
            "......",
        ]
        assert boxes(rows) == [[2, 1, 5, 3]]

    def test_diagonal_neighbours_are_one_object(self):
        rows = [
            "#...",
            ".#..",
            "..#.",
        ]
        assert boxes(rows, multiple_objects=True) == [[0, 0, 3, 3]]

    def test_most_pixels_win_over_the_larger_box(self):
        # 5 pixels in a box of 5×5, 6 in a box of 3×2.
        rows = [
            "#........",
            ".#...###.",
            "..#..###.",
            "...#.....",
            "....#....",
        ]
        assert boxes(rows) == [[5, 1, 8, 3]]

    def test_of_equals_the_first_from_the_top(self):
        rows = [
            "......",
            "...##.",
            "......",
            "......",
            "##....",
        ]
        assert boxes(rows) == [[3, 1, 5, 2]]

    def test_of_equals_the_first_in_reading_order(self):
        # OpenCV numbers the lower one first, because it comes first among blocks of 2×2 pixels.
        assert boxes(["......#", "#......"]) == [[6, 0, 7, 1]]

    def test_multiple_objects_from_the_largest_down(self):
        rows = [
            "##....#",
            ".......",
            "...##..",
            "...##..",
        ]
        assert boxes(rows, multiple_objects=True) == [[3, 2, 5, 4], [0, 0, 2, 1], [6, 0, 7, 1]]
        assert boxes(rows) == [[3, 2, 5, 4]]

    def test_multiple_objects_are_of_a_patch_at_least(self):
        # 2×4 patches on 16×32 pixels: a patch is 8×8. Above 0.9, the right one is a few pixels in the patch's middle.
        localization_map = np.array([[1.0, 1.0, 0, 0.93], [1.0, 1.0, 0, 0]])
        found, masks = map_to_boxes(localization_map, 0.9, (16, 32), multiple_objects=True)
        assert len(found) == 1
        full = resize_map(normalize_map(localization_map), (16, 32)) > 0.9
        assert full[:, 24:].any() and full[:, 24:].sum() < 64
        assert masks[0].sum() == full[:, :16].sum()

    @pytest.mark.parametrize("multiple_objects", [False, True])
    @pytest.mark.parametrize("value", [0.0, 0.7, np.nan])
    def test_nothing_above_the_threshold_is_the_whole_view(self, value, multiple_objects):
        found, masks = map_to_boxes(np.full((2, 3), value), 0.0, (20, 30), multiple_objects)
        assert found.tolist() == [[0, 0, 30, 20]]
        assert masks.all() and masks.shape == (1, 20, 30)

    def test_threshold_is_strict_and_on_the_normalized_map(self):
        # Normalized: 0, 0.5, 1 (up to the 1e-5 in the divisor). What is exactly at the threshold is background.
        localization_map = np.array([[0.2, 0.3, 0.4]], np.float64)
        middle = float(resize_map(normalize_map(localization_map), (1, 3))[0, 1])
        assert middle == pytest.approx(0.5, abs=1e-4)
        assert map_to_boxes(localization_map, middle, (1, 3))[0].tolist() == [[2, 0, 3, 1]]
        assert map_to_boxes(localization_map, middle - 1e-4, (1, 3))[0].tolist() == [[1, 0, 3, 1]]

    def test_bilinear_resize_by_hand(self):
        # 0 and 1 at pixel centres 1 and 3 of 4 (1×2 → 1×4): values at 0.5, 1.5, 2.5, 3.5 are 0, 0.25, 0.75, 1.
        np.testing.assert_allclose(resize_map(np.array([[0.0, 1.0]]), (1, 4)), [[0, 0.25, 0.75, 1]])
        assert map_to_boxes(np.array([[0.0, 1.0]]), 0.2, (1, 4))[0].tolist() == [[1, 0, 4, 1]]
        assert map_to_boxes(np.array([[0.0, 1.0]]), 0.5, (1, 4))[0].tolist() == [[2, 0, 4, 1]]


class TestNormalizeMap:
    def test_by_hand(self):
        # (x - 1) / (3 - 1 + 1e-5)
        np.testing.assert_allclose(normalize_map(np.array([[1.0, 2, 3]])), [[0, 0.4999975, 0.999995]], rtol=1e-6)

    def test_constant(self):
        assert (normalize_map(np.full((2, 2), 0.3)) == 0).all()


class TestView:
    def test_squash(self):
        # 100 high, 200 wide, seen as 50×50: x by 4, y by 2.
        view = View((50, 50), None)
        assert (view.size, view.offset) == ((50, 50), (0, 0))
        np.testing.assert_allclose(view.to_image([[10, 5, 50, 50]], (100, 200)), [[40, 10, 200, 100]])

    def test_crop(self):
        # 512×256 (h×w) squashed to 256×256, centre 224×224: 16 pixels off each side; y by 2, x by 1.
        view = View((256, 256), (224, 224))
        assert (view.size, view.offset) == ((224, 224), (16, 16))
        np.testing.assert_allclose(view.to_image([[0, 0, 224, 224]], (512, 256)), [[16, 32, 240, 480]])

    def test_odd_crop_leaves_the_smaller_half_before(self):
        assert View((10, 11), (7, 8)).offset == (1, 1)

    def test_no_boxes(self):
        assert View().to_image(np.zeros((0, 4)), (10, 10)).shape == (0, 4)

    def test_crop_larger_than_the_image(self):
        with pytest.raises(ValueError, match=r"\b224\b.*\b300\b.*\b256\b"):
            View((256, 256), (224, 300))

    def test_array_to_image_is_zero_outside_the_crop(self):
        # 40×40 squashed from 80×40, centre 20×20: rows 20-60, columns 10-30 of the image.
        array = View((40, 40), (20, 20)).array_to_image(np.ones((20, 20)), (80, 40))
        expected = np.zeros((80, 40))
        expected[20:60, 10:30] = 1
        np.testing.assert_array_equal(array, expected)
