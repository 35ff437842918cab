"""Whose checkpoints are known: the authors' of methods and Conformer, and timm's, by their names of weights and ours."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification
from transformers.core_model_loading import Chunk, Transpose, WeightConverter, WeightRenaming, WeightTransform

from ..methods import METHODS
from ..models.configuration_conformer import VisionConformerConfig
from ..models.modeling_conformer import VisionConformerForImageClassification


_QKV = WeightConverter(
    r"\.attn\.qkv", [".attention.q_proj", ".attention.k_proj", ".attention.v_proj"], operations=[Chunk(dim=0)]
)
_TIMM = [
    WeightRenaming(r"^cls_token", "vit.embeddings.cls_token"),
    WeightRenaming(r"^pos_embed", "vit.embeddings.position_embeddings"),
    WeightRenaming(r"^patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    WeightRenaming(r"^blocks\.(?=\d+\.(norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.)", "vit.layers."),
    WeightRenaming(r"\.norm1\.", ".layernorm_before."),
    WeightRenaming(r"\.norm2\.", ".layernorm_after."),
    WeightRenaming(r"\.attn\.proj\.", ".attention.o_proj."),
    _QKV,
    WeightRenaming(r"^norm\.", "vit.layernorm."),
]
_SAT = [
    *_TIMM,
    WeightRenaming(r"^loc_token", "vit.embeddings.spatial_token"),
    WeightRenaming(r"^loc_embed", "vit.embeddings.spatial_position_embedding"),
]
_LCTR = [
    *_TIMM,
    WeightRenaming(r"^conv3x3\.", "cue_routing.convolution."),
    WeightRenaming(r"^CDM\._routing_fn_two\.fc\.", "cue_routing.average."),
    WeightRenaming(r"^CDM\._routing_fn_two\.fc2\.", "cue_routing.maximum."),
    WeightRenaming(r"^CDM\.bias", "patch_classifier.bias"),
    WeightConverter(r"^CDM\.weight", "patch_classifier.weight", operations=[Transpose(0, 1)]),
]
_SCM = [
    *_TIMM,
    WeightRenaming(r"^layers\.(?=\d+\.(thred|fuse))", "diffusion."),
    WeightRenaming(r"\.fuse\._loss_rate", ".similarity_weight"),
    WeightRenaming(r"\.thred", ".threshold"),
]
_CONFORMER = [
    WeightRenaming(r"^cls_token", "vit.embeddings.cls_token"),
    WeightRenaming(r"^trans_patch_conv\.", "vit.embeddings.patch_embeddings.projection."),
    WeightRenaming(r"^conv1\.", "vit.stem.conv."),
    WeightRenaming(r"^bn1\.", "vit.stem.norm."),
    WeightRenaming(r"^trans_norm\.", "vit.layernorm."),
    WeightRenaming(r"((?<=^trans_1)|(?<=\.trans_block))\.norm1\.", ".layernorm_before."),
    WeightRenaming(r"((?<=^trans_1)|(?<=\.trans_block))\.norm2\.", ".layernorm_after."),
    WeightRenaming(r"\.attn\.proj\.", ".attention.o_proj."),
    WeightRenaming(r"^conv_1\.", "vit.first_convolution."),
    WeightRenaming(r"^trans_1\.", "vit.layers.0."),
    # They count blocks from 1, and the first has nothing beside it.
    *(WeightRenaming(rf"^conv_trans_{i}\.trans_block\.", f"vit.layers.{i - 1}.") for i in range(2, 25)),
    *(WeightRenaming(rf"^conv_trans_{i}\.", f"vit.units.{i - 2}.") for i in range(2, 25)),
    WeightRenaming(r"\.cnn_block\.", ".convolution."),
    WeightRenaming(r"\.fusion_block\.", ".fusion."),
    WeightRenaming(r"\.squeeze_block\.", ".down."),
    WeightRenaming(r"\.expand_block\.", ".up."),
    WeightRenaming(r"\.conv_project\.", ".projection."),
    WeightRenaming(r"\.(ln|bn)\.", ".norm."),
    WeightRenaming(r"\.bn(?=\d\.)", ".norm"),
    WeightRenaming(r"\.residual_bn\.", ".residual_norm."),
    _QKV,
    WeightRenaming(r"^conv_cls_head\.", "branch_classifier."),
    WeightRenaming(r"^trans_cls_head\.", "head."),
]
_CONFORMER_NEEDS = (
    "trans_patch_conv.weight", "trans_1.mlp.fc1.weight", "conv_1.conv3.weight", "conv_cls_head.weight",
    "trans_cls_head.weight",
)  # fmt: skip
_VIT_NEEDS = ("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")


@dataclass(frozen=True)
class Source:
    """A kind of file with weights under names that are not ours.

    Args:
        method: of `METHODS`, whose model they become; None: a backbone with its classifiers, for any method to start from.
        transforms: from its names to ours; `head` becomes the classifier that the model has.
        needs: names without which a file is not of this kind.
        is_whole: whether it holds every weight of the model, the head among them.
        threshold: the localization threshold in [0, 1] of its authors' evaluation, where a file brings none.
        classes: name of a weight with a row for each class.
        is_conformer: whether the backbone is a Conformer rather than a ViT.
    """

    method: str | None
    transforms: list[WeightTransform]
    needs: tuple[str, ...] = _VIT_NEEDS
    is_whole: bool = True
    threshold: float | None = None
    classes: str = "head.weight"
    is_conformer: bool = False

    @property
    def title(self) -> str:
        if self.method is not None:
            return METHODS[self.method].title
        return "Conformer" if self.is_conformer else "ViT"

    def model(self, fields: dict[str, Any], **config: Any) -> PreTrainedModel:
        """Of random weights; `fields` are of the backbone, `config` of the model's configuration."""
        if self.method is None and self.is_conformer:
            return VisionConformerForImageClassification(VisionConformerConfig(**fields, **config))
        if self.method is None:
            return ViTForImageClassification(ViTConfig(**fields, layer_norm_eps=1e-6, **config))
        method = METHODS[self.method]
        if self.is_conformer:
            fields = {"backbone_config": VisionConformerConfig(**fields)}
        return method.model_class(method.config_class(**fields, **config))


SOURCES = {
    # Of github.com/wpy1999/SAT, Model/SAT.py:37-88.
    "sat": Source("sat", _SAT, (*_VIT_NEEDS, "loc_token", "loc_embed", "head.weight")),
    # Of github.com/vasgaowei/TS-CAM, lib/models/deit.py:14-72; MODEL.CAM_THR of configs/CUB (0.12 in configs/ILSVRC).
    "ts_cam": Source("ts_cam", _TIMM, (*_VIT_NEEDS, "head.weight"), threshold=0.1),
    # Of github.com/zhiweichen0012/LCTR, models.py:382-397; the threshold for CUB of main.py:579 (0.18 for ImageNet).
    "lctr": Source("lctr", _LCTR, (*_VIT_NEEDS, "CDM.weight", "CDM.bias"), threshold=0.09, classes="CDM.bias"),
    # Of github.com/164140757/SCM, lib/models/deit.py:31-151; the threshold of its pictures (tools_cam/test_cam.py:123), as
    # its evaluation takes that which is best on the test images.
    "scm": Source("scm", _SCM, (*_VIT_NEEDS, "head.weight", "layers.0.fuse._loss_rate"), threshold=0.35),
    "timm": Source("sat", _SAT, is_whole=False),
    "timm_vit": Source(None, _TIMM, is_whole=False),
    # Of github.com/pengzhiliang/Conformer, conformer.py:306-458.
    "conformer": Source(None, _CONFORMER, _CONFORMER_NEEDS, classes="trans_cls_head.weight", is_conformer=True),
    # Of github.com/vasgaowei/TS-CAM, lib/models/conformer.py; MODEL.CAM_THR of configs/CUB (0.12 in configs/ILSVRC).
    "ts_cam_conformer": Source(
        "ts_cam", _CONFORMER, _CONFORMER_NEEDS, threshold=0.1, classes="trans_cls_head.weight", is_conformer=True
    ),
}
