"""The Auto classes know the methods whichever of the two is imported first."""

import subprocess
import sys

import pytest


KNOWN = """
import sys
from transformers import CONFIG_MAPPING, IMAGE_PROCESSOR_MAPPING, MODEL_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY

config_class = CONFIG_MAPPING["sat"]
assert MODEL_MAPPING[config_class].__name__ == "SATForWeaklySupervisedLocalization"
assert IMAGE_PROCESSOR_MAPPING[config_class]
PIPELINE_REGISTRY.check_task("weakly-supervised-object-localization")
from modeling_sat import SATConfig
assert config_class is SATConfig
assert not any(type(finder).__module__ == "modeling_sat.registration" for finder in sys.meta_path)
"""


@pytest.mark.parametrize(
    "first",
    [
        "import modeling_sat; from transformers import AutoModel",
        "from transformers import AutoModel; import modeling_sat",
        "import modeling_sat; from transformers import Trainer",  # it imports the Auto classes on its way
        "import modeling_sat; from transformers import pipeline",  # which are half imported when ours need them
        "from modeling_sat.models.configuration_sat import SATConfig",
        "from modeling_sat import SATModel",
    ],
)
def test_the_methods_are_known(first):
    process = subprocess.run([sys.executable, "-c", f"{first}\n{KNOWN}"], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


def test_a_name_that_there_is_not():
    import modeling_sat

    with pytest.raises(AttributeError, match="module 'modeling_sat' has no attribute 'SATConfiguration'"):
        modeling_sat.SATConfiguration  # noqa: B018
    assert {"SATConfig", "__version__"} <= set(dir(modeling_sat))
