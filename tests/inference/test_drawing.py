import numpy as np
import pytest
from PIL import Image

from modeling_sat.inference.drawing import GROUND_TRUTH, PREDICTED, READABLE_SIDE, contact_sheet, draw_localization


GREY = Image.new("RGB", (600, 400), (128, 128, 128))


def colours_near(picture: Image.Image, x: float, y: float, radius: int = 6) -> set[tuple[int, int, int]]:
    box = (round(x) - radius, round(y) - radius, round(x) + radius, round(y) + radius)
    return {colour for _, colour in picture.crop(box).getcolors()}


def test_boxes_are_green_and_ground_truth_is_red():
    picture = draw_localization(GREY, None, [[100, 100, 300, 200]], ground_truth_boxes=[[400, 50, 500, 350]])
    for x, y in [(100, 150), (300, 150), (200, 100), (200, 200)]:
        assert PREDICTED in colours_near(picture, x, y)
    for x, y in [(400, 150), (500, 150), (450, 50), (450, 350)]:
        assert GROUND_TRUTH in colours_near(picture, x, y)
    assert picture.getpixel((200, 150)) == (128, 128, 128)


def test_the_map_goes_from_blue_to_red():
    localization_map = np.zeros((4, 6), np.float32)
    localization_map[:, 3:] = 1
    picture = draw_localization(GREY, localization_map)
    background, foreground = picture.getpixel((20, 200)), picture.getpixel((580, 200))
    assert background[2] > background[0]
    assert foreground[0] > foreground[2]


def test_the_image_shows_through_and_is_not_changed():
    image = GREY.copy()
    image.paste((255, 255, 255), (0, 0, 300, 400))
    before = image.tobytes()
    picture = draw_localization(image, np.zeros((14, 14)), [[10, 10, 50, 50]], ["apple 0.93"])
    assert image.tobytes() == before
    assert sum(picture.getpixel((250, 300))) > sum(picture.getpixel((350, 300))) + 100


def test_opacity_goes_from_the_image_alone_to_the_map_alone():
    localization_map = np.ones((4, 6), np.float32)
    assert draw_localization(GREY, localization_map, opacity=0).tobytes() == GREY.tobytes()
    opaque = [draw_localization(image, localization_map, opacity=1) for image in (GREY, GREY.point(lambda _: 0))]
    assert opaque[0].tobytes() == opaque[1].tobytes() != GREY.tobytes()


def test_a_small_image_is_enlarged_with_its_boxes():
    picture = draw_localization(Image.new("L", (32, 16)), None, [[8, 4, 24, 12]])
    assert picture.size == (READABLE_SIDE, READABLE_SIDE // 2)
    assert PREDICTED in colours_near(picture, READABLE_SIDE / 4, READABLE_SIDE / 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (500, 3), (3, 500)])
def test_any_mode_and_shape_of_image(mode, size):
    box = [0, 0, *size]
    picture = draw_localization(Image.new(mode, size), np.ones((2, 2)), [box], ["x" * 200], [box])
    assert picture.mode == "RGB"


def test_the_label_stays_within_the_image():
    for box in ([0, 0, 600, 400], [550, 0, 600, 20], [590, 390, 600, 400]):
        with_text = np.asarray(draw_localization(GREY, None, [box], ["apple 0.93"]), int)
        without = np.asarray(draw_localization(GREY, None, [box]), int)
        # A strip of ten characters is wider than high, and all of it is there.
        changed = np.argwhere((with_text != without).any(axis=-1))
        height, width = np.ptp(changed, axis=0) + 1
        assert width > 4 * height


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="2 texts for 1 boxes"):
        draw_localization(GREY, None, [[0, 0, 5, 5]], ["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(1, 14, 14\)"):
        draw_localization(GREY, np.zeros((1, 14, 14)))


def test_contact_sheet_has_every_image_in_reading_order():
    images = [Image.new("RGB", (40, 40), (50 * index, 0, 0)) for index in range(5)]
    sheet = contact_sheet(images, columns=2, cell_size=100)
    step = (sheet.width - 2) // 2
    centres = [sheet.getpixel((step * (index % 2) + step // 2, step * (index // 2) + step // 2)) for index in range(5)]
    assert centres == [(50 * index, 0, 0) for index in range(5)]


def test_contact_sheet_with_captions_is_higher():
    images = [GREY, GREY.resize((10, 300)), GREY.convert("L")]
    plain, captioned = contact_sheet(images, 3), contact_sheet(images, 3, ["a", "b" * 300, "ç"])
    assert captioned.width == plain.width
    assert captioned.height > plain.height


def test_contact_sheet_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="0 images in 2 columns"):
        contact_sheet([], 2)
    with pytest.raises(ValueError, match="1 images but 2 captions"):
        contact_sheet([GREY], 2, ["a", "b"])
