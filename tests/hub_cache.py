"""What a user has who fetched a checkpoint of the Hub before: the folder that HF_HOME names."""

import json
from pathlib import Path

from transformers import PreTrainedModel


REVISION = "0" * 40
METAS_PROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": 224,
}
"""As `facebook/deit-tiny-patch16-224` has it, although its weights were trained with ImageNet's statistics."""


def keep_in_cache(home: Path, repo_id: str, model: PreTrainedModel, processor: dict = METAS_PROCESSOR) -> None:
    cached = home / "hub" / f"models--{repo_id.replace('/', '--')}"
    snapshot = cached / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(REVISION)
    model.save_pretrained(snapshot)
    (snapshot / "preprocessor_config.json").write_text(json.dumps(processor))
