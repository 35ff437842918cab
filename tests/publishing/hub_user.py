"""What a user of the Hub without this package does; run in a process of its own, as `python -I hub_user.py IMAGE NAME…`.

NAME is a folder, an id, or id@branch. Prints what each gives, as JSON.
"""

import hashlib
import importlib.util
import json
import sys
from importlib.machinery import PathFinder


class WithoutThePackage(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] == "modeling_sat" else super().find_spec(fullname, path, target)


# The editable installation is a finder of its own, or a line on sys.path: neither may find the package.
sys.meta_path[:] = [
    finder for finder in sys.meta_path if "__editable__" not in str(finder) and finder is not PathFinder
]
sys.meta_path.append(WithoutThePackage)
assert importlib.util.find_spec("modeling_sat") is None

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import AutoImageProcessor, AutoModel, pipeline  # noqa: E402


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
