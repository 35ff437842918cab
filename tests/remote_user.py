"""What a user without this package does with a checkpoint folder; run by `test_remote_code.py` in a process of its own.

python -I remote_user.py CHECKPOINT IMAGE OUTPUT
"""

import json
import logging
import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
import without_the_package  # noqa: F401


checkpoint, image, output = sys.argv[1:4]


class Records(logging.Handler):
    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    pipeline,
)
from transformers.utils import logging as transformers_logging  # noqa: E402


records = Records()
transformers_logging.get_logger("transformers").addHandler(records)
torch.set_num_threads(1)


def boxes(objects: list[dict]) -> list[dict]:
    return [{name: value for name, value in found.items() if name != "mask"} for found in objects]


def look(folder: str) -> dict:
    seen = {"config": type(AutoConfig.from_pretrained(folder, trust_remote_code=True)).__name__}
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    seen["processor"] = type(processor).__name__
    seen["threshold"] = processor.localization_threshold
    inputs = processor(Image.open(image), return_tensors="pt")
    for auto_class in (AutoModel, AutoModelForImageClassification, AutoModelForObjectDetection):
        model = auto_class.from_pretrained(folder, trust_remote_code=True)
        with torch.no_grad():
            outputs = model(**inputs)
        seen[auto_class.__name__] = {
            "class": type(model).__name__,
            "logits": outputs.logits[0].tolist(),
            "map": outputs.localization_map[0].tolist(),
        }
    for task in ("weakly-supervised-object-localization", "image-classification", "object-detection"):
        records.messages.clear()
        arguments = {"threshold": 0.0} if task == "object-detection" else {}
        seen[task] = boxes(pipeline(task, model=folder, trust_remote_code=True)(image, **arguments))
        seen[f"{task} says"] = list(records.messages)
    # A model that is loaded already, as one that was quantized is; the task is known although nothing was imported.
    localize = pipeline("weakly-supervised-object-localization", model=model, image_processor=processor)
    seen["by the model itself"] = boxes(localize(image))
    return seen


results = {"first": look(checkpoint)}
model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True)
model.save_pretrained(output)
results["files of the model"] = sorted(path.name for path in Path(output).iterdir())
AutoImageProcessor.from_pretrained(checkpoint, trust_remote_code=True).save_pretrained(output)
results["files"] = sorted(path.name for path in Path(output).iterdir())
results["saved again"] = look(output)
results["by its own class"] = type(type(model).from_pretrained(output)).__name__
results["package"] = "modeling_sat" in sys.modules
print(json.dumps(results))
