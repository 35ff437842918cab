"""Loads checkpoints of several methods by their own code; run by `test_remote_code.py` in a process of its own.

python -I remote_methods.py CHECKPOINT …
"""

import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
import torch
import without_the_package  # noqa: F401
from PIL import Image
from transformers import AutoModel, pipeline


torch.set_num_threads(1)
results = {}
for folder in sys.argv[1:]:
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        outputs = model(torch.load("images.pt")[model.config.image_size])
    localize = pipeline("weakly-supervised-object-localization", model=folder, trust_remote_code=True)
    found = localize(Image.new("RGB", (40, 60), "red"), quality="high")
    results[folder] = {
        "class": type(model).__name__,
        "logits": outputs.logits.tolist(),
        "map": outputs.localization_map.tolist(),
        "pipeline": [{name: value for name, value in thing.items() if name != "mask"} for thing in found],
        "package": "modeling_sat" in sys.modules,
    }
print(json.dumps(results))
