import pytest
import torch
from model_mixin import LABELS, TINY, images, tiny_model

from modeling_sat import SATImageProcessor
from modeling_sat.checkpoints.load import load_checkpoint
from modeling_sat.inference.evaluation_loop import default_map
from modeling_sat.methods import METHODS
from modeling_sat.models.modeling_cam import CAMForWeaklySupervisedLocalization


@pytest.fixture
def model():
    torch.manual_seed(0)
    fields = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
    return CAMForWeaklySupervisedLocalization(METHODS["cam"].config_class(**fields)).eval()


def test_the_map_is_that_of_the_predicted_class(model):
    outputs = model(images(), LABELS, output_class_maps=True)
    torch.testing.assert_close(outputs.class_maps.mean(dim=(2, 3)), outputs.logits)
    for localization_map, maps, logits in zip(outputs.localization_map, outputs.class_maps, outputs.logits):
        chosen = maps[logits.argmax()]
        expected = (chosen - chosen.min()) / (chosen.max() - chosen.min())
        torch.testing.assert_close(localization_map, expected)
    expected = torch.nn.functional.cross_entropy(outputs.logits, LABELS)
    torch.testing.assert_close(outputs.loss, expected)
    assert default_map(model) == "class" and default_map(tiny_model()) == "localization"


def test_starts_from_a_sat_checkpoint_and_is_found_again(model, tmp_path):
    sat = tiny_model()
    sat.save_pretrained(tmp_path / "sat")
    cam, loading = type(model).from_pretrained(tmp_path / "sat", output_loading_info=True)
    assert not loading["missing_keys"]
    assert loading["unexpected_keys"] == {"vit.embeddings.spatial_token", "vit.embeddings.spatial_position_embedding"}
    torch.testing.assert_close(cam.vit.layers[0].mlp.fc1.weight, sat.vit.layers[0].mlp.fc1.weight)

    cam.save_pretrained(tmp_path / "cam")
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "cam")
    again, processor = load_checkpoint(tmp_path / "cam")
    assert type(again) is type(model) and "area_target" not in again.config.to_dict()
    with torch.no_grad():
        outputs, expected = again(images()), cam.eval()(images())
    torch.testing.assert_close(outputs.localization_map, expected.localization_map)
    (result, *_) = processor.post_process_localization(outputs, target_sizes=[(40, 80)] * 3)
    assert result["boxes"].shape == (1, 4)


def test_another_resolution(model):
    outputs = model(images(2, 48, 64), interpolate_pos_encoding=True)
    assert outputs.localization_map.shape == (2, 6, 8)
