"""Makes the methods known to transformers' Auto classes, without making `import modeling_sat` wait for them.

An Auto class takes classes, and a model's class takes the seconds with it that transformers' modelling code needs. So
the methods are imported, which registers them, when an import has brought the Auto classes: nobody can ask them before.
"""

import functools
import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


_AUTO_CLASSES = "transformers.models.auto.configuration_auto"


class _Watch(MetaPathFinder):
    """Waits for an import of transformers or of ours to end that brought the Auto classes.

    Not for that of the Auto classes alone: whoever imports them may be half imported itself, and need what we need.
    """

    def __init__(self):
        self.under_way = 0

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in ("transformers", __package__):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(self.execute, spec.loader.exec_module)
        return spec

    def execute(self, exec_module, module) -> None:
        self.under_way += 1
        try:
            exec_module(module)
        finally:
            self.under_way -= 1
        if self.under_way == 0 and _AUTO_CLASSES in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            register()


def register() -> None:
    importlib.import_module(f"{__package__}.methods")


def register_in_time() -> None:
    """Now if the Auto classes are there, else as soon as they are."""
    if _AUTO_CLASSES in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _Watch())
