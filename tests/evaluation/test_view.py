import numpy as np
import pytest

from modeling_sat.evaluation import View


def test_default_is_the_authors_crop():
    assert View().size == (224, 224)
    assert View().offset == (16, 16)


def test_whole_image():
    view = View(resize=(200, 300), crop=None)
    assert view.size == (200, 300)
    assert view.offset == (0, 0)


def test_sizes_are_height_then_width():
    view = View(resize=(100, 60), crop=(80, 30))
    assert view.offset == (10, 15)


def test_mask_is_cropped_in_the_centre():
    mask = np.zeros((4, 4), dtype=np.uint8)
    mask[1:3, 1:3] = [[1, 255], [0, 1]]
    assert View(resize=(4, 4), crop=(2, 2)).mask(mask).tolist() == [[1, 255], [0, 1]]


def test_mask_keeps_its_values_when_resized():
    mask = np.array([[0, 255], [1, 0]], dtype=np.uint8)
    expected = [[0, 0, 255, 255], [0, 0, 255, 255], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert View(resize=(4, 4), crop=None).mask(mask).tolist() == expected


@pytest.mark.parametrize("size", [224, (224,), (0, 224), (224.5, 224), ("a", 1)])
def test_bad_sizes_are_refused(size):
    with pytest.raises(ValueError, match=r"expected \(height, width\)"):
        View(resize=size, crop=None)


def test_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="larger than the resized image"):
        View(resize=(200, 200))
