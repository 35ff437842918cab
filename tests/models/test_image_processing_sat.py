"""The processor: what the model sees, and boxes and masks in pixels of the original image, by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor
from transformers.utils import is_torchvision_available

from modeling_sat import SATImageProcessor, SATImageProcessorPil
from modeling_sat.models.image_processing_sat import prepare, view_settings
from modeling_sat.models.localization_sat import View


needs_torchvision = pytest.mark.skipif(not is_torchvision_available(), reason="torchvision is not installed")
BACKENDS = [SATImageProcessorPil, pytest.param(SATImageProcessor, marks=needs_torchvision)]


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def outputs(*maps, logits=((2.0, 0.0),)) -> SimpleNamespace:
    """Of a model with two classes."""
    return SimpleNamespace(localization_map=torch.tensor(maps), logits=torch.tensor(logits).repeat(len(maps), 1))


# 4×4 patches, an object of 2 columns and 1 row. On 4×4 pixels the map needs no resize, so boxes are whole numbers.
MAP = [[0.0, 0, 0, 0], [0, 0.9, 0.9, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
CLASS_SCORE = 1 / (1 + np.exp(-2))  # softmax of (2, 0): 0.8808


@pytest.fixture
def processor():
    return SATImageProcessorPil(size=square(4))


class TestPostProcessLocalization:
    def test_squashed_view(self, processor):
        # View 4×4 of an image 40 high and 80 wide: x by 20, y by 10. Box (1, 1, 3, 2) -> (20, 10, 60, 20).
        (result,) = processor.post_process_localization(outputs(MAP), target_sizes=[(40, 80)])
        assert result["boxes"].tolist() == [[20, 10, 60, 20]]
        assert result["boxes"].dtype == torch.float32
        assert result["labels"].tolist() == [0] and result["labels"].dtype == torch.int64
        assert result["scores"].tolist() == pytest.approx([CLASS_SCORE])
        assert set(result) == {"scores", "labels", "boxes"}

    def test_cropped_view(self):
        # Squashed to 8×8, centre 4×4 from (2, 2): box (1, 1, 3, 2) -> (3, 3, 5, 4) of 8×8; x by 10, y by 5.
        processor = SATImageProcessorPil(size=square(8), crop_size=square(4), do_center_crop=True)
        (result,) = processor.post_process_localization(outputs(MAP), target_sizes=[(40, 80)])
        assert result["boxes"].tolist() == [[30, 15, 50, 20]]

    def test_shortest_edge(self):
        # 40×80 to a shortest edge of 8 is 8×16; centre 4×4 from (2, 6). (1, 1, 3, 2) -> (7, 3, 9, 4); both by 5.
        processor = SATImageProcessorPil(size={"shortest_edge": 8}, crop_size=square(4), do_center_crop=True)
        assert processor.view((40, 80)) == View((8, 16), (4, 4))
        (result,) = processor.post_process_localization(outputs(MAP), target_sizes=[(40, 80)])
        assert result["boxes"].tolist() == [[35, 15, 45, 20]]
        with pytest.raises(ValueError, match="give target_sizes"):
            processor.post_process_localization(outputs(MAP))

    def test_no_resize(self):
        # 10×12, centre 4×4 from (3, 4): (1, 1, 3, 2) -> (5, 4, 7, 5).
        processor = SATImageProcessorPil(do_resize=False, crop_size=square(4), do_center_crop=True)
        (result,) = processor.post_process_localization(outputs(MAP), target_sizes=[(10, 12)])
        assert result["boxes"].tolist() == [[5, 4, 7, 5]]

    def test_masks_and_maps_over_the_original_image(self, processor):
        (result,) = processor.post_process_localization(
            outputs(MAP), target_sizes=[(40, 80)], return_masks=True, return_localization_maps=True
        )
        assert result["masks"].dtype == torch.bool and result["masks"].shape == (1, 40, 80)
        # Rows 10-20 and columns 20-60, as the box; but bilinear enlargement rounds the corners.
        mask = result["masks"][0].numpy()
        assert mask[10:20, 40].all() and mask[14, 21:59].all()
        assert mask.sum() == mask[10:20, 20:60].sum() and not mask[10, 20]
        localization_map = result["localization_map"]
        assert localization_map.shape == (40, 80) and localization_map.dtype == torch.float32
        # Row 15's centre, 15.5, is row 1.05 of the map (15.5 / 10 - 0.5): 0.95 of row 1 and 0.05 of row 2.
        assert localization_map[15, 40].item() == pytest.approx(0.95, abs=1e-4) and localization_map[35, 40] == 0

    def test_mask_is_empty_outside_the_crop(self):
        processor = SATImageProcessorPil(size=square(8), crop_size=square(4), do_center_crop=True)
        everywhere = np.linspace(0.9, 1.0, 16).reshape(4, 4).tolist()
        (result,) = processor.post_process_localization(
            outputs(everywhere), threshold=0.0, target_sizes=[(40, 80)], return_masks=True
        )
        # The crop is rows 10-30 and columns 20-60 of the image.
        ys, xs = result["masks"][0].numpy().nonzero()
        assert (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1) == (10, 30, 20, 60)

    def test_images_of_different_sizes_as_list_and_tensor(self, processor):
        sizes = [(4, 4), (40, 80)]
        for target_sizes in (sizes, torch.tensor(sizes)):
            results = processor.post_process_localization(outputs(MAP, MAP), target_sizes=target_sizes)
            assert [result["boxes"].tolist() for result in results] == [[[1, 1, 3, 2]], [[20, 10, 60, 20]]]

    def test_without_target_sizes_in_pixels_of_the_squashed_image(self, processor):
        (result,) = processor.post_process_localization(outputs(MAP))
        assert result["boxes"].tolist() == [[1, 1, 3, 2]]

    def test_wrong_number_of_target_sizes(self, processor):
        with pytest.raises(ValueError, match="2 images but 1 target_sizes"):
            processor.post_process_localization(outputs(MAP, MAP), target_sizes=[(4, 4)])

    def test_multiple_objects_share_class_and_score(self, processor):
        two = [[0.9, 0.9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.9]]
        (result,) = processor.post_process_localization(
            outputs(two), target_sizes=[(4, 4)], multiple_objects=True, return_masks=True
        )
        assert result["boxes"].tolist() == [[0, 0, 2, 1], [3, 3, 4, 4]]
        assert result["labels"].tolist() == [0, 0]
        assert result["scores"].tolist() == pytest.approx([CLASS_SCORE] * 2)
        assert result["masks"].sum(dim=(1, 2)).tolist() == [2, 1]

    def test_default_threshold_is_the_calibrated_one(self, processor):
        ramp = [[0.0, 0.25, 0.5, 1.0]] * 4
        processor.localization_threshold = 0.6
        assert processor.post_process_localization(outputs(ramp))[0]["boxes"].tolist() == [[3, 0, 4, 4]]
        assert processor.post_process_localization(outputs(ramp), 0.3)[0]["boxes"].tolist() == [[2, 0, 4, 4]]
        # 0 is a threshold, not the absence of one.
        assert processor.post_process_localization(outputs(ramp), 0.0)[0]["boxes"].tolist() == [[1, 0, 4, 4]]

    @pytest.mark.parametrize("threshold", [-0.1, 1.0, 40])
    def test_threshold_out_of_range(self, processor, threshold):
        with pytest.raises(ValueError, match=rf"threshold is {threshold}; choose one in \[0, 1\)"):
            processor.post_process_localization(outputs(MAP), threshold=threshold)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_outputs_that_are_not_finite_name_the_image(self, processor, value):
        good, bad = torch.rand(4, 4), torch.rand(4, 4)
        bad[1, 2] = value
        with pytest.raises(
            ValueError, match=r"Image 1: 1 of the 16 numbers of its localization map are NaN or infinite"
        ):
            processor.post_process_localization(outputs(good.tolist(), bad.tolist(), logits=((2.0, 0.0), (2.0, 0.0))))
        with pytest.raises(ValueError, match=r"Image 0: 1 of the 2 numbers of its logits are NaN or infinite"):
            processor.post_process_object_detection(outputs(good.tolist(), logits=((2.0, value),)))

    def test_half_precision_outputs_with_gradient(self, processor):
        given = outputs(MAP)
        given.logits = given.logits.to(torch.bfloat16).requires_grad_()
        (result,) = processor.post_process_localization(given, target_sizes=[(4, 4)])
        assert result["boxes"].tolist() == [[1, 1, 3, 2]] and not result["scores"].requires_grad


def test_post_process_object_detection_thresholds_the_class_score(processor):
    given = outputs(MAP, MAP)
    given.logits = torch.tensor([[2.0, 0.0], [0.0, 0.1]])  # 0.881 and 0.525
    first, second = processor.post_process_object_detection(given, threshold=0.6, target_sizes=[(40, 80)] * 2)
    assert first["boxes"].tolist() == [[20, 10, 60, 20]]
    assert second["boxes"].shape == (0, 4) and second["scores"].shape == second["labels"].shape == (0,)
    both = processor.post_process_object_detection(given, target_sizes=[(40, 80)] * 2)
    assert [len(result["boxes"]) for result in both] == [1, 1]


class TestView:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            (square(64), (64, 64)),
            ({"height": 32, "width": 64}, (32, 64)),
            ({"shortest_edge": 32}, (32, 48)),
            ({"shortest_edge": 32, "longest_edge": 40}, (27, 40)),
            ({"max_height": 50, "max_width": 60}, (40, 60)),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_is_the_size_that_the_model_sees(self, backend, size, expected):
        processor = backend(size=size)
        pixels = processor(Image.new("RGB", (150, 100)), return_tensors="pt")["pixel_values"]
        assert tuple(pixels.shape[2:]) == processor.view((100, 150)).size == expected

    def test_size_set_as_a_plain_dict(self, processor):
        processor.size = square(16)
        assert processor.view() == View((16, 16), None)


class TestPixels:
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_normalization_by_hand(self, backend):
        # 255, 0, 128 of 255, less the mean of ImageNet, over its deviation.
        pixels = backend(size=square(8))(Image.new("RGB", (20, 10), (255, 0, 128)), return_tensors="pt")
        expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
        assert pixels["pixel_values"].shape == (1, 3, 8, 8)
        torch.testing.assert_close(pixels["pixel_values"][0, :, 3, 3], torch.tensor(expected), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_center_crop_is_where_the_view_says(self, backend):
        # A white square on what the 4×4 crop of the 8×8 view covers, at rows and columns 2-6.
        image = Image.new("L", (8, 8))
        image.paste(255, (2, 2, 6, 6))
        processor = backend(size=square(8), crop_size=square(4), do_center_crop=True, do_normalize=False)
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (1, 3, 4, 4) and (pixels == 1).all()

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK", "I;16", "I", "F"])
    def test_every_mode(self, backend, mode):
        given = Image.new(mode, (12, 10))
        assert backend(size=square(8))(given, return_tensors="pt")["pixel_values"].shape == (1, 3, 8, 8)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_transparent_is_white(self, backend):
        processor = backend(size=square(8), do_normalize=False)
        pixels = processor(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), return_tensors="pt")["pixel_values"]
        assert (pixels == 1).all()

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_exif_orientation(self, backend):
        # Left half white, tagged "rotate 90° clockwise to view": the upright image is white at the top.
        image = Image.new("RGB", (16, 8))
        image.paste((255, 255, 255), (0, 0, 8, 8))
        image.getexif()[0x0112] = 6
        pixels = backend(size=square(8), do_normalize=False)(image, return_tensors="pt")["pixel_values"][0, 0]
        assert (pixels[:3] == 1).all() and (pixels[5:] == 0).all()

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_an_array_is_the_image_that_it_was_made_of(self, backend):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
        processor, rgb = backend(size=square(8)), np.asarray(image)
        expected = processor(image, return_tensors="pt")["pixel_values"]
        chw = torch.from_numpy(rgb.copy()).permute(2, 0, 1)
        for array in (rgb, rgb / 255, rgb.astype(np.uint16) * 257, chw, chw / 255, chw.float(), rgb[None]):
            for given in (array, [image, array]):
                pixels = processor(given, return_tensors="pt")["pixel_values"][-1:]
                torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)
        grey = np.asarray(image.convert("L"))
        expected = processor(image.convert("L"), return_tensors="pt")["pixel_values"]
        for array in (grey, grey[None], grey[..., None], grey / 255, [grey], (grey, image)):
            torch.testing.assert_close(processor(array, return_tensors="pt")["pixel_values"][:1], expected)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_what_the_user_has_scaled_stays_as_it_is(self, backend):
        scaled = np.full((8, 8, 3), 0.5, np.float32)
        pixels = backend(size=square(8))(scaled, do_rescale=False, return_tensors="pt")["pixel_values"]
        assert pixels[0, 0, 3, 3].item() == pytest.approx((0.5 - 0.485) / 0.229, abs=0.01)

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_where_the_channels_are_can_be_said(self, backend):
        white = np.zeros((3, 8, 3), np.uint8)
        white[0] = 255
        processor = backend(size={"height": 3, "width": 8}, do_normalize=False)
        pixels = processor(white, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        assert (pixels[0, :, 0] == 1).all() and (pixels[0, :, 2] == 0).all()

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize(
        "array", [np.full((8, 8, 3), np.nan), np.zeros((8, 8, 5)), np.zeros(8), np.eye(8) * 3 - 1]
    )
    def test_an_array_that_is_no_image(self, backend, array):
        with pytest.raises(ValueError, match=r"^The array"):
            backend(size=square(8))(array)

    @needs_torchvision
    def test_backends_agree(self):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
        pixels = [b(size=square(32))(noise, return_tensors="pt")["pixel_values"] for b in (SATImageProcessor, SATImageProcessorPil)]  # fmt: skip
        torch.testing.assert_close(pixels[0], pixels[1], rtol=0, atol=0.05)


class TestSaving:
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_a_path_is_read_like_the_image(self, backend, tmp_path):
        image = Image.new("RGBA", (20, 30), (200, 10, 10, 0))  # transparent: white, not the red behind it
        image.save(tmp_path / "image.png")
        processor = backend(size=square(8))
        expected = processor(image, return_tensors="pt")["pixel_values"]
        for given in (tmp_path / "image.png", str(tmp_path / "image.png")):
            torch.testing.assert_close(processor([given], return_tensors="pt")["pixel_values"], expected)
        with pytest.raises(ValueError, match=r"nothing\.png is not there"):
            processor(str(tmp_path / "nothing.png"))

    def test_threshold_and_view(self, tmp_path):
        given = SATImageProcessor(size=square(40), do_center_crop=True, crop_size=square(32), localization_threshold=0.15)  # fmt: skip
        given.save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert saved["localization_threshold"] == 0.15
        assert saved["image_processor_type"] == "SATImageProcessor"
        for loaded in (
            SATImageProcessor.from_pretrained(tmp_path),
            SATImageProcessorPil.from_pretrained(tmp_path),
            AutoImageProcessor.from_pretrained(tmp_path),
        ):
            assert loaded.localization_threshold == 0.15
            assert loaded.view() == View((40, 40), (32, 32))
        assert SATImageProcessor.from_pretrained(tmp_path, localization_threshold=0.7).localization_threshold == 0.7

    def test_saved_files_tell_where_the_code_is(self, tmp_path):
        SATImageProcessor().save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
        names = ["image_processing_sat.SATImageProcessorPil", "image_processing_sat.SATImageProcessor"]
        assert saved["auto_map"] == {"AutoImageProcessor": names}
        for name in ("image_processing_sat.py", "localization_sat.py", "image_conversion_sat.py"):
            assert (tmp_path / name).is_file()

    def test_threshold_set_after_loading_is_saved(self, tmp_path):
        processor = SATImageProcessor()
        processor.localization_threshold = 0.22
        processor.save_pretrained(tmp_path)
        assert SATImageProcessor.from_pretrained(tmp_path).localization_threshold == 0.22


@pytest.mark.parametrize("view", [View((40, 48), None), View((40, 48), (32, 24))])
def test_a_view_becomes_settings_and_these_the_view(view):
    settings = view_settings(SATImageProcessorPil(do_center_crop=view.crop is None), view=view)
    assert SATImageProcessorPil(**settings).view() == view
    pixel_values = prepare(SATImageProcessorPil(), Image.new("RGB", (90, 70)), "high", view)
    assert tuple(pixel_values.shape[2:]) == tuple(2 * side for side in view.size)
