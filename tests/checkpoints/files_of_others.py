"""Checkpoints under the names of the authors of methods, and of timm, made of our own models."""

from pathlib import Path

import torch
from model_mixin import TINY, tiny_model
from transformers import (
    ViTConfig,
    ViTForImageClassification,
)


HEADS = {"num_attention_heads": 2}
SPATIAL = ["vit.embeddings.spatial_position_embedding", "vit.embeddings.spatial_token"]
PATCH_HEAD = ["patch_classifier.bias", "patch_classifier.weight"]
CLASS_HEAD = ["classifier.bias", "classifier.weight"]


def timm_names(model: torch.nn.Module, layers: int = 4) -> dict[str, torch.Tensor]:
    """The weights of a SAT or ViT model of ours or transformers' as timm, and the authors after it, name them."""
    ours = model.state_dict()
    names = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "vit.embeddings.patch_embeddings.projection.bias",
        "norm.weight": "vit.layernorm.weight",
        "norm.bias": "vit.layernorm.bias",
    }
    if "vit.embeddings.spatial_token" in ours:
        names |= {"loc_token": "vit.embeddings.spatial_token"}
        names |= {"loc_embed": "vit.embeddings.spatial_position_embedding"}
    for part in ("weight", "bias"):
        names[f"head.{part}"] = f"patch_classifier.{part}" if "patch_classifier.bias" in ours else f"classifier.{part}"
        for index in range(layers):
            block, layer = f"blocks.{index}", f"vit.layers.{index}"
            names |= {
                f"{block}.norm1.{part}": f"{layer}.layernorm_before.{part}",
                f"{block}.norm2.{part}": f"{layer}.layernorm_after.{part}",
                f"{block}.attn.proj.{part}": f"{layer}.attention.o_proj.{part}",
                f"{block}.mlp.fc1.{part}": f"{layer}.mlp.fc1.{part}",
                f"{block}.mlp.fc2.{part}": f"{layer}.mlp.fc2.{part}",
            }
    weights = {name: ours[our_name].clone() for name, our_name in names.items()}
    for index in range(layers):
        for part in ("weight", "bias"):
            qkv = [ours[f"vit.layers.{index}.attention.{letter}_proj.{part}"] for letter in "qkv"]
            weights[f"blocks.{index}.attn.qkv.{part}"] = torch.cat(qkv)
    return weights


def authors_file(path: Path, **content) -> Path:
    """As their training writes it, for four layers of which three are spatial, with their saved Gaussian."""
    weights = {**timm_names(tiny_model(num_spatial_layers=3)), "weight": torch.ones(1, 1, 3, 3)}
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}, **content}, path)
    return path


def vit(model_class=ViTForImageClassification, config_class=ViTConfig, **fields):
    torch.manual_seed(0)
    fields = {name: value for name, value in {**TINY, **fields}.items() if name != "num_spatial_layers"}
    model = model_class(config_class(**fields)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return model


def conformer_names(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a Conformer of 6 blocks as pengzhiliang/Conformer, and TS-CAM after it, name them."""
    once = {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.patch_embeddings.projection": "trans_patch_conv",
        "vit.stem.conv": "conv1",
        "vit.stem.norm": "bn1",
        "vit.layernorm": "trans_norm",
        "vit.first_convolution": "conv_1",
        "vit.layers.0": "trans_1",
        "branch_classifier": "conv_cls_head",
        "patch_classifier": "trans_cls_head",
        "classifier": "trans_cls_head",
    }
    once |= {f"vit.layers.{index}": f"conv_trans_{index + 1}.trans_block" for index in range(1, 6)}
    for index in range(5):
        parts = {"convolution": "cnn_block", "fusion": "fusion_block", "down": "squeeze_block", "up": "expand_block"}
        once |= {f"vit.units.{index}.{ours}": f"conv_trans_{index + 2}.{theirs}" for ours, theirs in parts.items()}
    of_layers = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.o_proj": "attn.proj"}
    of_units = {f"norm{index}": f"bn{index}" for index in (1, 2, 3)} | {"residual_norm": "residual_bn"}
    weights = {}
    for name, weight in model.state_dict().items():
        prefix = next(prefix for prefix in once if name == prefix or name.startswith(prefix + "."))
        rest = name.removeprefix(prefix)
        if "layers" in prefix:
            for ours, theirs in of_layers.items():
                rest = rest.replace(ours, theirs)
        elif prefix.endswith((".down", ".up")):
            rest = rest.replace("projection", "conv_project").replace("norm", "ln" if "down" in prefix else "bn")
        elif "units" in prefix or "first" in prefix:
            for ours, theirs in of_units.items():
                rest = rest.replace(f".{ours}.", f".{theirs}.")
        weights[once[prefix] + rest] = weight.clone()
    for name in [name for name in weights if ".q_proj." in name]:
        qkv = [weights.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        weights[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(qkv)
    return weights
