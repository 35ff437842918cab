import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that SAT_REAL_DATA names; tests that need it are skipped where it is unset."""
    if "SAT_REAL_DATA" not in os.environ:
        pytest.skip("SAT_REAL_DATA is unset; it names the folder of the real data")
    return Path(os.environ["SAT_REAL_DATA"]).resolve()
