# SPDX-License-Identifier: Apache-2.0
"""The text of this package's modules, for processes that get their code through a line and not from a file."""

from __future__ import annotations

from types import ModuleType
from typing import Any, List, Sequence, Tuple


def package(modules: Sequence[ModuleType]) -> List[Tuple[str, str]]:
    """Names and texts of modules, in the order given: that in which they import each other."""
    return [(_name(module), _text(module)) for module in modules]


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _text(module: ModuleType) -> str:
    """The module's text, from whatever loaded it."""
    loader: Any = module.__loader__
    return str(loader.get_source(module.__name__))
