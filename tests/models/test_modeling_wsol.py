"""What every method shares: the head on patch tokens."""

import pytest
import torch
from model_mixin import assert_same, images, tiny_config, tiny_model

from modeling_sat import SATConfig
from modeling_sat.models.modeling_wsol import PatchClassifier


class TestPatchClassifier:
    def test_two_by_two_by_hand(self):
        # Tokens 1 2 / 3 4 and weights 1…9. Each weight meets the tokens that its shift leaves in the image:
        #   top-left     1·1, top    2·(1+2),     top-right    3·2,
        #   left     4·(1+3), centre 5·(1+2+3+4), right    6·(2+4),
        #   bottom-left  7·3, bottom 8·(3+4),     bottom-right 9·4     -> 228, over 4 patches 57, bias 0.5.
        head = PatchClassifier(SATConfig(hidden_size=1, num_attention_heads=1, num_labels=1))
        with torch.no_grad():
            head.weight[:] = torch.arange(1.0, 10).view(1, 1, 3, 3)
            head.bias[:] = 0.5
            logits = head(torch.tensor([[1.0, 2], [3, 4]])[None, :, :, None])
        assert logits.tolist() == [[57.5]]

    @pytest.mark.parametrize("grid", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 7), (14, 14)])
    def test_is_convolution_and_mean(self, grid):
        torch.manual_seed(0)
        head = PatchClassifier(tiny_config())
        tokens = torch.randn(3, *grid, 32)
        maps = torch.nn.functional.conv2d(tokens.permute(0, 3, 1, 2), head.weight, head.bias, padding=1)
        torch.testing.assert_close(head(tokens), maps.mean((2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(head.class_maps(tokens), maps)

    def test_class_maps_on_demand(self):
        model = tiny_model(image_size=(16, 40))
        outputs = model(images(3, 16, 40), output_class_maps=True)
        assert outputs.class_maps.shape == (3, 5, 2, 5)
        torch.testing.assert_close(outputs.class_maps.mean((2, 3)), outputs.logits, rtol=1e-5, atol=1e-5)

    def test_a_quantizer_that_replaces_layers_leaves_it_whole(self):
        # As quanto does: every linear layer and convolution gives way to one of the quantizer's own.
        model = tiny_model()
        inputs = images()
        with torch.no_grad():
            expected = model(inputs, output_class_maps=True)
            for module in list(model.modules()):
                for name, child in module.named_children():
                    if isinstance(child, torch.nn.Linear):
                        replaced = torch.nn.Linear(child.in_features, child.out_features, child.bias is not None)
                    elif isinstance(child, torch.nn.Conv2d):
                        replaced = torch.nn.Conv2d(
                            child.in_channels, child.out_channels, child.kernel_size, child.stride, child.padding
                        )
                    else:
                        continue
                    replaced.load_state_dict(child.state_dict())
                    setattr(module, name, replaced)
            assert_same(model(inputs, output_class_maps=True), expected, rtol=0, atol=0)
