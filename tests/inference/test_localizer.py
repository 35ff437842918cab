"""What the users of a checkpoint share; what they do with it is tested with each of them."""

import torch
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessorPil
from modeling_sat.inference.localizer import Localizer


def test_images_of_several_sizes_keep_their_order():
    processor = SATImageProcessorPil(size={"shortest_edge": 32}, do_center_crop=False)
    localizer = Localizer(tiny_model(), processor)
    noise = [Image.effect_noise(size, 80).convert("RGB") for size in ((32, 32), (32, 32), (64, 32), (32, 32))]
    prepared = [localizer.prepare(image) for image in noise]
    assert [tuple(image.shape[1:]) for image in prepared] == [(32, 32), (32, 32), (32, 64), (32, 32)]
    for outputs, image in zip(localizer.localize_each(prepared), prepared, strict=True):
        (expected,) = localizer.localize_each([image])
        for name in ("logits", "localization_map"):
            torch.testing.assert_close(outputs[name], expected[name])


def test_classes_of_one_name_are_told_apart():
    names = {0: "crane", 1: "crane", 2: "a", 3: "b", 4: "c"}
    localizer = Localizer(tiny_model(id2label=names), SATImageProcessorPil(size={"height": 32, "width": 32}))
    assert localizer.class_names == ["crane", "crane (1)", "a", "b", "c"]
