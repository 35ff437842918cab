import numpy as np
import pytest

from modeling_sat.evaluation import View, get_protocol


SAT, WSOL = get_protocol("sat"), get_protocol("wsolevaluation")
WHOLE = View(resize=(224, 224), crop=None)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="expected one of"):
        get_protocol("imagenet")


class TestSATGroundTruth:
    def test_scale_shift_truncate(self):
        # x: 100 / 400 * 256 - 16 = 48, 300 / 400 * 256 - 16 = 176; y: 25 / 300 * 256 - 16 = 5.33, 200 -> 154.67
        box = SAT.ground_truth([[100, 25, 300, 200]], (300, 400), View())
        assert box.tolist() == [[48, 5, 176, 154]]

    def test_clipped_to_the_crop(self):
        assert SAT.ground_truth([[0, 0, 400, 300]], (300, 400), View()).tolist() == [[0, 0, 223, 223]]

    def test_box_outside_the_crop_stays_inverted(self):
        # x: max(0 - 16, 0) = 0 and 10 / 400 * 256 - 16 = -9.6 -> -9; y: 290 / 300 * 256 - 16 = 231.47 and 223
        assert SAT.ground_truth([[0, 290, 10, 300]], (300, 400), View()).tolist() == [[0, 231, -9, 223]]

    def test_whole_image_view(self):
        assert SAT.ground_truth([[100, 75, 400, 300]], (300, 400), WHOLE).tolist() == [[56, 56, 223, 223]]


class TestSATMap:
    def test_min_max_before_the_resize(self):
        raw = np.array([[2.0, 6.0]], dtype=np.float32)
        view_map = SAT.view_map(raw, (1, 4))
        # (6 - 2) / (6 - 2 + 1e-5) = 0.9999975; bilinear from 2 to 4 columns: 0, 1/4, 3/4, 1 of it
        np.testing.assert_allclose(view_map, [[0, 0.249999375, 0.749998125, 0.9999975]], atol=1e-7)
        assert view_map.dtype == np.float32

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite_leaves_nothing_above_any_threshold(self, value):
        raw = np.random.default_rng(0).random((14, 14), dtype=np.float32)
        raw[3, 4] = value
        assert not SAT.view_map(raw, (224, 224)).any()

    def test_constant_map(self):
        assert not SAT.view_map(np.full((14, 14), 0.7, dtype=np.float32), (224, 224)).any()

    @pytest.mark.parametrize("bad", [np.zeros((3, 14, 14)), np.zeros(5), np.zeros((0, 4)), np.array([["a"]])])
    def test_not_a_map(self, bad):
        with pytest.raises(ValueError, match="expected"):
            SAT.view_map(bad, (224, 224))


class TestWsolEvaluation:
    def test_ground_truth_by_hand(self):
        # 1 * 35 / 10 = 3.5, 2 * 10 / 20 = 1, 4 * 35 / 10 = 14, 3 * 10 / 20 = 1.5
        assert WSOL.ground_truth([[1, 2, 4, 3]], (20, 10), View((10, 35), None)).tolist() == [[3, 1, 14, 1]]

    def test_order_of_operations(self):
        # 100 * 224 / 700 is 32; 100 / 700 * 224 would be 31.999... and truncate to 31
        assert WSOL.ground_truth([[100, 0, 700, 700]], (700, 700), WHOLE)[0, 0] == 32

    @pytest.mark.parametrize("box", [[5, 5, 2, 9], [-1, 0, 4, 4]])
    def test_inverted_or_negative_box_is_refused(self, box):
        with pytest.raises(ValueError, match="inverted or negative"):
            WSOL.ground_truth([box], (10, 10), WHOLE)

    def test_zero_area_box_is_kept(self):
        assert WSOL.ground_truth([[5, 5, 5, 5]], (224, 224), WHOLE).tolist() == [[5, 5, 5, 5]]

    def test_cropped_view_clips_both_corners(self):
        # 256 pixels wide: the left 10 pixels lie outside the crop, which begins at 16
        assert WSOL.ground_truth([[0, 100, 10, 256]], (256, 256), View()).tolist() == [[0, 84, 0, 223]]

    def test_raw_map_spans_zero_to_one(self):
        view_map = WSOL.view_map(np.random.default_rng(0).random((14, 14)), (224, 224))
        assert (view_map.min(), view_map.max()) == (0, 1)

    @pytest.mark.parametrize("value", [np.nan, 0.3])
    def test_nan_or_constant_raw_map_becomes_zeros(self, value):
        assert not WSOL.view_map(np.full((14, 14), value), (224, 224)).any()

    def test_infinite_raw_map_is_refused(self):
        raw = np.zeros((224, 224))
        raw[0, 0] = np.inf
        with pytest.raises(ValueError, match="infinite"):
            WSOL.view_map(raw, (224, 224))

    @pytest.mark.parametrize("value, message", [(np.nan, "NaN"), (1.5, "spans"), (-0.1, "spans"), (np.inf, "spans")])
    def test_given_map_has_to_be_in_range(self, value, message):
        given = np.zeros((8, 8))
        given[2, 2] = value
        with pytest.raises(ValueError, match=message):
            WSOL.given_map(given, (8, 8))

    def test_given_map_has_to_have_the_view_size(self):
        with pytest.raises(ValueError, match="view size"):
            WSOL.given_map(np.zeros((14, 14)), (224, 224))

    def test_sweep_by_hand(self):
        # 8 bits: 0.4 -> 102, 0.6 -> 153, 0.8 -> 204, 1 -> 255; levels int(tau * 255) = 0, 51, 102, 153, 204
        view_map = np.array([[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]])
        sweep = WSOL.sweep(view_map, np.array([0, 0.2, 0.4, 0.6, 0.8]), np.array([[0, 0, 1, 1.0]]))
        assert sweep.boxes.tolist() == [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]]

    def test_best_box_is_the_contour_closest_to_the_ground_truth(self):
        view_map = np.zeros((20, 20))
        view_map[1:9, 1:9] = 1
        view_map[12:16, 12:17] = 1
        sweep = WSOL.sweep(view_map, np.array([0.0, 0.5]), np.array([[12, 12, 16, 15.0]]))
        assert sweep.boxes.tolist() == [[1, 1, 9, 9]] * 2
        assert sweep.best_boxes.tolist() == [[12, 12, 17, 16]] * 2

    def test_threshold_is_relative_to_the_maximum(self):
        # maximum 0.5 -> 127; 0.9 * 127 = 114.3: only the 127 is above 114
        view_map = np.array([[0, 0.4, 0.5, 0.4, 0, 0]])
        assert WSOL.sweep(view_map, np.array([0.9]), np.zeros((1, 4))).boxes.tolist() == [[2, 0, 3, 0]]
