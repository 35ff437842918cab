"""What every method shares: outputs, a backbone, weights that are loaded, saved and initialised, and the patch head."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .attention_wsol import Readings
from .backbone_wsol import Tokens, blocks_of, build_backbone, check_size, family_of, initialised_later
from .configuration_wsol import SpatialLossesConfig, WSOLConfig, pair
from .image_processing_sat import SATImageProcessor
from .loading_wsol import StartsFromViT
from .losses_wsol import area_loss, normalization_loss, share_of_batch, sum_over_processes
from .multiscale_sat import min_max
from .pipeline_sat import WeaklySupervisedLocalizationPipeline


TASK = "weakly-supervised-object-localization"
_AUTO_CLASSES = ("AutoModel", "AutoModelForImageClassification", "AutoModelForObjectDetection")
_PUSH_ARGUMENTS = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")


@dataclass
class WSOLOutput(ModelOutput):
    """
    Boxes and masks come from `SATImageProcessor.post_process_localization`. A method gives those terms of the loss that
    it has.

    Args:
        loss: scalar, when `labels` are given; the terms beside it are unweighted. Of a part of a batch
            (`num_items_in_batch`): its share of it.
        classification_loss: scalar, cross-entropy.
        area_loss: scalar in [0, 1], Eq. 7 of SAT.
        normalization_loss: scalar in [0, 0.25], Eq. 8 of SAT.
        logits: (batch, num_labels), before the softmax.
        localization_map: (batch, h, w) float32 in [0, 1], 1 = foreground; h × w patches. Of a method whose maps are of
            a class, that of the predicted one.
        layer_localization_maps: (batch, num_spatial_layers, h, w), the maps whose mean SAT's map is.
        class_maps: (batch, num_labels, h, w) with `output_class_maps`.
        hidden_states: with `output_hidden_states`, the input of the first layer and the output of each.
        attentions: with `output_attentions`, each layer's (batch, heads, tokens, tokens) softmax, before any map.
    """

    loss: torch.FloatTensor | None = None
    classification_loss: torch.FloatTensor | None = None
    area_loss: torch.FloatTensor | None = None
    normalization_loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    localization_map: torch.FloatTensor | None = None
    layer_localization_maps: torch.FloatTensor | None = None
    class_maps: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class PatchClassifier(nn.Module):
    """The head of SAT, CAM and TS-CAM: class maps by a zero-padded 3×3 convolution of patch tokens, averaged into logits.

    Average and convolution are both linear, so the logits need no class maps: the mean of the zero-padded
    convolution is nine window sums of the tokens and one matrix product. Not a `Conv2d`, in whose place quantizers put
    a convolution of their own, which would take the tokens for an image.
    """

    def __init__(self, config: WSOLConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_labels, config.hidden_size, 3, 3))
        self.bias = nn.Parameter(torch.empty(config.num_labels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        # The authors of SAT leave the convolution at PyTorch's own initialization (`Model/SAT.py:66-73`).
        init.kaiming_uniform_(self.weight, a=5**0.5)
        bound = self.weight[0].numel() ** -0.5
        init.uniform_(self.bias, -bound, bound)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, h, w, hidden) -> logits (batch, num_labels)."""
        height, width = tokens.shape[1:3]
        # The kernel's first row meets all rows but the last, its second all, its third all but the first.
        total = tokens.sum(dim=1)
        windows = torch.stack([total - tokens[:, -1], total, total - tokens[:, 0]], dim=1)  # (batch, 3, w, hidden)
        total = windows.sum(dim=2)
        windows = torch.stack([total - windows[:, :, -1], total, total - windows[:, :, 0]], dim=2)
        means = windows.permute(0, 3, 1, 2).flatten(1) / (height * width)  # (batch, hidden · 3 · 3)
        return nn.functional.linear(means, self.weight.flatten(1), self.bias)

    def class_maps(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, h, w, hidden) -> (batch, num_labels, h, w)."""
        return nn.functional.conv2d(tokens.permute(0, 3, 1, 2), self.weight, self.bias, padding=1)


def normalized_map_of(class_maps: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Each image's map of one class, min-max normalized.

    Args:
        class_maps: (batch, num_labels, h, w).
        classes: (batch,) int64.

    Returns:
        (batch, h, w) float32 in [0, 1].
    """
    chosen = classes[:, None, None, None].expand(-1, 1, *class_maps.shape[2:])
    return min_max(class_maps.gather(1, chosen).squeeze(1).float())


class WSOLPreTrainedModel(StartsFromViT, PreTrainedModel):
    """The base of every method: `self.vit` is its backbone, `encode` runs it."""

    config: WSOLConfig
    config_class = WSOLConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _auto_class = "AutoModel"
    image_processor_class = SATImageProcessor
    """What prepares its images; its code is saved with the model's."""
    maps_are_of_a_class = False
    """Whether `class_maps` of a class say where that class is, rather than `localization_map` where any object is."""

    def __init__(self, config: WSOLConfig, *args, **kwargs):
        # What `from_pretrained(…, area_target=2.0)` sets, it sets after the config has checked itself.
        config.validate()
        super().__init__(config, *args, **kwargs)
        with initialised_later():
            self.vit = build_backbone(config)
        self.family = family_of(self.vit.config)
        self.first_patch = self.family.prefix + getattr(self.vit.config, "num_register_tokens", 0)
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(self.vit.forward).parameters
        self.extend_backbone()
        if next(self.vit.parameters()).device.type != "meta":
            self.initialize_weights()  # before there is a head, so that a seed gives both what it always gave

    def extend_backbone(self) -> None:
        """What the method adds to `self.vit` and reads of it."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.__name__.endswith("ForWeaklySupervisedLocalization"):
            # The stock pipelines check the class name against these tables and print all of them where it is missing.
            for names in (MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES):
                names[cls.config_class.model_type] = cls.__name__

    @property
    def blocks(self) -> nn.ModuleList:
        """The backbone's transformer blocks, each with `attention` and `mlp`."""
        return blocks_of(self.vit)

    @property
    def has_area_loss(self) -> bool:
        """Whether its loss has Eq. 7, for which `forward` takes the `batch_area` of an accumulated batch."""
        return getattr(self.config, "area_loss_weight", 0) > 0

    def encode(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool | None = False, **kwargs: Any
    ) -> Tokens:
        """Runs the backbone.

        Args:
            pixel_values: (batch, channels, height, width), normalized.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.

        Raises:
            ValueError: another size, or one that is not in whole patches.
        """
        size = pixel_values.shape[2:]
        if not torch.compiler.is_exporting():
            check_size(*size, self.config.patch_size, None if interpolate_pos_encoding else self.config.image_size)
        if self._interpolates:
            kwargs["interpolate_pos_encoding"] = True  # which leaves position embeddings of the right size alone
        for name in ("output_attentions", "output_hidden_states"):
            kwargs.setdefault(name, getattr(self.config, name))
        kwargs.pop("return_dict", None)
        grid = tuple(side // patch for side, patch in zip(size, pair(self.config.patch_size)))
        readings = Readings(grid)
        outputs = self.vit(pixel_values, readings=readings, **kwargs)
        return Tokens(
            outputs.last_hidden_state,
            grid,
            self.first_patch,
            readings.values,
            outputs.hidden_states,
            outputs.attentions,
            getattr(outputs, "branch", None),
        )

    def spatial_losses(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        localization_map: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
        batch_area: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """SAT's losses (Eq. 7-9) in float32, as fields of the output; for a configuration that has their settings.

        Args:
            localization_map: (batch, h, w) in [0, 1].
            num_items_in_batch, batch_area: as in SAT's forward.
        """
        config: SpatialLossesConfig = self.config
        check_labels(labels, config.num_labels)
        with maybe_autocast(logits.device.type, enabled=False):
            localization_map = localization_map.to(logits.device)
            # Evaluation has no gradient to make exact, and ranks that evaluate unevenly must not wait for each other.
            over_all_processes = self.training and config.area_reduction == "global"
            if over_all_processes and num_items_in_batch is not None and batch_area is None:
                # The share below weighs uneven batches already, so the area loss must not.
                totals = sum_over_processes(localization_map.detach().sum(), localization_map.numel())
                batch_area = totals[0] / totals[1]
            classification = nn.functional.cross_entropy(logits.float(), labels.to(logits.device))
            area = area_loss(localization_map, config.area_target, over_all_processes, batch_area)
            normalization = normalization_loss(localization_map, config.smoothing_kernel_size, config.smoothing_sigma)
            loss = classification + config.area_loss_weight * area + config.normalization_loss_weight * normalization
        return {
            "loss": loss * share_of_batch(labels, num_items_in_batch),
            "classification_loss": classification,
            "area_loss": area,
            "normalization_loss": normalization,
        }

    def add_branch_classifier(self) -> None:
        """Gives a second branch of the backbone, where it has one, a classifier for `with_branch`.

        Without these two a method classifies by the tokens alone.
        """
        size = getattr(self.vit.config, "branch_size", None)
        if size is not None:
            self.branch_classifier = nn.Linear(size, self.config.num_labels)

    def with_branch(self, logits: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """The logits of the tokens plus those of the backbone's second branch, where it has one.

        As TS-CAM and SCM do on Conformer (vasgaowei/TS-CAM, `lib/models/conformer.py:446-457`).
        """
        return logits if tokens.branch is None else logits + self.branch_classifier(tokens.branch)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, PatchClassifier):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    def save_pretrained(self, save_directory, *args, push_to_hub=False, **kwargs):
        """Saves weights, config and the code of all that they need, pipeline and processor included.

        Which code that is follows from where the class stands: transformers copies its file and what that imports.
        """
        hub = {name: kwargs.pop(name) for name in _PUSH_ARGUMENTS if name in kwargs}
        module, pipeline = type(self).__module__.rpartition(".")[2], WeaklySupervisedLocalizationPipeline
        self.config.auto_map = dict.fromkeys(_AUTO_CLASSES, f"{module}.{type(self).__name__}")
        implementation = f"{pipeline.__module__.rpartition('.')[2]}.{pipeline.__name__}"
        self.config.custom_pipelines = {TASK: {"impl": implementation, "pt": ["AutoModel"], "type": "image"}}
        # By the names of now: transformers would write a ViT's by those of its first checkpoints.
        super().save_pretrained(save_directory, *args, **{"save_original_format": False, **kwargs})
        if push_to_hub:  # only now is there everything to push
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), token=kwargs.get("token"), **hub)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None, **kwargs):
        """As transformers'; reentrant checkpointing cannot give what is read of the attention its gradient.

        Raises:
            ValueError: `use_reentrant` is true.
        """
        if (gradient_checkpointing_kwargs or {}).get("use_reentrant"):
            raise ValueError("use_reentrant is True, which loses gradients of the localization map; set it to False.")
        settings = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        super().gradient_checkpointing_enable(settings, **kwargs)


class ClassMapModel(WSOLPreTrainedModel):
    """The base of methods that learn by cross-entropy alone, and whose maps are those of the patch head's classes."""

    maps_are_of_a_class = True

    def __init__(self, config: WSOLConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        self.add_branch_classifier()
        self.post_init()

    def classified_maps(self, semantic_maps: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """What the method makes of the head's class maps (batch, num_labels, h, w) before their means are the logits."""
        return semantic_maps

    def maps_of_classes(self, semantic_maps: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """What the method makes of the head's class maps (batch, num_labels, h, w), which carry no gradient here."""
        return semantic_maps

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> WSOLOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return the maps of all classes as well.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, as in SAT's forward.

        Returns:
            `localization_map` (batch, h, w) in [0, 1]: the predicted class's map, min-max normalized for each image.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        semantic_maps = self.patch_classifier.class_maps(tokens.patches)  # (batch, num_labels, h, w)
        logits = self.with_branch(self.classified_maps(semantic_maps, tokens).mean(dim=(2, 3)), tokens)
        class_maps = self.maps_of_classes(semantic_maps.detach(), tokens)
        return WSOLOutput(
            **classification_losses(logits, labels, num_items_in_batch),
            logits=logits,
            localization_map=normalized_map_of(class_maps, logits.argmax(dim=1)),
            class_maps=class_maps if output_class_maps else None,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


def classification_losses(
    logits: torch.Tensor, labels: torch.Tensor | None, num_items_in_batch: torch.Tensor | int | None = None
) -> dict[str, torch.Tensor]:
    """The losses of a method that learns by cross-entropy alone, as fields of its output; none without labels."""
    if labels is None:
        return {}
    check_labels(labels, logits.shape[1])
    loss = nn.functional.cross_entropy(logits.float(), labels.to(logits.device))
    return {"loss": loss * share_of_batch(labels, num_items_in_batch), "classification_loss": loss}


def check_labels(labels: torch.Tensor, num_labels: int) -> None:
    """
    Raises:
        ValueError: a label outside [0, num_labels). Labels on a GPU are not looked at, which would wait for it.
    """
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    wrong = labels[(labels < 0) | (labels >= num_labels)]
    if len(wrong):
        raise ValueError(
            f"Labels hold {wrong[0].item()}, but the model has {num_labels} classes, 0 to "
            f"{num_labels - 1}. Set num_labels to the number of classes of the data."
        )


# For `pipeline(task, model=…)` of a model that its own code has loaded.
if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
    PIPELINE_REGISTRY.register_pipeline(
        TASK, pipeline_class=WeaklySupervisedLocalizationPipeline, pt_model=AutoModel, type="image"
    )


__all__ = [
    "ClassMapModel",
    "PatchClassifier",
    "WSOLOutput",
    "WSOLPreTrainedModel",
    "check_labels",
    "classification_losses",
    "normalized_map_of",
]
