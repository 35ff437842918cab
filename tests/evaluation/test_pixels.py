import numpy as np
import pytest

from modeling_sat.evaluation.pixels import check_mask, pixel_bin_edges, pixel_metrics, score_histograms


def metrics(view_map, mask, thresholds):
    return pixel_metrics(*score_histograms(np.asarray(view_map), np.asarray(mask), pixel_bin_edges(thresholds)))


def test_by_hand():
    # scores of object pixels 0.9, 0.2; of background pixels 0.6, 0.1
    #   threshold 0.8: TP 1 FP 0, P 1,   R 1/2, IoU 1/2
    #   threshold 0.5: TP 1 FP 1, P 1/2, R 1/2, IoU 1/3
    #   threshold 0:   TP 2 FP 2, P 1/2, R 1,   IoU 2/4
    # PxAP = 1 * 1/2 + 1/2 * 0 + 1/2 * 1/2 = 3/4
    result = metrics([[0.9, 0.2, 0.6, 0.1]], [[1, 1, 0, 0]], [0, 0.5, 0.8])
    assert result == {"pxap": 0.75, "piou": 0.5}


def test_ignored_pixels_do_not_count():
    with_ignore = metrics([[0.9, 0.2, 0.6, 0.1, 1, 0]], [[1, 1, 0, 0, 255, 255]], [0, 0.5, 0.8])
    assert with_ignore == {"pxap": 0.75, "piou": 0.5}


def test_perfect_map():
    mask = np.array([[0, 1, 1], [0, 0, 1]])
    assert metrics(mask.astype(float), mask, [0, 0.5]) == {"pxap": 1, "piou": 1}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_map_scores_the_share_of_object_pixels(value):
    mask = np.array([[1, 0, 0, 0, 255]])
    result = metrics(np.full((1, 5), value), mask, [0, 0.25, 0.75])
    assert result == {"pxap": 0.25, "piou": 0.25}


def test_no_pixel_is_lost_below_the_first_threshold():
    # threshold 0.5: TP 1 FP 0; all: TP 2 FP 2. PxAP = 1 * 1/2 + 1/2 * 1/2
    assert metrics([[0.9, 0.2, 0.3, 0.1]], [[1, 1, 0, 0]], [0.5])["pxap"] == 0.75


def test_a_score_on_an_edge_is_above_it():
    foreground, background = score_histograms(
        np.array([[0.5, 1.0, 0.0]]), np.array([[1, 1, 0]]), np.array([0, 0.5, 1])
    )
    assert foreground.tolist() == [0, 1, 1]
    assert background.tolist() == [1, 0, 0]


def test_histograms_equal_numpy():
    rng = np.random.default_rng(0)
    view_map, mask, edges = rng.random((50, 40)), rng.choice([0, 1, 255], (50, 40)), np.arange(0, 1.01, 0.1)
    for histogram, value in zip(score_histograms(view_map, mask, edges), (1, 0), strict=True):
        assert histogram.tolist() == np.histogram(view_map[mask == value], bins=[*edges, 2.0])[0].tolist()


def test_masks_without_object():
    with pytest.raises(ValueError, match="no mask has an object pixel"):
        metrics([[0.5, 0.5]], [[0, 255]], [0])


def test_mask_of_another_size():
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        check_mask(np.zeros((3, 3)), (4, 4))


def test_mask_with_other_values():
    with pytest.raises(ValueError, match=r"\[2, 128\]"):
        check_mask(np.array([[0, 1], [2, 128]]), (2, 2))


def test_boolean_mask():
    assert check_mask(np.array([[True, False]]), (1, 2)).tolist() == [[1, 0]]
