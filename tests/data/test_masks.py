from io import BytesIO

import numpy as np
import pytest
from benchmark_mixin import rectangle
from PIL import Image

from modeling_sat.data.masks import MaskFiles
from modeling_sat.models.localization_sat import same_shape


LEFT, RIGHT, MIDDLE = rectangle(0, 0, 8, 10), rectangle(12, 0, 20, 10), rectangle(6, 0, 14, 10)


@pytest.fixture
def save(tmp_path):
    def write(name, pixels):
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    return write


def mask_of(*instances, ignored=None, image_size=(20, 10)):
    image = Image.open(BytesIO(MaskFiles(instances, ignored)(image_size)))
    assert image.mode == "L"
    return np.asarray(image)


def test_union_of_instances_and_ignored_region_outside_it(save):
    files = [save("left.png", LEFT * 255), save("right.png", RIGHT * 255)]
    assert (mask_of(*files) == LEFT + RIGHT).all()
    expected = LEFT + RIGHT
    expected[:, 8:12] = 255  # of the columns 6 to 14, those that no instance has
    assert (mask_of(*files, ignored=save("middle.png", MIDDLE * 255)) == expected).all()


@pytest.mark.parametrize("value", [1, 2, 127, 255])
def test_any_value_above_0_counts(save, value):
    assert (mask_of(save("a.png", LEFT * value)) == LEFT).all()


def opaque(pixels, channels):
    stacked = np.repeat(pixels[..., None] * 255, channels, axis=-1)
    stacked[..., -1] = 255
    return stacked


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(LEFT.astype(bool), id="1 bit"),
        pytest.param(LEFT.astype(np.uint16) * 300, id="16 bits"),
        pytest.param(np.repeat(LEFT[..., None] * 255, 3, axis=-1), id="RGB"),
        pytest.param(opaque(LEFT, 2), id="LA"),
        pytest.param(opaque(LEFT, 4), id="RGBA"),
    ],
)
def test_modes(save, pixels):
    assert (mask_of(save("a.png", pixels)) == LEFT).all()


def test_palette(tmp_path):
    image = Image.fromarray(LEFT).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "a.png")
    assert (mask_of(tmp_path / "a.png") == LEFT).all()


def test_size_is_that_of_the_files(save):
    assert mask_of(save("a.png", LEFT), image_size=(200, 100)).shape == (10, 20)


def test_files_of_several_sizes(save):
    with pytest.raises(ValueError, match=r"b.png has 40×20 pixels, its image 20×10"):
        mask_of(save("a.png", LEFT), save("b.png", rectangle(0, 0, 8, 10, size=(40, 20))))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "a.png does not exist"), (b"", "cannot identify"), (b"no image", "cannot identify")],
)
def test_no_image(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises((OSError, ValueError), match=message):
        mask_of(tmp_path / "a.png")


def test_damaged_chunk(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    first, second, *others = (tmp_path / "a.png").read_bytes().split(b"IDAT")
    (tmp_path / "a.png").write_bytes(first + b"IDAT" + second + bytes(4) + b"IDAT".join(others))
    with pytest.raises((OSError, ValueError)):
        mask_of(tmp_path / "a.png", image_size=(400, 400))


@pytest.mark.parametrize(
    ("mask", "image", "same"),
    [
        ((20, 10), (20, 10), True),
        ((1024, 683), (512, 342), True),  # 341.5 rows, rounded up
        ((1024, 683), (512, 341), True),
        ((1600, 1200), (1024, 768), True),
        ((20, 10), (10, 20), False),
        ((400, 300), (400, 310), False),
        ((1000, 1000), (1000, 980), False),
    ],
)
def test_same_shape(mask, image, same):
    assert same_shape(mask, image) is same
    assert same_shape(image, mask) is same
