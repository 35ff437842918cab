import numpy as np
import pytest

from modeling_sat.evaluation import ConstantBoxes, LocalizationEvaluator, View


VIEW = View(resize=(100, 100), crop=None)


def records_with(boxes, protocol="sat"):
    evaluator = LocalizationEvaluator(protocol, VIEW, [0.5])
    evaluator.update(
        [str(index) for index in range(len(boxes))],
        np.random.default_rng(0).random((len(boxes), 14, 14)),
        boxes=[np.atleast_2d(box) for box in boxes],
        sizes=[(100, 100)] * len(boxes),
    )
    return evaluator.records


@pytest.mark.parametrize("protocol, corner", [("sat", 100), ("wsolevaluation", 99)])
def test_whole_image_as_the_protocol_writes_it(protocol, corner):
    assert ConstantBoxes(VIEW, protocol).whole_image == (0, 0, corner, corner)


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
def test_by_hand(protocol):
    # one object fills the image, two are 51 x 51 in the centre (IoU with the whole image 0.26), one is in a corner
    boxes = [[0, 0, 99, 99], [25, 25, 75, 75], [25, 25, 75, 75], [0, 0, 10, 10]]
    constant = ConstantBoxes(VIEW, protocol).fit(records_with(boxes, protocol))
    # a centred square of side s overlaps the first by s^2 / 100^2 and the others by 51^2 / s^2: both reach 0.5 near 71
    assert constant.score(records_with(boxes, protocol)) == {"whole_image": 1 / 4, "center": 3 / 4}


def test_height_and_width_are_searched_apart():
    constant = ConstantBoxes(VIEW).fit(records_with([[0, 45, 99, 54]] * 2))
    x_min, y_min, x_max, y_max = constant.center
    assert x_max - x_min > 5 * (y_max - y_min)
    assert constant.score(records_with([[0, 45, 99, 54]])) == {"whole_image": 0, "center": 1}


def test_fitted_on_one_split_and_scored_on_another():
    constant = ConstantBoxes(VIEW).fit(records_with([[40, 40, 60, 60]]))
    assert constant.score(records_with([[0, 0, 99, 99]])) == {"whole_image": 1, "center": 0}


def test_best_of_several_boxes():
    records = records_with([np.array([[0, 0, 3, 3], [0, 0, 99, 99]])])
    assert ConstantBoxes(VIEW).fit(records).score(records)["whole_image"] == 1


def test_score_before_fit():
    with pytest.raises(ValueError, match="call fit"):
        ConstantBoxes(VIEW).score(records_with([[0, 0, 99, 99]]))


def test_no_images():
    with pytest.raises(ValueError, match="no image"):
        ConstantBoxes(VIEW).fit([])


def test_image_without_boxes():
    evaluator = LocalizationEvaluator("sat", VIEW, [0.5])
    evaluator.update(["bird"], np.ones((1, 14, 14)), sizes=[(100, 100)], masks=[np.ones((100, 100))])
    with pytest.raises(ValueError, match="'bird' has no ground-truth box"):
        ConstantBoxes(VIEW).fit(evaluator.records)
