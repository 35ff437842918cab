"""Configuration of Conformer: the fields of a ViT, and the width of the convolutions beside it."""

from huggingface_hub.dataclasses import strict
from transformers import ViTConfig


@strict
class VisionConformerConfig(ViTConfig):
    r"""
    Conformer (Peng et al., ICCV 2021); nothing to do with the Conformers of speech. Every field of
    [`~transformers.ViTConfig`] keeps its meaning and describes the transformer branch, which has no position
    embeddings. The defaults are Conformer-S (pengzhiliang/Conformer, `models.py:73-76`); Conformer-Ti has
    `channel_ratio=1`, Conformer-B `channel_ratio=6, hidden_size=576, num_attention_heads=9, intermediate_size=2304`.

    Args:
        num_hidden_layers (`int`, defaults to 12):
            Transformer blocks, a multiple of 3: a third of them beside each stage of the convolutions.
        patch_size (`int`, defaults to 16):
            A multiple of 16, the stride of the last stage.
        base_channels (`int`, defaults to 64):
            Channels of the stem. The stages have `channel_ratio`, twice and four times as many as that times this.
        channel_ratio (`int`, defaults to 4):
            See `base_channels`.
        batch_norm_eps (`float`, defaults to 1e-6):
            Of the batch norms after the stem's.

    Raises:
        `StrictDataclassError` (of huggingface_hub): for a value of the wrong type or out of its range, with the
            value, the range and the remedy.
    """

    model_type = "vision_conformer"
    hidden_size: int = 384
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    layer_norm_eps: float = 1e-6
    base_channels: int = 64
    channel_ratio: int = 4
    batch_norm_eps: float = 1e-6

    @property
    def stage_channels(self) -> tuple[int, int, int]:
        """Channels of the three stages."""
        first = self.base_channels * self.channel_ratio
        return first, 2 * first, 4 * first

    @property
    def branch_size(self) -> int:
        """How many channels the convolution branch ends with."""
        return self.stage_channels[-1]

    def validate_stages(self):
        if self.num_hidden_layers < 3 or self.num_hidden_layers % 3:
            raise ValueError(
                f"num_hidden_layers is {self.num_hidden_layers}; a Conformer has three stages with as many blocks each, "
                "so choose a multiple of 3."
            )
        if not isinstance(self.patch_size, int) or self.patch_size < 16 or self.patch_size % 16:
            raise ValueError(
                f"patch_size is {self.patch_size}; the convolutions of a Conformer make 16 pixels one, so choose a multiple "
                "of 16."
            )
        if self.base_channels < 1 or self.channel_ratio < 1 or self.stage_channels[0] % 4:
            raise ValueError(
                f"base_channels is {self.base_channels} and channel_ratio {self.channel_ratio}; choose whole numbers whose "
                "product is a multiple of 4."
            )


__all__ = ["VisionConformerConfig"]
