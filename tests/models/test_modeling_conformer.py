"""Conformer against its formula, written once more in plain functions, and what the methods make of its two branches."""

import copy
import re

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_mixin import BACKBONES, LABELS, config_of, images, model_of
from torch.nn import functional

from modeling_sat.methods import METHODS
from modeling_sat.models.configuration_conformer import VisionConformerConfig
from modeling_sat.models.modeling_conformer import (
    ConformerDown,
    ConformerUp,
    VisionConformerForImageClassification,
)
from modeling_sat.training.freezing import freeze


TINY = BACKBONES["vision_conformer"]


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """In eval mode, with random weights, also of norms, and random statistics."""
    torch.manual_seed(0)
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            fan = weight[0].numel() if weight.ndim > 1 else 1
            weight.normal_(std=fan**-0.5 if weight.ndim > 1 else 0.2)
            if "norm" in name and name.endswith("weight"):
                weight.add_(0.7)
            if name.endswith("running_var"):
                weight.abs_().add_(0.8)
    return model.eval()


@pytest.fixture(scope="module")
def classifier() -> VisionConformerForImageClassification:
    return randomised(VisionConformerForImageClassification(copy.deepcopy(TINY)))


def transcribed(weights: dict[str, torch.Tensor], pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens and the pooled features of a Conformer of 6 blocks, 2 heads and patches of 16, by the paper's Fig. 2."""

    def conv(features, name, **how):
        return functional.conv2d(features, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **how)

    def batch_norm(features, name, eps=1e-6):
        mean, var, weight, bias = (weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
        return (features - mean) / (var + eps).sqrt() * weight + bias

    def norm(tokens, name, eps=1e-6):
        centred = tokens - tokens.mean(-1, keepdim=True)
        spread = (centred**2).mean(-1, keepdim=True)
        return centred / (spread + eps).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(tokens, name):
        return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def residual_block(features, name, stride=1, added=0):
        inner = batch_norm(conv(features, f"{name}.conv1"), f"{name}.norm1").relu() + added
        inner = batch_norm(conv(inner, f"{name}.conv2", stride=stride, padding=1), f"{name}.norm2").relu()
        outer = batch_norm(conv(inner, f"{name}.conv3"), f"{name}.norm3")
        if f"{name}.residual_conv.weight" in weights:
            features = batch_norm(conv(features, f"{name}.residual_conv", stride=stride), f"{name}.residual_norm")
        return (outer + features).relu(), inner

    def block(tokens, name):
        normed = norm(tokens, f"{name}.layernorm_before")
        query, key, value = (
            linear(normed, f"{name}.attention.{part}_proj").unflatten(2, (2, 16)).transpose(1, 2) for part in "qkv"
        )
        attention = (query @ key.transpose(2, 3) / 4).softmax(-1)
        tokens = tokens + linear((attention @ value).transpose(1, 2).flatten(2), f"{name}.attention.o_proj")
        normed = norm(tokens, f"{name}.layernorm_after")
        return tokens + linear(functional.gelu(linear(normed, f"{name}.mlp.fc1")), f"{name}.mlp.fc2")

    features = batch_norm(conv(pixels, "stem.conv", stride=2, padding=3), "stem.norm", 1e-5).relu()
    features = functional.max_pool2d(features, 3, 2, 1)
    patches = conv(features, "embeddings.patch_embeddings.projection", stride=4)
    grid = patches.shape[2:]
    class_token = weights["embeddings.cls_token"].expand(len(pixels), 1, -1)
    tokens = block(torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1), "layers.0")
    features, _ = residual_block(features, "first_convolution")
    for index, (stride, coarser) in enumerate([(1, 4), (2, 2), (1, 2), (2, 1), (1, 1)]):
        unit = f"units.{index}"
        features, inner = residual_block(features, f"{unit}.convolution", stride)
        down = functional.avg_pool2d(conv(inner, f"{unit}.down.projection"), coarser).flatten(2).transpose(1, 2)
        down = functional.gelu(norm(down, f"{unit}.down.norm"))
        tokens = torch.cat([2 * tokens[:, :1], tokens[:, 1:] + down], dim=1)
        tokens = block(tokens, f"layers.{index + 1}")
        up = tokens[:, 1:].transpose(1, 2).unflatten(2, grid)
        up = batch_norm(conv(up, f"{unit}.up.projection"), f"{unit}.up.norm").relu()
        up = up.repeat_interleave(coarser, 2).repeat_interleave(coarser, 3)
        features, _ = residual_block(features, f"{unit}.fusion", 2 if index == 4 else 1, up)
    return norm(tokens, "layernorm", 1e-5), features.mean(dim=(2, 3))


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (16, 80)])
def test_both_branches_are_as_written(classifier, size):
    with torch.no_grad():
        outputs = classifier.vit(images(2, *size))
        tokens, branch = transcribed(classifier.vit.state_dict(), images(2, *size))
    torch.testing.assert_close(outputs.last_hidden_state, tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs.branch, branch, rtol=1e-4, atol=1e-4)
    assert branch.std() > 0.1 and tokens.std() > 0.1


def test_the_classifier_adds_its_branches_and_learns_by_the_mean_of_their_losses(classifier):
    with torch.no_grad():
        outputs = classifier(images(3, 64, 64), labels=LABELS % 2)
        tokens, branch = transcribed(classifier.vit.state_dict(), images(3, 64, 64))
        both = [classifier.branch_classifier(branch), classifier.classifier(tokens[:, 0])]
    torch.testing.assert_close(outputs.logits, both[0] + both[1], rtol=1e-4, atol=1e-4)
    loss = sum(functional.cross_entropy(logits, LABELS % 2) for logits in both) / 2
    torch.testing.assert_close(outputs.loss, loss, rtol=1e-4, atol=1e-4)


def test_conformer_small_is_as_large_as_published():
    with torch.device("meta"):
        sizes = [
            sum(weight.numel() for weight in VisionConformerForImageClassification(config).parameters())
            for config in (
                VisionConformerConfig(num_labels=1000, channel_ratio=1),
                VisionConformerConfig(num_labels=1000),
                VisionConformerConfig(num_labels=1000, channel_ratio=6, hidden_size=576, num_attention_heads=9, intermediate_size=2304),
            )
        ]  # fmt: skip
    assert [round(size / 1e6, 1) for size in sizes] == [23.5, 37.7, 83.3]  # README.md of the authors


class TestCoupling:
    def test_what_is_seen_at_a_place_is_added_to_its_patch_alone(self):
        down = randomised(ConformerDown(TINY, 4, stride=2))
        features, tokens = torch.zeros(1, 4, 4, 6), torch.randn(1, 1 + 6 + 1, 32)
        moved = features.clone()
        moved[0, :, 2:4, 4:6] = 1.0  # row 1 of 2, column 2 of 3
        changed = (down(moved, tokens) - down(features, tokens)).abs().sum(dim=2)[0]
        assert changed.nonzero().flatten().tolist() == [1 + 3 + 2]

    def test_tokens_that_are_no_patches_are_carried_on_alike(self):
        down = randomised(ConformerDown(TINY, 4, stride=1))
        tokens = torch.randn(1, 1 + 6 + 1, 32)
        found = down(torch.randn(1, 4, 2, 3), tokens)
        torch.testing.assert_close(found[:, [0, 7]], 2 * tokens[:, [0, 7]])

    def test_a_spatial_token_is_not_taken_for_a_patch(self):
        up = randomised(ConformerUp(TINY, 4))
        tokens = torch.randn(1, 1 + 6, 32)
        expected = up(tokens, (2, 3), (4, 6))
        with_token = torch.cat([tokens, 100 + torch.randn(1, 1, 32)], dim=1)
        torch.testing.assert_close(up(with_token, (2, 3), (4, 6)), expected, rtol=0, atol=0)
        other = tokens.clone()
        other[:, 1 + 3 + 2] += 1  # row 1, column 2
        changed = (up(other, (2, 3), (4, 6)) - expected).abs().sum(dim=1)[0]
        assert changed[:, :4].sum() == changed[:2].sum() == 0 and changed[2:, 4:].sum() > 0


class TestMethods:
    @pytest.mark.parametrize("method", METHODS)
    def test_logits_have_those_of_the_convolutions(self, method):
        model, inputs = model_of(method, "vision_conformer"), images(2, 64, 64)
        with torch.no_grad():
            before = model(inputs, output_class_maps=True)
            branch = model.branch_classifier(model.encode(inputs).branch)
            model.branch_classifier.weight.zero_()
            model.branch_classifier.bias.zero_()
            after = model(inputs, output_class_maps=True)
        assert branch.abs().max() > 0.1
        torch.testing.assert_close(before.logits, after.logits + branch, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(before.class_maps, after.class_maps, rtol=0, atol=0)

    def test_so_have_those_of_the_class_token(self):
        model = model_of("sat", "vision_conformer", classifier="class_token")
        with torch.no_grad():
            tokens = model.encode(images(2, 64, 64))
            expected = model.classifier(tokens.class_token) + model.branch_classifier(tokens.branch)
            torch.testing.assert_close(model(images(2, 64, 64)).logits, expected)

    @pytest.mark.parametrize("backbone", ["vit", "dinov2"])
    def test_another_backbone_has_no_such_branch(self, backbone):
        model = model_of("ts_cam", backbone)
        assert not hasattr(model, "branch_classifier") and model.encode(images()).branch is None

    @pytest.mark.parametrize("classes", [2, 5])
    def test_a_checkpoints_classifier_of_the_branch_stays_if_its_classes_do(self, classifier, classes, tmp_path):
        classifier.save_pretrained(tmp_path)
        model = METHODS["ts_cam"].model_class.from_pretrained(tmp_path, num_labels=classes)
        kept = model.branch_classifier.weight.shape == classifier.branch_classifier.weight.shape
        assert kept == (classes == 2)
        assert not kept or torch.equal(model.branch_classifier.weight, classifier.branch_classifier.weight)

    def test_named_classes_find_theirs(self, classifier, tmp_path):
        named = copy.deepcopy(classifier)
        named.config.id2label = {0: "wren", 1: "robin"}
        named.save_pretrained(tmp_path)
        with pytest.warns(UserWarning, match="1 of the 2 classes keep their weights .* new are 1: 'owl'"):
            model = METHODS["cam"].model_class.from_pretrained(tmp_path, id2label={0: "owl", 1: "wren"})
        assert torch.equal(model.branch_classifier.weight[1], classifier.branch_classifier.weight[0])
        assert not torch.equal(model.branch_classifier.weight[0], classifier.branch_classifier.weight[1])

    def test_blocks_that_would_have_to_stand_alone_are_refused(self):
        with pytest.raises(ValueError, match="blocks after its generator by themselves"):
            model_of("bas", "vision_conformer", losses="bas")

    def test_frozen_blocks_are_the_transformers(self):
        model = METHODS["sat"].model_class(config_of("sat", "vision_conformer"))
        freeze(model, "blocks")
        frozen = {name.split(".")[1] + name.split(".")[2] for name, weight in model.named_parameters() if not weight.requires_grad}  # fmt: skip
        assert frozen == {"layers0", "layers1", "layers2", "layers3"}  # of 6, of which 2 are spatial


def test_checkpointing_counts_an_image_once():
    model = METHODS["cam"].model_class(config_of("cam", "vision_conformer")).train()
    model.gradient_checkpointing_enable()
    model(images(3, 64, 64), labels=LABELS).loss.backward()
    counts = {name: count.item() for name, count in model.named_buffers() if name.endswith("num_batches_tracked")}
    assert len(counts) > 20 and set(counts.values()) == {1}


def test_an_input_that_is_not_in_whole_patches_is_refused(classifier):
    with pytest.raises(ValueError, match="60×64 pixels, which is not in whole patches of 16×16"):
        classifier(images(1, 60, 64))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 8}, "num_hidden_layers is 8; .* choose a multiple of 3"),
        ({"patch_size": 24}, "patch_size is 24; .* choose a multiple of 16"),
        ({"base_channels": 3, "channel_ratio": 1}, "product is a multiple of 4"),
    ],
)
def test_fields_out_of_range_get_a_sentence(fields, message):
    with pytest.raises(StrictDataclassError) as error:
        VisionConformerConfig(**fields)
    assert re.search(message, str(error.value.__cause__))
