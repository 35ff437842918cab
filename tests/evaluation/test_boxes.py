import numpy as np
import pytest

from modeling_sat.evaluation.boxes import box_iou, contour_boxes, largest_component_boxes


class TestBoxIou:
    def test_by_hand(self):
        # sides with both ends: a is 10 x 10, b is 10 x 5; they share columns 5..9 and rows 0..4
        a, b = [[0, 0, 9, 9]], [[5, 0, 14, 4]]
        assert box_iou(a, b)[0, 0] == 25 / (100 + 50 - 25)

    def test_same_and_apart(self):
        boxes = [[0, 0, 3, 3], [5, 5, 6, 6]]
        assert box_iou(boxes, boxes).tolist() == [[1, 0], [0, 1]]

    def test_touching_boxes_share_their_last_pixel(self):
        # 4 x 4 and 4 x 4 with one common pixel
        assert box_iou([[0, 0, 3, 3]], [[3, 3, 6, 6]])[0, 0] == 1 / 31

    def test_zero_area_box_is_one_pixel(self):
        assert box_iou([[2, 2, 2, 2]], [[2, 2, 2, 2]])[0, 0] == 1

    @pytest.mark.parametrize("inverted", [[5, 0, 2, 9], [5, 5, 2, 2], [200, 0, -5, 50]])
    def test_inverted_box_never_overlaps(self, inverted):
        assert box_iou([[0, 0, 9, 9]], [inverted])[0, 0] == 0

    def test_union_of_zero(self):
        # 4 x 4 = 16 pixels, and (1 - 18 + 1) x 1 = -16 of the inverted box
        assert box_iou([[0, 0, 3, 3]], [[18, 0, 1, 0]])[0, 0] == 0


class TestLargestComponent:
    def test_most_pixels_win(self):
        view_map = np.zeros((6, 8), dtype=np.float32)
        view_map[0, 0:3] = 1  # 3 pixels
        view_map[3:5, 5:7] = 1  # 4 pixels
        assert largest_component_boxes(view_map, [0.5]).tolist() == [[5, 3, 7, 5]]

    def test_diagonal_neighbours_are_connected(self):
        view_map = np.eye(4, dtype=np.float32)
        assert largest_component_boxes(view_map, [0.5]).tolist() == [[0, 0, 4, 4]]

    def test_threshold_is_strict(self):
        view_map = np.full((2, 2), 0.4, dtype=np.float32)
        view_map[0, 0] = 0.5
        assert largest_component_boxes(view_map, [0.4]).tolist() == [[0, 0, 1, 1]]

    def test_nothing_left_is_the_whole_view(self):
        view_map = np.full((3, 5), 0.5, dtype=np.float32)
        assert largest_component_boxes(view_map, [0.4, 0.5]).tolist() == [[0, 0, 5, 3], [0, 0, 5, 3]]

    @pytest.mark.parametrize("first, second", [((0, 9), (1, 0)), ((0, 2), (0, 8)), ((4, 0), (5, 9))])
    def test_of_equals_the_first_in_reading_order(self, first, second):
        view_map = np.zeros((8, 12), dtype=np.float32)
        view_map[first] = view_map[second] = 1
        row, column = first
        assert largest_component_boxes(view_map, [0.5]).tolist() == [[column, row, column + 1, row + 1]]

    def test_component_inside_the_hole_of_another(self):
        view_map = np.zeros((9, 9), dtype=np.float32)
        view_map[[0, -1]] = view_map[:, [0, -1]] = 1  # a ring of 32 pixels
        view_map[2:7, 2:7] = 1  # 25 pixels
        view_map[0, 1:8] = 0  # the ring, now open, keeps 25; its corner (0, 0) is met first
        view_map[8, 4] = 0  # two parts of 12 pixels each
        assert largest_component_boxes(view_map, [0.5]).tolist() == [[2, 2, 7, 7]]

    def test_every_threshold_has_its_own_component(self):
        view_map = np.array([[0.9, 0.2, 0.5, 0.5]], dtype=np.float32)
        expected = [[0, 0, 4, 1], [2, 0, 4, 1], [0, 0, 1, 1]]
        assert largest_component_boxes(view_map, [0.1, 0.3, 0.6]).tolist() == expected


class TestContours:
    def test_box_ends_inside_the_view(self):
        gray = np.full((4, 6), 9, dtype=np.uint8)
        gray[0, 0] = 0
        boxes, _, largest = contour_boxes(gray, [0])
        assert boxes[largest].tolist() == [[0, 0, 5, 3]]  # (0, 0, 6, 4) clipped to (W - 1, H - 1)

    def test_no_contour(self):
        boxes, starts, largest = contour_boxes(np.zeros((4, 4), dtype=np.uint8), [0, 3])
        assert boxes.tolist() == [[0, 0, 0, 0]] * 2
        assert starts.tolist() == largest.tolist() == [0, 1]

    def test_a_hole_is_a_contour(self):
        gray = np.zeros((8, 8), dtype=np.uint8)
        gray[1:7, 1:7] = 1
        gray[3:5, 3:5] = 0
        boxes, _, largest = contour_boxes(gray, [0])
        # OpenCV traces a hole along the object pixels around it: columns and rows 2..5
        assert sorted(boxes.tolist()) == [[1, 1, 7, 7], [2, 2, 6, 6]]
        assert boxes[largest].tolist() == [[1, 1, 7, 7]]

    def test_largest_is_by_polygon_area_not_pixels(self):
        gray = np.zeros((10, 12), dtype=np.uint8)
        gray[0, 0:10] = 1  # 10 pixels, a line: its polygon has no area
        gray[5:8, 2:5] = 1  # 9 pixels, area 2 x 2
        boxes, _, largest = contour_boxes(gray, [0])
        assert len(boxes) == 2
        assert boxes[largest].tolist() == [[2, 5, 5, 8]]

    def test_levels_follow_each_other(self):
        gray = np.array([[5, 0, 3, 0], [0, 0, 0, 0]], dtype=np.uint8)
        boxes, starts, _ = contour_boxes(gray, [0, 3, 5])
        assert starts.tolist() == [0, 2, 3]  # two, one and no contour
        assert sorted(boxes[:2].tolist()) == [[0, 0, 1, 1], [2, 0, 3, 1]]
        assert boxes[2:].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
