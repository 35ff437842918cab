import numpy as np
import pytest
from PIL import Image

from modeling_sat.image_conversion_sat import to_upright_rgb


def pixel(image: Image.Image) -> tuple[int, int, int]:
    converted = to_upright_rgb(image)
    assert converted.mode == "RGB"
    return converted.getpixel((0, 0))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "PA", "RGBA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_of_the_same_size(mode):
    image = to_upright_rgb(Image.new(mode, (3, 2)))
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    assert np.asarray(to_upright_rgb(Image.fromarray(values)))[0, :, 0].tolist() == [0, 1, 100, 255]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 1, 255], np.int32, [0, 1, 255]),
        ([0, 257, 65535], np.int32, [0, 1, 255]),
        ([-100, -60, 100], np.int32, [0, 51, 255]),
        ([0, 0.2, 1], np.float32, [0, 51, 255]),
        ([0, 51, 200], np.float32, [0, 51, 200]),
        ([0, 257, 60000], np.float32, [0, 1, 233]),
        ([-1, -0.2, 3], np.float32, [0, 51, 255]),
        ([np.nan, 0.2, 1], np.float32, [0, 51, 255]),
        ([7e5, 7e5, 7e5], np.float32, [0, 0, 0]),
    ],
)
def test_wide_grey_is_scaled_by_the_first_range_that_holds_it(values, dtype, expected):
    grey = np.asarray(to_upright_rgb(Image.fromarray(np.array([values], dtype=dtype))))[0, :, 0].tolist()
    assert grey == expected


def test_transparency_is_composited_on_white():
    assert pixel(Image.new("RGBA", (1, 1), (255, 0, 0, 0))) == (255, 255, 255)
    assert pixel(Image.new("RGBA", (1, 1), (0, 0, 0, 51))) == (204, 204, 204)  # 255 · (1 − 51/255)
    assert pixel(Image.new("LA", (1, 1), (0, 0))) == (255, 255, 255)


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    converted = to_upright_rgb(Image.open(tmp_path / "palette.png"))
    assert [converted.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (2, 1), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright: the left end comes on top
    image.save(tmp_path / "turned.png", exif=exif)
    upright = to_upright_rgb(Image.open(tmp_path / "turned.png"))
    assert upright.size == (1, 2)
    assert upright.getpixel((0, 0)) == (255, 255, 255)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:])
    assert pixel(Image.open(tmp_path / "animation.gif")) == (255, 0, 0)
