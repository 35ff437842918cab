"""LCTR against its formulas, written once more on what transformers' own backbone returns."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_mixin import TINY, images
from transformers import DeiTConfig, Dinov2WithRegistersConfig, DINOv3ViTConfig

from modeling_sat.methods import METHODS
from modeling_sat.models.modeling_lctr import CueRouting, ExpertClassifier, relational_row


FIELDS = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
_SHAPE = {name: value for name, value in FIELDS.items() if name != "num_labels"}
BACKBONES = {
    "vit": (1, FIELDS),
    "deit": (2, {"backbone_config": DeiTConfig(**_SHAPE), "num_labels": 5}),
    "dinov2_with_registers": (5, {"backbone_config": Dinov2WithRegistersConfig(**_SHAPE), "num_labels": 5}),
    "dinov3_vit": (4, {"backbone_config": DINOv3ViTConfig(**_SHAPE, num_register_tokens=3), "num_labels": 5}),
}


def config_of(**fields):
    return METHODS["lctr"].config_class(**{**FIELDS, **fields})


def spread(module: torch.nn.Module, std: float = 0.3) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return module


def by_hand(model, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """The class maps (classes, h, w) of one image with a kernel of its own, as the authors make them."""
    head, routing = model.patch_classifier, model.cue_routing
    tokens = tokens.permute(2, 0, 1)[None]  # (1, hidden, h, w)
    cues = routing.convolution(tokens * (1 - seen)).flatten(2)
    shares = torch.sigmoid(routing.average(cues.mean(2)) + routing.maximum(cues.max(2).values))[0]
    kernel = sum(share * head.weight[:, expert] for expert, share in enumerate(shares))
    return torch.nn.functional.conv2d(tokens, kernel, head.bias, padding=1)[0]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=str)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_logits_and_class_maps(backbone, size, attention):
    prefix, fields = BACKBONES[backbone]
    height, width = (side // 8 for side in size)
    model = spread(
        METHODS["lctr"].model_class._from_config(METHODS["lctr"].config_class(**fields), attn_implementation=attention)
    )
    plain = type(model.vit)._from_config(model.vit.config, attn_implementation="eager").eval()
    plain.load_state_dict(model.vit.state_dict(), strict=False)  # without a pooler
    plain.embeddings = model.vit.embeddings  # which resizes position embeddings in its own way
    with torch.no_grad():
        outputs = model.eval()(images(3, *size), output_class_maps=True, interpolate_pos_encoding=True)
        any_size = {"interpolate_pos_encoding": True} if backbone in ("vit", "deit") else {}
        expected = plain(images(3, *size), output_attentions=True, **any_size)
        attentions = torch.stack([layer.mean(dim=1) for layer in expected.attentions], dim=1)  # (3, layers, n, n)
        for index, logits in enumerate(outputs.logits):
            tokens = expected.last_hidden_state[index, prefix:].reshape(height, width, 32)
            seen = attentions[index, :, 0, prefix:].mean(dim=0).reshape(height, width)
            maps = by_hand(model, tokens, seen)
            averaged = torch.nn.functional.avg_pool2d(maps, 3, stride=1, padding=1)
            torch.testing.assert_close(logits, averaged.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)

            twice = torch.stack([(layer @ layer)[0, prefix:] for layer in attentions[index]])
            relational = twice.mean(dim=0).reshape(height, width)
            torch.testing.assert_close(outputs.class_maps[index], maps.relu() * relational, rtol=1e-4, atol=1e-6)
            chosen = (maps.relu() * relational)[logits.argmax()]
            chosen = (chosen - chosen.min()) / (chosen.max() - chosen.min()).clamp(min=1e-5)
            torch.testing.assert_close(outputs.localization_map[index], chosen, rtol=1e-4, atol=1e-4)
    # Even attention would hide a wrong one.
    assert attentions.std(dim=-1).mean() > 0.2 * attentions.mean()


def test_two_steps_of_attention_by_arithmetic():
    # One head, scores 0 and log 3: Ā[cls] = (1/4, 3/4), the other token's row (1/2, 1/2). Two steps from the class token:
    # 1/4 · (1/4, 3/4) + 3/4 · (1/2, 1/2) = (7/16, 9/16).
    query = torch.tensor([[[[1.0], [0.0]]]])
    key = torch.tensor([[[[1.0], [3.0]]]]).log()
    reading, value = relational_row(query, key, key, 1.0)
    torch.testing.assert_close(reading, torch.tensor([[[1 / 4, 7 / 16], [3 / 4, 9 / 16]]]))
    assert value is key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rows_of_attention_are_float32_and_sum_to_one(dtype):
    query, key = torch.randn(2, 2, 3, 50, 8, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        reading, _ = relational_row(query, key, key, 8**-0.5)
    assert reading.dtype == torch.float32
    torch.testing.assert_close(reading.sum(dim=1), torch.ones(2, 2))
    assert torch.autograd.grad(reading[..., 0].std(), query, retain_graph=True)[0].abs().max() > 0
    assert torch.autograd.grad(reading[..., 1].std(), query, allow_unused=True)[0].abs().max() == 0


@pytest.mark.parametrize("grid", [(4, 4), (1, 1), (1, 5), (2, 3)], ids=str)
@pytest.mark.parametrize("num_experts", [1, 4])
def test_the_short_ways_of_the_head(grid, num_experts):
    head = spread(ExpertClassifier(config_of(num_experts=num_experts)))
    tokens, routing = torch.randn(3, *grid, 32), torch.rand(3, num_experts)
    with torch.no_grad():
        maps = head.class_maps(tokens, routing)
        averaged = torch.nn.functional.avg_pool2d(maps, 3, stride=1, padding=1)
        torch.testing.assert_close(head(tokens, routing), averaged.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
        classes = torch.tensor([3, 0, 3])
        expected = maps[torch.arange(3), classes]
        torch.testing.assert_close(head.map_of(tokens, routing, classes), expected, rtol=1e-4, atol=1e-5)


def test_routing_reads_where_the_class_token_does_not_look():
    routing = spread(CueRouting(config_of()))
    tokens, seen = torch.randn(1, 4, 4, 32), torch.zeros(1, 4, 4)
    seen[0, :, :2] = 1
    changed = tokens.clone()
    changed[0, :, :2] += 1
    with torch.no_grad():
        assert torch.equal(routing(tokens, seen), routing(changed, seen))
        assert not torch.allclose(routing(tokens, 1 - seen), routing(changed, 1 - seen))


def test_a_class_that_is_found_nowhere_has_an_empty_map():
    model = spread(METHODS["lctr"].model_class(config_of())).eval()
    with torch.no_grad():
        model.patch_classifier.bias -= 1000
        outputs = model(images(), output_class_maps=True)
    assert (outputs.class_maps == 0).all() and (outputs.localization_map == 0).all()


def test_the_loss_reaches_the_attention_of_the_class_token_in_the_last_layer():
    model = spread(METHODS["lctr"].model_class(config_of(drop_path_rate=0.0)))
    model.blocks[-1].attention.v_proj.requires_grad_(False)
    model(images(), labels=torch.tensor([0, 4, 2])).classification_loss.backward()
    with_it = model.blocks[-1].attention.q_proj.weight.grad.clone()
    model.zero_grad()
    unread = model.cue_routing.forward
    model.cue_routing.forward = lambda tokens, seen: unread(tokens, seen.detach())
    model(images(), labels=torch.tensor([0, 4, 2])).classification_loss.backward()
    assert not torch.allclose(with_it, model.blocks[-1].attention.q_proj.weight.grad, rtol=1e-3)


def test_kernels_start_as_the_authors_do():
    model = METHODS["lctr"].model_class(config_of(num_labels=20))
    bound = (20 * 32 * 9) ** -0.5
    weight = model.patch_classifier.weight
    assert 0.99 * bound < weight.abs().max() <= bound
    assert model.cue_routing.convolution.weight.abs().max() <= (32 * 9) ** -0.5


def test_kernels_of_known_classes_are_kept(tmp_path):
    model = spread(METHODS["lctr"].model_class(config_of(id2label=dict(enumerate("abcde")))))
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="new"):
        other = type(model).from_pretrained(tmp_path, id2label=dict(enumerate("cxa")))
    for name in ("weight", "bias"):
        theirs, ours = getattr(model.patch_classifier, name), getattr(other.patch_classifier, name)
        assert torch.equal(ours[[0, 2]], theirs[[2, 0]]) and len(ours) == 3
    for name, weight in model.cue_routing.state_dict().items():
        assert torch.equal(other.cue_routing.state_dict()[name], weight)


def test_no_experts_are_refused():
    with pytest.raises(StrictDataclassError, match="num_experts is 0; choose a whole number, 1 or more"):
        config_of(num_experts=0)
