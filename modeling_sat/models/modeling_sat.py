"""Spatial-Aware Token (SAT, ICCV 2023): what it adds to a ViT.

One token that asks where (`SATEmbeddings`), one attention rule that acts on its answer (`SpatialQueryAttention`,
Eq. 4-6), one head on patch tokens (`SATPatchClassifier`) and two spatial losses (`area_loss`, Eq. 7;
`normalization_loss`, Eq. 8). Line references are to the authors' repository, wpy1999/SAT @702290d.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
)
from transformers.models.vit.modeling_vit import (
    ViTAttention,
    ViTEmbeddings,
    ViTLayer,
    ViTPreTrainedModel,
    eager_attention_forward,
)
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.utils import ModelOutput, cached_file
from transformers.utils.generic import can_return_tuple, maybe_autocast, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_sat import CUSTOM_PIPELINES, SATConfig, pair
from .loading_wsol import StartsFromViT
from .pipeline_sat import WeaklySupervisedLocalizationPipeline


@dataclass
class SATModelOutput(ModelOutput):
    """
    Args:
        last_hidden_state: (batch, patches + 2, hidden) after the final norm; class token first, spatial token last.
        localization_map: (batch, h, w) float32 in [0, 1], 1 = foreground; h × w patches.
        layer_localization_maps: (batch, num_spatial_layers, h, w), the maps whose mean it is.
        hidden_states: with `output_hidden_states`, the input of the first layer and the output of each.
        attentions: with `output_attentions`, each layer's (batch, heads, tokens, tokens) softmax, before the map.
    """

    last_hidden_state: torch.FloatTensor | None = None
    localization_map: torch.FloatTensor | None = None
    layer_localization_maps: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class SATForWeaklySupervisedLocalizationOutput(ModelOutput):
    """
    Boxes and masks come from `SATImageProcessor.post_process_localization`.

    Args:
        loss: scalar, Eq. 9, when `labels` are given; the three terms are beside it, unweighted. Of a part of a batch
            (`num_items_in_batch`): its share of it.
        classification_loss: scalar, cross-entropy.
        area_loss: scalar in [0, 1], Eq. 7.
        normalization_loss: scalar in [0, 0.25], Eq. 8.
        logits: (batch, num_labels), before the softmax.
        localization_map: (batch, h, w) float32 in [0, 1], 1 = foreground; h × w patches.
        layer_localization_maps: (batch, num_spatial_layers, h, w), the maps whose mean it is.
        class_maps: (batch, num_labels, h, w) with `output_class_maps`; their mean over patches is `logits`.
        hidden_states, attentions: as in `SATModelOutput`.
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


class SATEmbeddings(ViTEmbeddings):
    """Class token, patches, and last the spatial token with a position embedding of its own (`Model/SAT.py:94-99`)."""

    def __init__(self, config: SATConfig):
        super().__init__(config)
        self.spatial_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.spatial_position_embedding = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.image_size, self.patch_size = pair(config.image_size), pair(config.patch_size)

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Position embeddings (1, patches + 1, hidden) for an input of `height` × `width` pixels, by bicubic resize."""
        exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()  # any size may come
        if not exporting and (height, width) == self.image_size:
            return self.position_embeddings
        class_position, patch_positions = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        grid = [size // patch for size, patch in zip(self.image_size, self.patch_size)]
        new_grid = height // self.patch_size[0], width // self.patch_size[1]
        patch_positions = nn.functional.interpolate(
            patch_positions.transpose(1, 2).unflatten(2, grid), size=new_grid, mode="bicubic", align_corners=False
        )
        return torch.cat([class_position, patch_positions.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool | None = False) -> torch.Tensor:
        if not torch.compiler.is_exporting():
            self.check_size(*pixel_values.shape[2:], interpolate_pos_encoding)
        embeddings = super().forward(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        spatial = self.dropout(self.spatial_token + self.spatial_position_embedding)
        return torch.cat([embeddings, spatial.expand(embeddings.shape[0], -1, -1)], dim=1)

    def check_size(self, height: int, width: int, interpolate_pos_encoding: bool | None) -> None:
        for axis, pixels, patch in (("height", height, self.patch_size[0]), ("width", width, self.patch_size[1])):
            if pixels < patch or pixels % patch:
                below = pixels // patch * patch
                nearest = f"{below} or {below + patch}" if below else f"{patch}"
                raise ValueError(
                    f"The input is {height}×{width} pixels, but its {axis} {pixels} is not a multiple of the patch "
                    f"size {patch}. Resize it to {nearest}; SATImageProcessor does so by its `size`."
                )
        if not interpolate_pos_encoding and (height, width) != self.image_size:
            raise ValueError(
                f"The input is {height}×{width} pixels, but the model is made for {self.image_size[0]}×"
                f"{self.image_size[1]}. Resize it, or pass interpolate_pos_encoding=True."
            )


class SpatialQueryAttention(ViTAttention):
    """Self-attention in which, in a spatial layer, the spatial token decides how much each token may say (Eq. 4-6)."""

    def __init__(self, config: SATConfig, is_spatial: bool):
        super().__init__(config)
        self.is_spatial = is_spatial
        # Eq. 4 divides q·k, summed over heads, by √D; the authors average q·k/√d over heads (`Model/SAT.py:160,171`).
        by_head_mean = config.spatial_query_scaling == "head_mean"
        self.spatial_scaling = self.scaling / self.num_attention_heads if by_head_mean else config.hidden_size**-0.5

    def forward(
        self, hidden_states: torch.Tensor, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Returns the output, the softmax weights if the attention function gives them, and the map (batch, tokens)."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query, key = self.q_proj(hidden_states), self.k_proj(hidden_states)  # (batch, tokens, heads · head_dim)
        foreground = self.query_foreground(query, key) if self.is_spatial else None
        query, key = query.view(shape).transpose(1, 2), key.view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)  # (batch, heads, tokens, head_dim)
        if foreground is not None:
            # Eq. 6: softmax(QKᵀ/√d) ∗ M scales columns, the same for all heads and queries, so it scales the values.
            value = value * foreground[:, None, :, None].to(value.dtype)

        attention, weights = self.attention_function(kwargs)(
            self,
            query,
            key,
            value,
            None,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(attention.flatten(2)), weights, foreground

    def query_foreground(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Eq. 4-5: M = σ(q_spa·K · scale), over the concatenated heads, in float32: (batch, tokens)."""
        with maybe_autocast(query.device.type, enabled=False):
            scores = key.float() @ query[:, -1, :, None].float()  # (batch, tokens, 1)
            return torch.sigmoid(scores.squeeze(2) * self.spatial_scaling)

    def attention_function(self, kwargs: dict) -> Callable:
        # Fused kernels never form the softmax, so asking for it means the eager function, for this call alone.
        if kwargs.get("output_attentions", self.config.output_attentions):
            return eager_attention_forward
        return ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)


class SATLayer(ViTLayer):
    """A ViT layer with stochastic depth, whose attention is spatial-query attention in the last layers (Eq. 1-3)."""

    def __init__(self, config: SATConfig, layer_index: int):
        super().__init__(config)
        is_spatial = layer_index >= config.num_hidden_layers - config.num_spatial_layers
        self.attention = SpatialQueryAttention(config, is_spatial)
        self.drop_path_rate = config.drop_path_rate * layer_index / max(config.num_hidden_layers - 1, 1)

    def forward(self, hidden_states: torch.Tensor, **kwargs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the hidden states and, from a spatial layer, the foreground probability (batch, tokens)."""
        attention, _, foreground = self.attention(self.layernorm_before(hidden_states), **kwargs)
        hidden_states = self.add_branch(hidden_states, attention)
        hidden_states = self.add_branch(hidden_states, self.mlp(self.layernorm_after(hidden_states)))
        return hidden_states, foreground

    def add_branch(self, hidden_states: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        branch = self.dropout(branch)
        if not self.training or self.drop_path_rate == 0:
            return hidden_states + branch
        keep = 1 - self.drop_path_rate
        kept = branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep) / keep
        return torch.addcmul(hidden_states, branch, kept)


class SATPatchClassifier(nn.Module):
    """The paper's head: class maps by a zero-padded 3×3 convolution of patch tokens, averaged into logits.

    Average and convolution are both linear, so the logits need no class maps: the mean of the zero-padded
    convolution is nine window sums of the tokens and one matrix product. Not a `Conv2d`, in whose place quantizers put
    a convolution of their own, which would take the tokens for an image.
    """

    def __init__(self, config: SATConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_labels, config.hidden_size, 3, 3))
        self.bias = nn.Parameter(torch.empty(config.num_labels))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        # The authors leave the convolution at PyTorch's own initialization (`Model/SAT.py:66-73`).
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


def area_loss(
    localization_map: torch.Tensor,
    target: float,
    over_all_processes: bool = False,
    batch_area: torch.Tensor | None = None,
) -> torch.Tensor:
    """Eq. 7: the distance of the batch's mean foreground area from λ.

    Args:
        localization_map: (batch, h, w) in [0, 1].
        target: λ, in (0, 1).
        over_all_processes: take the mean over the batches of all processes. Every process must call at once. The
            value is the global one on each, and after DistributedDataParallel averages them the gradient is exact.
        batch_area: scalar, the mean area of the batch that these maps are a part of. Averaged over all parts by
            their number of images, value and gradient are then those of the whole batch.

    Returns:
        scalar in [0, 1].
    """
    area = localization_map.mean()
    if batch_area is None and over_all_processes:
        # Uneven batches weigh by their share of the images.
        totals = sum_over_processes(area.detach() * len(localization_map), len(localization_map))
        area = area * (len(localization_map) * world_size() / totals[1])
        batch_area = totals[0] / totals[1]
    if batch_area is not None:
        # ∇|A - λ| = sign(A - λ)·∇A: only the sign depends on the rest of the batch.
        area = area + (batch_area - area).detach()
    return (area - target).abs()


def world_size() -> int:
    """Number of processes that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1


def sum_over_processes(total: torch.Tensor, count: int) -> torch.Tensor:
    """(2,) float32: `total` and `count`, each summed over all processes."""
    totals = torch.stack([total, torch.full_like(total, count)])
    if world_size() > 1:
        torch.distributed.all_reduce(totals)
    return totals


def normalization_loss(localization_map: torch.Tensor, kernel_size: int = 3, sigma: float = 0.418) -> torch.Tensor:
    """Eq. 8: the mean of M*(1 - M*), where M* is the map after a zero-padded Gaussian filter (`Model/SAT.py:25-31,128`).

    Args:
        localization_map: (batch, h, w) in [0, 1].
        kernel_size: odd, in patches.
        sigma: standard deviation in patches.

    Returns:
        scalar in [0, 0.25].
    """
    distance = torch.arange(kernel_size, device=localization_map.device, dtype=localization_map.dtype)
    profile = torch.exp(-((distance - kernel_size // 2) ** 2) / (2 * sigma**2))
    profile = profile / profile.sum()
    smoothed = nn.functional.conv2d(
        localization_map.unsqueeze(1), profile.outer(profile)[None, None], padding=kernel_size // 2
    )
    return (smoothed * (1 - smoothed)).mean()


def share_of_batch(labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor | float:
    """What a mean over these images weighs in the loss of the batch that they are a part of."""
    return 1.0 if num_items_in_batch is None else len(labels) / num_items_in_batch


class SATPreTrainedModel(StartsFromViT, ViTPreTrainedModel):
    config: SATConfig
    config_class = SATConfig
    _no_split_modules = ["SATEmbeddings", "SATLayer"]
    _can_record_outputs = {"hidden_states": SATLayer, "attentions": SpatialQueryAttention}

    def __init__(self, config: SATConfig, *args, **kwargs):
        # What `from_pretrained(…, area_target=2.0)` sets, it sets after the config has checked itself.
        config.validate()
        super().__init__(config, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, SATPatchClassifier):
            module.reset_parameters()
            return
        super()._init_weights(module)
        if isinstance(module, SATEmbeddings):
            init.trunc_normal_(module.spatial_token, std=self.config.initializer_range)
            init.trunc_normal_(module.spatial_position_embedding, std=self.config.initializer_range)

    def save_pretrained(self, save_directory, *args, push_to_hub=False, **kwargs):
        """Saves weights, config and the shipped code, pipeline and processor included, so that the folder is whole."""
        hub = {name: kwargs.pop(name) for name in _PUSH_ARGUMENTS if name in kwargs}
        super().save_pretrained(save_directory, *args, **kwargs)
        for name in _SHIPPED:
            # Loaded as remote code, this file has for neighbours only what it imports; the rest is where it came from.
            source = Path(__file__).with_name(name)
            if not source.exists() and self.name_or_path:
                source = cached_file(self.name_or_path, name, _raise_exceptions_for_missing_entries=False)
            if source is not None and Path(source).exists():
                _copy(Path(source), save_directory)
        if push_to_hub:  # only now is there everything to push
            self.push_to_hub(hub.pop("repo_id", Path(save_directory).name), token=kwargs.get("token"), **hub)


def _copy(source: Path, folder: str | Path) -> None:
    target = Path(folder) / source.name
    if target.resolve() != source.resolve():
        shutil.copyfile(source, target)


_SHIPPED = (
    "class_names_sat.py", "configuration_sat.py", "image_arrays_sat.py", "image_conversion_sat.py",
    "image_processing_sat.py", "loading_wsol.py", "localization_sat.py", "modeling_sat.py", "pipeline_sat.py",
    "multiscale_sat.py",
)  # fmt: skip
_PUSH_ARGUMENTS = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")


class SATModel(SATPreTrainedModel):
    """The backbone: hidden states of all tokens and the localization map, without a classifier.

    Example:

    ```python
    >>> import torch
    >>> from modeling_sat import SATConfig, SATModel

    >>> config = SATConfig(
    ...     hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    ...     image_size=32, patch_size=8, num_labels=5,
    ... )
    >>> outputs = SATModel(config)(torch.zeros(2, 3, 32, 32))
    >>> outputs.last_hidden_state.shape, outputs.localization_map.shape
    (torch.Size([2, 18, 32]), torch.Size([2, 4, 4]))

    ```
    """

    def __init__(self, config: SATConfig):
        super().__init__(config)
        self.embeddings = SATEmbeddings(config)
        self.layers = nn.ModuleList([SATLayer(config, index) for index in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool | None = False, **kwargs
    ) -> SATModelOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
        """
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        hidden_states = self.embeddings(pixel_values, interpolate_pos_encoding)
        maps = []
        for layer in self.layers:
            hidden_states, foreground = layer(hidden_states, **kwargs)
            if foreground is not None:
                maps.append(foreground.to(pixel_values.device))

        grid = [size // patch for size, patch in zip(pixel_values.shape[2:], self.embeddings.patch_size)]
        layer_maps = torch.stack(maps, dim=1)[:, :, 1:-1].unflatten(2, grid)  # (batch, spatial layers, h, w)
        return SATModelOutput(
            last_hidden_state=self.layernorm(hidden_states),
            localization_map=layer_maps.mean(dim=1),
            layer_localization_maps=layer_maps,
        )


class SATForWeaklySupervisedLocalization(SATPreTrainedModel):
    """A classifier that also says where: logits, a localization map in [0, 1], and the three losses of Eq. 9.

    Example:

    ```python
    >>> import torch
    >>> from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization

    >>> config = SATConfig(
    ...     hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    ...     image_size=32, patch_size=8, num_labels=5,
    ... )
    >>> model = SATForWeaklySupervisedLocalization(config)
    >>> outputs = model(torch.zeros(2, 3, 32, 32), labels=torch.tensor([0, 4]))
    >>> outputs.logits.shape, outputs.localization_map.shape
    (torch.Size([2, 5]), torch.Size([2, 4, 4]))
    >>> terms = outputs.classification_loss + outputs.area_loss + outputs.normalization_loss
    >>> torch.allclose(outputs.loss, terms)
    True

    ```
    """

    def __init__(self, config: SATConfig):
        super().__init__(config)
        self.vit = SATModel(config)
        # Two names, so that a ViT's classifier never meets the weights of another shape.
        if config.classifier == "class_token":
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        else:
            self.patch_classifier = SATPatchClassifier(config)
        self.post_init()

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
    ) -> SATForWeaklySupervisedLocalizationOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels); the losses are computed when they are given.
            output_class_maps: also run the head as a convolution and return `class_maps`.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, of which these are a part (gradient accumulation, several
                processes): `loss` is then this part's share, to be summed over the parts. `Trainer` passes it.
            batch_area: scalar, the mean area of the whole batch's maps, for an exact area loss of a part; see
                `area_loss`. Default: that of these images, or with `area_reduction="global"` of those that the
                processes see at once.
        """
        outputs = self.vit(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        class_maps = None
        if self.config.classifier == "class_token":
            if output_class_maps:
                raise ValueError('output_class_maps needs the head of classifier="patch_tokens"; this model reads the '
                                 "class token, which has no position. Use localization_map.")  # fmt: skip
            logits = self.classifier(outputs.last_hidden_state[:, 0])
        else:
            tokens = outputs.last_hidden_state[:, 1:-1].unflatten(1, outputs.localization_map.shape[1:])
            logits = self.patch_classifier(tokens)
            if output_class_maps:
                class_maps = self.patch_classifier.class_maps(tokens)

        losses = {}
        if labels is not None:
            losses = self.losses(logits, labels, outputs.localization_map, num_items_in_batch, batch_area)
        return SATForWeaklySupervisedLocalizationOutput(
            **losses,
            logits=logits,
            localization_map=outputs.localization_map,
            layer_localization_maps=outputs.layer_localization_maps,
            class_maps=class_maps,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def losses(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        localization_map: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
        batch_area: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Eq. 7-9 in float32."""
        if labels.device.type == "cpu" and not torch.compiler.is_compiling():
            self.check_labels(labels)
        with maybe_autocast(logits.device.type, enabled=False):
            localization_map = localization_map.to(logits.device)
            # Evaluation has no gradient to make exact, and ranks that evaluate unevenly must not wait for each other.
            over_all_processes = self.training and self.config.area_reduction == "global"
            if over_all_processes and num_items_in_batch is not None and batch_area is None:
                # The share below weighs uneven batches already, so the area loss must not.
                totals = sum_over_processes(localization_map.detach().sum(), localization_map.numel())
                batch_area = totals[0] / totals[1]
            classification = nn.functional.cross_entropy(logits.float(), labels.to(logits.device))
            area = area_loss(localization_map, self.config.area_target, over_all_processes, batch_area)
            normalization = normalization_loss(
                localization_map, self.config.smoothing_kernel_size, self.config.smoothing_sigma
            )
            loss = (
                classification
                + self.config.area_loss_weight * area
                + self.config.normalization_loss_weight * normalization
            )
        return {
            "loss": loss * share_of_batch(labels, num_items_in_batch),
            "classification_loss": classification,
            "area_loss": area,
            "normalization_loss": normalization,
        }

    def check_labels(self, labels: torch.Tensor) -> None:
        wrong = labels[(labels < 0) | (labels >= self.config.num_labels)]
        if len(wrong):
            raise ValueError(
                f"Labels hold {wrong[0].item()}, but the model has {self.config.num_labels} classes, 0 to "
                f"{self.config.num_labels - 1}. Set num_labels to the number of classes of the data."
            )


# The stock pipelines check the class name against these tables and print all of them where it is missing.
for _names in (MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES):
    _names[SATConfig.model_type] = SATForWeaklySupervisedLocalization.__name__

# For `pipeline(task, model=…)` of a model that its own code has loaded.
for _task in CUSTOM_PIPELINES:
    if _task not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            _task, pipeline_class=WeaklySupervisedLocalizationPipeline, pt_model=AutoModel, type="image"
        )

SATConfig.register_for_auto_class()
SATForWeaklySupervisedLocalization.register_for_auto_class("AutoModel")


__all__ = ["SATForWeaklySupervisedLocalization", "SATModel", "SATPreTrainedModel"]
