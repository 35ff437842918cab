"""Imported first, hides this package from a process: what is loaded then is a checkpoint's own code."""

import importlib.util
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
assert importlib.util.find_spec("transformers") is not None
