"""What a user of the Hub without this package does; run in a process of its own, as `python -I hub_user.py IMAGE NAME…`.

NAME is a folder, an id, or id@branch. Prints what each gives, as JSON.
"""

import hashlib
import json
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
import without_the_package  # noqa: F401
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, pipeline


torch.set_num_threads(1)


def look(name: str, image: str) -> dict:
    name, _, branch = name.partition("@")
    source = {"trust_remote_code": True, **({"revision": branch} if branch else {})}
    processor = AutoImageProcessor.from_pretrained(name, **source)
    with torch.no_grad():
        outputs = AutoModel.from_pretrained(name, **source)(**processor(Image.open(image), return_tensors="pt"))
    things = pipeline("weakly-supervised-object-localization", model=name, **source)(image)
    return {
        "threshold": processor.localization_threshold,
        "logits": outputs.logits.tolist(),
        "map": outputs.localization_map.tolist(),
        "things": [{**thing, "mask": hashlib.sha256(thing["mask"].tobytes()).hexdigest()} for thing in things],
    }


seen = {name: look(name, sys.argv[1]) for name in sys.argv[2:]}
assert "modeling_sat" not in sys.modules
print(json.dumps(seen))
