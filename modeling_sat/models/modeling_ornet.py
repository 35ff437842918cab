"""ORNet (Xie et al., ICCV 2021): a map that leaves of the image what a classifier needs.

Line references are to the authors' repository, Sierkinhane/ORNet @59e8ef5.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .configuration_wsol import WSOLConfig, check_choice
from .foreground_wsol import (
    FOREGROUND_LOSSES,
    ForegroundMapModel,
    ForegroundOutput,
    check_generator_layer,
    check_not_negative,
    through_the_map,
)
from .losses_wsol import share_of_batch
from .modeling_wsol import PatchClassifier, check_labels


RANKS = slice(3, 25)
"""Whose features the area loss keeps small: those of the 4th to the 25th most probable class (`models/loss.py:19`)."""


@strict
class ORNetConfig(WSOLConfig):
    r"""
    SAT's Table 7 has ORNet on a ViT, whose code was not released: "we replace the classification network with Deit-S".
    ORNet's generator reads the first features of a ResNet, and its classifier is a VGG that was trained before and is
    frozen. Here one ViT is both: its first pass, on the whole image, gives the logits and what the generator reads; its
    second, on the image times the map, judges the map.

    Args:
        generator_layer (`int`, *optional*):
            The layer whose attention has the generator, from 1. None: the third from last, the 10th of 12.
        evaluator (`str`, defaults to `"frozen"`):
            Whether the ViT learns from its pass on the masked image: `"frozen"`, the map alone does, as in ORNet's
            second stage (`models/model.py:108-113`), or `"trained"`, as in its first.
        map_area_weight (`float`, defaults to 0.02), entropy_weight (`float`, defaults to 1.5):
            Weights of ORNet's two losses on the map (`train_2nd_step.py`).
        erasing_rate (`float`, defaults to 0.5):
            How many of the images have a part round the map's peak erased in training (`models/erasing.py`).
    """

    model_type = "ornet"
    keys_to_ignore_at_inference = [*WSOLConfig.keys_to_ignore_at_inference, *FOREGROUND_LOSSES]
    generator_layer: int | None = None
    evaluator: str = "frozen"
    map_area_weight: float | int = 0.02
    entropy_weight: float | int = 1.5
    erasing_rate: float | int = 0.5

    def validate_generator(self):
        check_choice(self, "evaluator", ("frozen", "trained"))
        check_generator_layer(self)
        check_not_negative(self, "map_area_weight", "entropy_weight")
        if not 0 <= self.erasing_rate <= 1:
            raise ValueError(f"erasing_rate is {self.erasing_rate}; choose a probability in [0, 1].")


class MapClassifier(nn.Module):
    """Features of each class, and the map that they add up to.

    ORNet's are those of a U-Net with batch normalization and LeakyReLU, on a finer grid. Without that normalization the
    area loss on its features would have no lower bound, hence ReLU. Both weights have a row for each class.
    """

    def __init__(self, config: ORNetConfig):
        super().__init__()
        self.features = nn.Conv2d(config.hidden_size, config.num_labels, 3, padding=1)
        self.foreground = nn.Conv2d(1, config.num_labels, 3, padding=1, bias=False)

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, hidden, h, w) -> features (batch, num_labels, h, w), map (batch, h, w) in float32."""
        features = self.features(patches).relu()
        foreground = nn.functional.conv2d(features, self.foreground.weight.transpose(0, 1), padding=1)
        return features, foreground.squeeze(1).float().sigmoid()


class ORNetForWeaklySupervisedLocalization(ForegroundMapModel):
    """A ViT with one map for each image, whatever its class.

    The loss is CE(whole image) + CE(image times map) + 0.02 · area + 1.5 · entropy (`train_2nd_step.py:train`). In training
    the map that masks is 0.6 M + 0.2, a part of it erased; else it is M.
    """

    config: ORNetConfig
    config_class = ORNetConfig

    def __init__(self, config: ORNetConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        self.add_branch_classifier()
        self.post_init()

    def extend_backbone(self) -> None:
        super().extend_backbone()
        self.map_classifier = MapClassifier(self.config)

    def generate(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.map_classifier(patches)

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> ForegroundOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return the head's class maps as well.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, as in SAT's forward.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        features, foreground = (found.to(pixel_values.device) for found in tokens.readings[1])
        logits, losses = self.with_branch(self.patch_classifier(tokens.patches), tokens), {}
        if labels is not None:
            labels = labels.to(logits.device)
            masked, seen = self.judge(pixel_values, foreground, labels)
            losses = self.map_losses(logits, labels, masked, seen, features, foreground)
            losses["loss"] = losses["loss"] * share_of_batch(labels, num_items_in_batch)
        return ForegroundOutput(
            **losses,
            logits=logits,
            localization_map=foreground,
            class_maps=self.patch_classifier.class_maps(tokens.patches) if output_class_maps else None,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )

    def judge(
        self, pixel_values: torch.Tensor, foreground: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy (batch,) and logits (batch, num_labels) of the image times the map."""
        check_labels(labels, self.config.num_labels)

        def of_the_foreground(foreground: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mask = erased(foreground, self.config.erasing_rate) if self.training else foreground
            mask = nn.functional.interpolate(mask[:, None], size=pixel_values.shape[2:]).to(pixel_values.dtype)
            tokens = self.encode(
                pixel_values * mask, interpolate_pos_encoding=True, output_attentions=False, output_hidden_states=False
            )
            logits = self.with_branch(self.patch_classifier(tokens.patches), tokens)
            return nn.functional.cross_entropy(logits.float(), labels, reduction="none"), logits

        if self.config.evaluator == "trained":
            return of_the_foreground(foreground)
        return through_the_map(of_the_foreground, foreground)

    def map_losses(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        masked: torch.Tensor,
        seen: torch.Tensor,
        features: torch.Tensor,
        foreground: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """The losses as fields of the output; `masked` and `seen`: what `judge` returns."""
        check_labels(labels, self.config.num_labels)
        with maybe_autocast(labels.device.type, enabled=False):
            losses = {
                "classification_loss": nn.functional.cross_entropy(logits.float(), labels),
                "foreground_loss": masked.mean(),
                "entropy_loss": weighted_entropy(foreground),
                "foreground_area": foreground_area(foreground, seen, features.float()),
            }
            weights = (1, 1, self.config.entropy_weight, self.config.map_area_weight)
            loss = sum(weight * term for weight, term in zip(weights, losses.values()))
        return {"loss": loss, **losses}


def foreground_area(foreground: torch.Tensor, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The map's mean, and those of the features of classes that are probable but not the most so: `RANKS`.

    Args:
        foreground: (batch, h, w).
        logits: (batch, num_labels), of the masked image.
        features: (batch, num_labels, h, w).
    """
    others = logits.argsort(dim=1, descending=True)[:, RANKS]
    return foreground.mean() + features.mean(dim=(2, 3)).gather(1, others).sum(dim=1).mean()


def weighted_entropy(foreground: torch.Tensor) -> torch.Tensor:
    """The mean entropy of a map in [0, 1], each place weighted by a Gaussian of σ 0.1 round 0.5 (`models/loss.py:55`)."""
    epsilon = torch.finfo(torch.float32).eps
    entropy = -foreground * (foreground + epsilon).log() - (1 - foreground) * (1 - foreground + epsilon).log()
    return (entropy * torch.exp(-((foreground - 0.5) ** 2) / (2 * 0.1**2))).mean()


def erased(foreground: torch.Tensor, rate: float) -> torch.Tensor:
    """0.6 M + 0.2, of which a part round the peak is left out at random, the more of it the higher the map (`models/erasing.py`).

    The part is what lies above a threshold within a box round the peak, of up to half the extent of all that does. The
    authors' box has at least 4 of 56 places to each side of the peak; here it is 1, for grids of 14.

    Args:
        foreground: (batch, h, w) in [0, 1].
        rate: how many of the images have a part erased.
    """
    count, _, width = foreground.shape
    device = foreground.device
    soft = 0.6 * foreground + 0.2
    with torch.no_grad():
        lowest, highest = foreground.amin(dim=(1, 2), keepdim=True), foreground.amax(dim=(1, 2), keepdim=True)
        above = foreground > highest - (highest - lowest) * 0.5 * torch.rand((), device=device)
        peak = foreground.flatten(1).argmax(dim=1)
        part = above & (torch.rand(count, device=device) < rate)[:, None, None]
        for dim, centre in ((1, peak // width), (2, peak % width)):
            places = torch.arange(foreground.shape[dim], device=device)
            holds = above.any(dim=3 - dim)  # (batch, places)
            last, first = places.where(holds, -1).amax(dim=1), places.where(holds, len(places)).amin(dim=1)
            longest = (last - first) // 2
            reach = 1 + (torch.rand(count, device=device) * (longest - 1)).floor()
            near = ((places - centre[:, None]).abs() < reach[:, None]) & (longest > 1)[:, None]
            part = part & near.unsqueeze(3 - dim)
        kept = ~part | (torch.rand_like(soft) >= soft)
    return soft * kept


__all__ = ["ORNetConfig", "ORNetForWeaklySupervisedLocalization"]
