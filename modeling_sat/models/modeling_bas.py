"""BAS (Wu et al., CVPR 2022): a map for each class, which learns by leaving nothing of the class to the background.

Line references are to the authors' repository, wpy1999/BAS @54c395e.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .configuration_wsol import SpatialLossesConfig, check_choice
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
from .multiscale_sat import min_max


@strict
class BASConfig(SpatialLossesConfig):
    r"""
    SAT's Table 7 has BAS on a ViT, whose code was not released: "we insert the generator in the 10-th self-attention
    module". Here the generator reads what that attention receives, after the layer's norm, and masks just that; the
    layer's skip connection goes round it.

    Args:
        losses (`str`, defaults to `"bas"`):
            `"bas"`: BAS's own, with a map for each class, beside the classification; `"sat"`: those of SAT (BAS* of
            its Table 7), with one map, which masks what the attention receives, so that the logits come through it.
        generator_layer (`int`, *optional*):
            The layer whose attention has the generator, from 1. None: the third from last, the 10th of 12.
        num_map_classes (`int`, defaults to 1):
            With `losses="bas"`, over how many of the most probable classes the localization map is averaged; 0: over
            all. The authors: all 200 on CUB (`CUB/BAS_inference.py:28`), one on ImageNet.
        map_area_weight (`float`):
            Weight of the map's mean area in the loss of BAS, by default 1.2, as for a ResNet on CUB, and 2 for one on
            ImageNet; in that of ORNet 0.02.
        foreground_loss_weight (`float`, defaults to 0.5):
            With `losses="bas"`, of the cross-entropy of class maps times the map; 1 on ImageNet.
    """

    model_type = "bas"
    keys_to_ignore_at_inference = [*SpatialLossesConfig.keys_to_ignore_at_inference, *FOREGROUND_LOSSES]
    losses: str = "bas"
    generator_layer: int | None = None
    num_map_classes: int = 1
    map_area_weight: float | int = 1.2
    foreground_loss_weight: float | int = 0.5

    @property
    def maps_are_of_a_class(self) -> bool:
        return self.losses == "bas" and self.num_map_classes == 1

    def validate_generator(self):
        check_choice(self, "losses", ("bas", "sat"))
        check_generator_layer(self)
        check_not_negative(self, "num_map_classes", "map_area_weight", "foreground_loss_weight")
        if self.num_map_classes > self.num_labels:
            raise ValueError(
                f"num_map_classes is {self.num_map_classes}, but there are {self.num_labels} classes (num_labels); "
                "0 averages the maps of all."
            )


class BASForWeaklySupervisedLocalization(ForegroundMapModel):
    """A ViT with a map M_c for each class, σ of a 3×3 convolution, and the class maps S = relu(the patch head's).

    The loss of an image of class y is CE(mean S) + w · CE(mean S·M_y) + S_bg / S_y + α · mean M_y, where S_y is the mean of
    its class map, S_bg the same from features times 1 - M_y through weights that do not learn from it, and the ratio is
    0 where the background has more (`CUB/Model/resnet.py:89-161`, `CUB/train.py:95-100`). ReLU, since a ratio of
    activations needs them to be positive; with SAT's losses the head is SAT's own.
    """

    config: BASConfig
    config_class = BASConfig

    def __init__(self, config: BASConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        self.add_branch_classifier()
        self.post_init()

    def extend_backbone(self) -> None:
        super().extend_backbone()
        size = self.config.hidden_size
        if not self.masks_itself and hasattr(self.vit.config, "branch_size"):
            raise ValueError(
                "BAS with its own losses runs the blocks after its generator by themselves, and those of a Conformer need "
                "the convolutions beside them. Choose losses='sat' (BAS*), or another backbone."
            )
        if self.masks_itself:
            self.spatial_generator = nn.Conv2d(size, 1, 3, padding=1)
        else:
            self.map_classifier = nn.Conv2d(size, self.config.num_labels, 3, padding=1)

    @property
    def masks_itself(self) -> bool:
        return self.config.losses == "sat"

    @property
    def maps_are_of_a_class(self) -> bool:
        return self.config.maps_are_of_a_class

    @property
    def has_area_loss(self) -> bool:
        return self.masks_itself and super().has_area_loss

    def generate(self, patches: torch.Tensor) -> torch.Tensor:
        """Maps in float32: (batch, num_labels, h, w), or with SAT's losses (batch, h, w)."""
        if self.masks_itself:
            return self.spatial_generator(patches).squeeze(1).float().sigmoid()
        return self.map_classifier(patches).float().sigmoid()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        batch_area: torch.Tensor | None = None,
        **kwargs,
    ) -> ForegroundOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return `class_maps`, M_c of all classes; with SAT's losses, the head's.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch, batch_area: as in SAT's forward; the latter with SAT's losses alone.

        Returns:
            `localization_map` (batch, h, w) in [0, 1]: the mean map of the `num_map_classes` most probable classes, min-max
            normalized for each image; with SAT's losses, the one map as it is.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        entry, maps = tokens.readings
        maps, losses = maps.to(pixel_values.device), {}
        if self.masks_itself:
            logits, localization_map = self.with_branch(self.patch_classifier(tokens.patches), tokens), maps
            class_maps = self.patch_classifier.class_maps(tokens.patches) if output_class_maps else None
            if labels is not None:
                losses = self.spatial_losses(logits, labels, localization_map, num_items_in_batch, batch_area)
        else:
            activations = self.activations(tokens.patches)
            logits = activations.float().mean(dim=(2, 3)).to(activations.dtype)
            class_maps = maps if output_class_maps else None
            count = self.config.num_map_classes or self.config.num_labels
            chosen = logits.topk(count).indices[:, :, None, None].expand(-1, -1, *maps.shape[2:])
            localization_map = min_max(maps.detach().gather(1, chosen).mean(dim=1))
            if labels is not None:
                losses = self.background_losses(activations, maps, labels.to(logits.device), entry)
                losses["loss"] = losses["loss"] * share_of_batch(labels, num_items_in_batch)
        return ForegroundOutput(
            **losses,
            logits=logits,
            localization_map=localization_map,
            class_maps=class_maps,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )

    def activations(self, patches: torch.Tensor) -> torch.Tensor:
        """S (batch, num_labels, h, w) of patches (batch, h, w, hidden)."""
        return self.patch_classifier.class_maps(patches).relu()

    def background_losses(
        self, activations: torch.Tensor, maps: torch.Tensor, labels: torch.Tensor, entry: tuple
    ) -> dict[str, torch.Tensor]:
        """BAS's losses as fields of the output; `entry`: the arguments of the generator's layer."""
        check_labels(labels, self.config.num_labels)
        images = torch.arange(len(labels), device=labels.device)
        foreground = maps[images, labels]  # (batch, h, w)

        def of_the_background(foreground: torch.Tensor) -> tuple[torch.Tensor, None]:
            seen = self.activations(self.encode_masked(entry, 1 - foreground))
            return seen[images, labels].float().mean(dim=(1, 2)), None

        background, _ = through_the_map(of_the_background, foreground)
        with maybe_autocast(labels.device.type, enabled=False):
            activations = activations.float()
            classification = nn.functional.cross_entropy(activations.mean(dim=(2, 3)), labels)
            masked = (activations * foreground[:, None]).mean(dim=(2, 3))
            whole = activations[images, labels].mean(dim=(1, 2)).detach()
            losses = {
                "classification_loss": classification,
                "foreground_loss": nn.functional.cross_entropy(masked, labels),
                "background_loss": suppressed(background, whole).mean(),
                "foreground_area": foreground.mean(),
            }
            weights = (1, self.config.foreground_loss_weight, 1, self.config.map_area_weight)
            loss = sum(weight * term for weight, term in zip(weights, losses.values()))
        return {"loss": loss, **losses}


def suppressed(background: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """S_bg / S_y, and 0 where the background has as much as the whole image or more; (batch,) each."""
    return torch.where(background < whole, background / (whole + 1e-8), 0.0)


__all__ = ["BASConfig", "BASForWeaklySupervisedLocalization"]
