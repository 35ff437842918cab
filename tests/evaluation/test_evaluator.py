import pickle

import numpy as np
import pytest

from modeling_sat.evaluation import LocalizationEvaluator, View, sweep_iou


SIZE = (10, 10)
VIEW = View(resize=SIZE, crop=None)
PROTOCOLS = ["sat", "wsolevaluation"]


def square_map(x_min, y_min, x_max, y_max, inside=1.0, outside=0.0):
    """A map with a rectangle; corners inclusive."""
    localization_map = np.full(SIZE, outside, dtype=np.float32)
    localization_map[y_min : y_max + 1, x_min : x_max + 1] = inside
    return localization_map


def evaluator_with(maps, boxes, protocol="sat", thresholds=(0.25, 0.5, 0.75), **columns):
    evaluator = LocalizationEvaluator(protocol, VIEW, thresholds)
    ids = [f"image-{index}" for index in range(len(maps))]
    evaluator.update(ids, maps, boxes=boxes, sizes=[SIZE] * len(maps), **columns)
    return evaluator


class TestMetrics:
    def test_by_hand(self):
        # `sat` predicts [x, y, x + w, y + h] and counts both ends. Ground truth [0, 0, 5, 5]: 36 pixels.
        #   image 0: columns and rows 0..4 -> [0, 0, 5, 5], IoU 1; class 3 is first
        #   image 1: columns 0..4, rows 0..1 -> [0, 0, 5, 2], 6 x 3 = 18, IoU 18 / 36 = 0.5; class 3 is second
        #   image 2: columns 0..4, row 0 -> [0, 0, 5, 1], 6 x 2 = 12, IoU 12 / 36 = 0.33; class 3 is first
        #   image 3: bottom right, IoU 0; class 3 is not among five
        maps = [square_map(0, 0, 4, 4), square_map(0, 0, 4, 1), square_map(0, 0, 4, 0), square_map(8, 8, 9, 9)]
        top5 = [[3, 1, 2, 4, 5], [1, 3, 2, 4, 5], [3, 1, 2, 4, 5], [1, 2, 4, 5, 6]]
        evaluator = evaluator_with(maps, [np.array([[0, 0, 5, 5.0]])] * 4, top5=top5, labels=[3] * 4)
        np.testing.assert_allclose(evaluator.iou(0.5), [1, 0.5, 1 / 3, 0])
        assert evaluator.compute(0.5) == {
            "top1_cls": 2 / 4,
            "top5_cls": 3 / 4,
            "gt_known_loc": 2 / 4,
            "top1_loc": 1 / 4,
            "top5_loc": 2 / 4,
            "box_acc_30": 3 / 4,
            "box_acc_50": 2 / 4,
            "box_acc_70": 1 / 4,
            "max_box_acc": 2 / 4,
            "max_box_acc_v2": (3 + 2 + 1) / 4 / 3,
        }

    def test_each_overlap_has_its_own_threshold_in_v2(self):
        # image 0 is right (IoU 1) at 0.25 only and image 1 at 0.75 only; both overlap by 0.3 at 0.25
        #   image 0: rectangle 0..4 of value 0.5, one pixel of value 1
        #   image 1: rectangle 0..4 of value 1, within columns 0..9, rows 0..4 of value 0.5
        first, second = square_map(0, 0, 4, 4, inside=0.5), square_map(0, 0, 9, 4, inside=0.5)
        first[2, 2] = 1
        second[:5, :5] = 1
        evaluator = evaluator_with([first, second], [np.array([[0, 0, 5, 5.0]])] * 2)
        # [0, 0, 10, 5] is 11 x 6 = 66, IoU 36 / 66 = 0.545; [2, 2, 3, 3] is 4 pixels, IoU 4 / 36
        low, high = evaluator.compute(0.25), evaluator.compute(0.75)
        assert [low[f"box_acc_{level}"] for level in (30, 50, 70)] == [1, 1, 1 / 2]
        assert [high[f"box_acc_{level}"] for level in (30, 50, 70)] == [1 / 2, 1 / 2, 1 / 2]
        assert low["max_box_acc"] == high["max_box_acc"] == 1
        assert low["max_box_acc_v2"] == high["max_box_acc_v2"] == (1 + 1 + 1 / 2) / 3

    def test_any_contour_counts_for_v2_under_wsolevaluation_only(self):
        localization_map = square_map(0, 0, 5, 5)
        localization_map[7:10, 7:10] = 1
        boxes = [np.array([[7, 7, 9, 9.0]])]
        wsol = evaluator_with([localization_map], boxes, "wsolevaluation").compute(None)
        sat = evaluator_with([localization_map], boxes, "sat").compute(None)
        assert (wsol["max_box_acc"], wsol["max_box_acc_v2"]) == (0, 1)
        assert (sat["max_box_acc"], sat["max_box_acc_v2"]) == (0, 0)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_the_predicted_classs_map_has_measures_of_its_own(self, protocol):
        # True class's maps: right in images 0 and 1, wrong in 2. Predicted class's: image 0, whose class is right, the
        # same; image 1 wrong; image 2 right at 0.25 alone, of a square of 0.5 and one pixel of 1.
        right, wrong = square_map(0, 0, 5, 5), square_map(8, 8, 9, 9)
        faint = square_map(0, 0, 5, 5, inside=0.5)
        faint[9, 9] = 1
        columns = {"top5": [[3, 1], [1, 3], [1, 3]], "labels": [3] * 3}
        boxes = [np.array([[0, 0, 5, 5.0]])] * 3
        plain = evaluator_with([right, right, wrong], boxes, protocol, **columns)
        both = evaluator_with(
            [right, right, wrong], boxes, protocol, **columns, predicted_class_maps=[right, wrong, faint]
        )
        own = {"gt_known_loc_predicted_class": 1 / 3, "max_box_acc_predicted_class": 2 / 3}
        assert both.compute(0.75) == plain.compute(0.75) | own
        assert both.compute(0.25) == plain.compute(0.25) | own | {"gt_known_loc_predicted_class": 2 / 3}
        assert both.compute(None) == plain.compute(None) | {"max_box_acc_predicted_class": 2 / 3}
        assert not own.keys() & plain.compute(0.75).keys()
        assert both.select_threshold() == plain.select_threshold()
        for record, expected in zip(both.records, plain.records, strict=True):
            np.testing.assert_array_equal(sweep_iou(record), sweep_iou(expected))
            np.testing.assert_array_equal(sweep_iou(record, best=True), sweep_iou(expected, best=True))

    def test_measures_of_the_predicted_class_need_it_of_all_images(self):
        boxes = [np.array([[0, 0, 5, 5.0]])]
        evaluator = evaluator_with([square_map(0, 0, 5, 5)], boxes)
        evaluator.update(
            ["other"],
            [square_map(0, 0, 5, 5)],
            boxes=boxes,
            sizes=[SIZE],
            predicted_class_maps=[square_map(0, 0, 5, 5)],
        )
        with pytest.raises(ValueError, match="1 of 2 images have no map of the predicted class"):
            evaluator.compute(0.5)

    def test_a_map_of_the_predicted_class_that_is_not_finite_is_named(self):
        with pytest.raises(ValueError, match="Image 'image-0'"):
            evaluator_with(
                [square_map(0, 0, 5, 5)], [np.array([[0, 0, 5, 5.0]])], predicted_class_maps=[np.full(SIZE, np.nan)]
            )

    def test_best_of_several_ground_truth_boxes(self):
        boxes = [np.array([[7, 7, 9, 9], [0, 0, 5, 5.0]])]
        assert evaluator_with([square_map(0, 0, 4, 4)], boxes).compute(0.5)["gt_known_loc"] == 1

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_masks(self, protocol):
        mask = np.zeros(SIZE, dtype=np.uint8)
        mask[:5, :5] = 1
        mask[9] = 255
        evaluator = LocalizationEvaluator(protocol, VIEW)
        evaluator.update(["perfect"], [square_map(0, 0, 4, 4)], sizes=[SIZE], masks=[mask])
        assert evaluator.compute(None) == {"pxap": 1, "piou": 1}

    def test_classes_alone(self):
        evaluator = LocalizationEvaluator()
        evaluator.update(["a", "b"], np.zeros((2, 14, 14)), top5=[[1], [2]], labels=[1, 1])
        with pytest.warns(UserWarning, match="2 of 2 maps are constant"):
            assert evaluator.compute(None) == {"top1_cls": 0.5, "top5_cls": 0.5}

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_inverted_by_the_crop(self, protocol):
        evaluator = LocalizationEvaluator(protocol, View())
        maps = np.random.default_rng(0).random((1, 14, 14), dtype=np.float32)
        evaluator.update(["corner"], maps, boxes=[np.array([[0, 0, 5, 5]])], sizes=[(300, 400)])
        assert evaluator.compute(None)["max_box_acc"] == 0

    def test_thresholds_of_wsolevaluation_are_all_there(self):
        maps = np.random.default_rng(0).random((1, 14, 14))
        evaluator = LocalizationEvaluator("wsolevaluation", View((224, 224), None))
        evaluator.update(["a"], maps, boxes=[np.array([[10, 10, 200, 200]])], sizes=[(224, 224)])
        record = evaluator.records[0]
        assert record["repeats"].sum() == len(sweep_iou(record)) == len(evaluator.thresholds) == 1000
        assert len(record["boxes"]) <= 256


class TestThreshold:
    def test_middle_of_the_longest_plateau(self):
        # the square is right up to its value 0.6, and again from nowhere: best at 0.1 ... 0.5
        localization_map = square_map(0, 0, 4, 4, inside=0.6)
        localization_map[9, 9] = 1
        boxes = [np.array([[0, 0, 5, 5.0]])]
        assert (
            evaluator_with([localization_map], boxes, thresholds=[0.1, 0.2, 0.3, 0.4, 0.5, 0.7]).select_threshold()
            == 0.3
        )
        assert (
            evaluator_with([localization_map], boxes, thresholds=[0.1, 0.2, 0.3, 0.4, 0.7, 0.8]).select_threshold()
            == 0.2
        )

    def test_selection_by_masks_takes_the_peak_of_the_pooled_iou(self):
        mask = np.zeros(SIZE, np.uint8)
        mask[:5, :5] = 1
        localization_map = square_map(0, 0, 6, 6, inside=0.4)
        localization_map[:5, :5] = 1
        evaluator = evaluator_with([localization_map], None, masks=[mask])
        assert evaluator.select_threshold() == 0.5
        assert evaluator.compute(None)["piou"] == 1

    def test_threshold_outside_the_sweep(self):
        evaluator = evaluator_with([square_map(0, 0, 4, 4)], [np.array([[0, 0, 5, 5]])])
        with pytest.raises(ValueError, match=r"threshold 0.4 is not in the sweep .* nearest is 0.5"):
            evaluator.compute(0.4)

    def test_published_thresholds_are_in_the_default_sweep(self):
        evaluator = LocalizationEvaluator("sat", VIEW)
        evaluator.update(["a"], [square_map(0, 0, 4, 4)], boxes=[np.array([[0, 0, 5, 5]])], sizes=[SIZE])
        assert all(evaluator.compute(threshold)["gt_known_loc"] == 1 for threshold in (0.3, 0.35, 0.4, 0.45, 0.15))

    @pytest.mark.parametrize("thresholds", [[], [0.5, 0.4], [0.1, 0.1], [-0.1, 0.5], [0.5, 1.5], [np.nan], 0.5])
    def test_bad_sweeps(self, thresholds):
        with pytest.raises(ValueError, match="ascending"):
            LocalizationEvaluator(thresholds=thresholds)


class TestRecords:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_two_processes_equal_one(self, protocol):
        rng = np.random.default_rng(0)
        count = 7
        columns = {
            "image_ids": [f"image-{index}" for index in range(count)],
            "localization_maps": rng.random((count, 14, 14)),
            "top5": rng.integers(0, 6, (count, 5)),
            "labels": rng.integers(0, 6, count),
            "boxes": [np.array([[5, 5, 80, 90.0], [40, 40, 60, 60]])] * count,
            "sizes": [(100, 100)] * count,
            "masks": [rng.choice([0, 1, 255], (100, 100)) for _ in range(count)],
        }

        def part(indices):
            evaluator = LocalizationEvaluator(protocol, View((56, 56), None), np.arange(0, 1, 0.1))
            evaluator.update(**{name: [column[index] for index in indices] for name, column in columns.items()})
            return evaluator

        whole, first, second = part(range(7)), part([0, 2, 4, 6]), part([1, 3, 5, 0])  # image 0 fills the last batch
        first.extend(pickle.loads(pickle.dumps(second.records)))
        assert len(first.records) == count
        threshold = whole.select_threshold()
        assert first.select_threshold() == threshold
        assert first.compute(threshold) == whole.compute(threshold)

    def test_repeated_image_counts_once(self):
        evaluator = evaluator_with([square_map(0, 0, 4, 4)], [np.array([[0, 0, 5, 5]])])
        evaluator.update(["image-0"], [square_map(8, 8, 9, 9)], boxes=[np.array([[0, 0, 5, 5]])], sizes=[SIZE])
        assert evaluator.compute(0.5)["gt_known_loc"] == 1

    def test_same_name_for_two_images(self):
        evaluator = evaluator_with([square_map(0, 0, 4, 4)], [np.array([[0, 0, 5, 5]])])
        with pytest.raises(ValueError, match="'image-0' came twice with different ground truth"):
            evaluator.update(["image-0"], [square_map(0, 0, 4, 4)], boxes=[np.array([[1, 1, 5, 5]])], sizes=[SIZE])

    @pytest.mark.parametrize("protocol, thresholds", [("wsolevaluation", [0.25, 0.5, 0.75]), ("sat", [0.5])])
    def test_records_of_other_settings(self, protocol, thresholds):
        records = evaluator_with([square_map(0, 0, 4, 4)], [np.array([[0, 0, 5, 5]])]).records
        with pytest.raises(ValueError, match="'image-0': the record has"):
            LocalizationEvaluator(protocol, VIEW, thresholds).extend(records)

    def test_a_record_is_small(self):
        maps = np.random.default_rng(0).random((1, 14, 14))
        for protocol, limit in (("sat", 1000), ("wsolevaluation", 4000)):
            evaluator = LocalizationEvaluator(protocol, View((224, 224), None))
            evaluator.update(["a"], maps, boxes=[np.array([[10, 10, 200, 200]])], sizes=[(224, 224)])
            assert len(pickle.dumps(evaluator.records[0])) < limit


class TestBadInput:
    def update(self, protocol="sat", **columns):
        row = {
            "localization_maps": square_map(0, 0, 4, 4),
            "boxes": np.array([[0, 0, 5, 5.0]]),
            "sizes": SIZE,
        } | columns
        evaluator = LocalizationEvaluator(protocol, VIEW, [0.5])
        row = {name: None if value is None else [value] for name, value in row.items()}
        evaluator.update(["bird"], **row)
        return evaluator

    @pytest.mark.parametrize("boxes", [np.zeros((0, 4)), []])
    def test_no_ground_truth(self, boxes):
        with pytest.raises(ValueError, match="'bird': it has no ground-truth box"):
            self.update(boxes=boxes)

    def test_mask_stands_in_for_boxes(self):
        assert set(self.update(boxes=[], masks=np.ones(SIZE)).compute(None)) == {"pxap", "piou"}

    @pytest.mark.parametrize(
        "boxes",
        [[[0, 0, np.nan, 5]], [[0, 0, 5, 5], [0, -np.inf, 5, 5]], [[0, None, 5, 5]], [[0, 0, 5]], [0, 0, 5, 5]],
    )
    def test_malformed_boxes(self, boxes):
        with pytest.raises(ValueError, match="'bird': its boxes"):
            self.update(boxes=boxes)

    def test_inverted_original_box(self):
        inverted = [[5, 5, 2, 2]]
        assert self.update("sat", boxes=inverted).compute(0.5)["gt_known_loc"] == 0
        with pytest.raises(ValueError, match=r"'bird': the ground-truth box .* is inverted"):
            self.update("wsolevaluation", boxes=inverted)

    def test_mask_of_another_shape(self):
        with pytest.raises(ValueError, match=r"'bird': the mask has shape \(4, 9\)"):
            self.update(masks=np.zeros((4, 9)))

    def test_mask_of_another_resolution(self):
        mask = np.zeros(SIZE)
        mask[: SIZE[0] // 2] = 1
        small, large = (self.update(masks=mask.repeat(n, 0).repeat(n, 1)).compute(None) for n in (1, 2))
        assert small == large

    def test_map_without_range_is_the_whole_view_under_sat(self):
        evaluator = self.update(localization_maps=np.full((14, 14), 0.3))
        assert evaluator.records[0]["boxes"].tolist() == [[0, 0, 10, 10]]
        with pytest.warns(UserWarning, match="1 of 1 maps are constant, image 'bird' first"):
            evaluator.compute(0.5)

    def test_map_without_range_is_one_pixel_under_wsolevaluation(self):
        evaluator = self.update("wsolevaluation", localization_maps=np.full((14, 14), 0.3))
        assert evaluator.records[0]["boxes"].tolist() == [[0, 0, 0, 0]]

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("where", [np.s_[3, 4], np.s_[:], np.s_[-1]])
    def test_map_that_is_not_finite(self, protocol, value, where):
        localization_map = square_map(0, 0, 4, 4)
        localization_map[where] = value
        bad = (~np.isfinite(localization_map)).sum()
        with pytest.raises(ValueError, match=f"'bird': the map has {bad} of 100 values that are NaN or infinite"):
            self.update(protocol, localization_maps=localization_map)

    def test_map_beyond_its_precision(self):
        localization_map = square_map(0, 0, 4, 4, inside=3e38, outside=-3e38)
        with pytest.raises(ValueError, match=r"'bird': the map spans .* more than float32 can tell apart"):
            self.update(localization_maps=localization_map)

    def test_record_of_an_earlier_version_whose_map_was_not_finite(self):
        (record,) = self.update().records
        with pytest.raises(ValueError, match="'bird': its map was not finite"):
            LocalizationEvaluator("sat", VIEW, [0.5]).extend([{**record, "map_problem": "not finite"}])

    @pytest.mark.parametrize("size", [(0, 10), (np.nan, 10), (10,), "ab"])
    def test_sizes_that_are_none(self, size):
        with pytest.raises(ValueError, match="'bird': its size is"):
            self.update(sizes=size)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_mask_that_is_not_finite(self, value):
        with pytest.raises(ValueError, match="'bird': the mask holds the values"):
            self.update(masks=np.full(SIZE, value))

    def test_nothing_to_evaluate(self):
        for call in (LocalizationEvaluator().select_threshold, lambda: LocalizationEvaluator().compute(0.5)):
            with pytest.raises(ValueError, match="no image to evaluate"):
                call()

    def test_threshold_without_boxes_and_masks(self):
        with pytest.raises(ValueError, match="No image has a ground-truth box"):
            self.update(boxes=None).select_threshold()

    def test_ground_truth_on_some_images_only(self):
        evaluator = self.update()
        evaluator.update(["b"], [square_map(0, 0, 4, 4)], sizes=[SIZE], masks=[np.ones(SIZE)])
        with pytest.raises(ValueError, match="1 of 2 images have no ground-truth boxes, image 'b' first"):
            evaluator.compute(0.5)

    @pytest.mark.parametrize(
        "columns, message",
        [({"sizes": None}, "without sizes"), ({"labels": 1}, "belong together"), ({"top5": [1]}, "belong together")],
    )
    def test_columns_that_belong_together(self, columns, message):
        with pytest.raises(ValueError, match=message):
            self.update(**columns)

    def test_lists_of_different_lengths(self):
        with pytest.raises(ValueError, match="localization_maps has 1 entries for 2 image_ids"):
            LocalizationEvaluator().update(["a", "b"], np.zeros((1, 14, 14)))
