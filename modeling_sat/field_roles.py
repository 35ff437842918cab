"""What a field of a run's arguments decides, said beside the field: `seed: Annotated[int, Role(...)] = 0`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Role:
    """
    Args:
        steps: the steps of a training depend on it, so that a run continues from a checkpoint only if it is the same.
        keeps_a_pass: it decides which pass is kept or when the learning rate falls, where evaluation decides that; else
            nothing, since evaluation leaves weights and random numbers as they are.
        decides_nothing: why two runs may differ in it and be the same; None: they may not.
    """

    steps: bool = True
    keeps_a_pass: bool = False
    decides_nothing: str | None = None


def roles_of(arguments: type, foreign: Mapping[str, Role] | None = None) -> dict[str, Role]:
    """The role of each field of a dataclass; steps depend on one that has none.

    Args:
        foreign: roles of fields that another library declares.
    """
    hints = get_type_hints(arguments, include_extras=True)
    foreign = foreign or {}
    return {
        field.name: _said(hints[field.name]) or foreign.get(field.name, Role())
        for field in dataclasses.fields(arguments)
    }


def _said(hint: Any) -> Role | None:
    return next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Role)), None)
