# SPDX-License-Identifier: Apache-2.0
"""Findings about a cluster file -> problems with a line, in words for the person who wrote it.

Pydantic says what is wrong in terms of types and locations; here that becomes one sentence in the file's own terms, with what
to do about it. A misspelt key or value gets the nearest known one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayctl.config.model import Block, ClusterConfig
from rayctl.config.places import Document, Path, Place, shown
from rayctl.config.words import Unfit, seen
from rayctl.errors import Problem

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Finding:
    """Something wrong at a path of the (translated) data; `on_key` when it is the key that is wrong, not its value."""

    path: Path
    message: str
    hint: str = ""
    on_key: bool = False


def nearest(word: str, known: Iterable[str]) -> str:
    """The words `did you mean X?` for a misspelt word, or "" when nothing is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong file needs it

    names = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return _did_you_mean(names[close[0]]) if close else ""


def _did_you_mean(word: str) -> str:
    return f"did you mean `{word}`?"


@dataclass(frozen=True)
class Locator:
    """Finds lines: in the document as written, also for paths that `legacy` made."""

    document: Document
    moved: Mapping[Path, Path]

    def origin(self, path: Path) -> Path:
        """The path in the file as written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return (*self.moved[path[:length]], *path[length:])
        return path

    def place(self, path: Path, *, on_key: bool = False) -> Place | None:
        """Where it stands, or what holds it where it is not there itself."""
        table = self.document.keys if on_key else self.document.values
        path = self.origin(path)
        if path in table:
            return table[path]
        while path:
            path = path[:-1]
            if found := self.document.keys.get(path) or self.document.values.get(path):
                return found
        return None

    def problem(self, finding: Finding) -> Problem:
        """The finding with its line and column."""
        place = self.place(finding.path, on_key=finding.on_key) or Place(0, 0)
        return Problem(shown(self.origin(finding.path)), finding.message, place.line, place.column, finding.hint)


def findings(errors: Iterable[ErrorDetails], top: type[Block], locator: Locator, base: Path = ()) -> list[Finding]:
    """What pydantic found, in plain words. `top` is the model that was validated, `base` where it stands in the file.

    A key that is missing only because it is misspelt is reported once.
    """
    found = [_finding(error, top, locator, base) for error in errors]
    guessed = {(*item.path[:-1], item.hint) for item in found if item.hint}
    return [item for item in found if (*item.path[:-1], _did_you_mean(str(item.path[-1]))) not in guessed]


def _finding(error: ErrorDetails, top: type[Block], locator: Locator, base: Path) -> Finding:
    loc = error["loc"]
    on_key = bool(loc) and loc[-1] == "[key]"
    path = (*base, *(part for part in loc if part != "[key]"))
    if error["type"] == "extra_forbidden":
        message, hint = f"unknown key `{shown(locator.origin(path))}`", _unknown(str(path[-1]), loc[:-1], top)
        return Finding(path, message, hint, on_key=True)
    name = shown(locator.origin(path))
    if error["type"] == "missing":
        return Finding(path, f"`{name}` is missing", _description(loc, top))
    if not on_key:
        path = _written(path, locator)
        name = shown(locator.origin(path)) or "the file"
    say = _SAYINGS.get(error["type"], _verbatim)
    message, hint = say(error, locator.place(path, on_key=on_key) or Place(0, 0))
    return Finding(path, f"`{name}` {message}", hint, on_key)


def _written(path: Path, locator: Locator) -> Path:
    """The part of a path that stands in the file; a command's text has no key `command` there."""
    while path and locator.origin(path) not in locator.document.values:
        path = path[:-1]
    return path


def _model_at(loc: Path, top: type[Block]) -> type[Block] | None:
    """The model that the value at `loc` is read by."""
    model: Any = top
    for part in loc:
        if isinstance(part, int):
            continue  # `_blocks_in` has already looked into the list
        if not (isinstance(model, type) and issubclass(model, Block)):
            model = _inner(model)
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            return None
        model = _blocks_in(fields[str(part)].annotation)
    return model if isinstance(model, type) and issubclass(model, Block) else None


def _inner(annotation: Any) -> Any:
    return _blocks_in(getattr(annotation, "__args__", (None,))[-1])


def _blocks_in(annotation: Any) -> Any:
    """`X` for `X | None` and `Annotated[X, ...]`; containers stay as they are, for the next step to look into."""
    if hasattr(annotation, "__metadata__"):
        return _blocks_in(annotation.__origin__)
    args = [arg for arg in getattr(annotation, "__args__", ()) if arg not in (type(None), Ellipsis)]
    if len(args) == 1:
        return _blocks_in(args[0])
    return annotation


def _unknown(key: str, loc: Path, top: type[Block]) -> str:
    if home := _home_of(key):
        return home
    model = _model_at(loc, top)
    known = [field.alias or name for name, field in model.model_fields.items() if name != "extensions"] if model else []
    if guess := nearest(key, known):
        return guess
    listed = f"known here: {', '.join(known)}; " if 0 < len(known) <= 12 else ""
    return f"{listed}notes of your own go under keys that start with `x-`"


def _home_of(key: str) -> str:
    """Where a misplaced key belongs, if it is one that another level of the file knows."""
    if key in ClusterConfig.model_fields:
        return f"`{key}` belongs at the top of the file"
    for name, field in ClusterConfig.model_fields.items():
        model = _blocks_in(field.annotation)
        if isinstance(model, type) and issubclass(model, Block) and key in model.model_fields:
            return f"`{key}` belongs below `{name}:`"
    return ""


def _description(loc: Path, top: type[Block]) -> str:
    model = _model_at(loc[:-1], top)
    field = model.model_fields.get(str(loc[-1])) if model else None
    return (field.description or "") if field else ""


def _quote_it(value: object, place: Place) -> str:
    """For a number, truth value or the like where text is wanted: YAML read it so, unless it is put in quotes."""
    if isinstance(value, str | list | dict | None) or not place.text:
        return ""
    return f'put it in quotes: "{place.text}"'


Saying = Callable[["ErrorDetails", Place], tuple[str, str]]


def _wrong_type(wanted: str) -> Saying:
    def say(error: ErrorDetails, place: Place) -> tuple[str, str]:
        value = error["input"]
        hint = ""
        if wanted == "text":
            hint = _quote_it(value, place)
        elif wanted == "a list" and isinstance(value, str):
            hint = "write it as a list with one item, on a line of its own that starts with `- `"
        elif isinstance(value, str) and not isinstance(_plain(value), str):
            hint = f"write {value} without quotes"
        return f"must be {wanted}, not {seen(value)}", hint

    return say


def _plain(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text.lower(), text)


def _limit(words: str, key: str) -> Saying:
    return lambda error, _: (f"must be {words} {error['ctx'][key]:g}, not {error['input']}", "")


def _choice(error: ErrorDetails, _: Place) -> tuple[str, str]:
    expected = str(error["ctx"]["expected"]).replace("'", "`")
    value = error["input"]
    guess = (
        nearest(value, [word.strip("`") for word in expected.replace(" or ", ", ").split(", ")])
        if isinstance(value, str)
        else ""
    )
    return f"must be {expected}, not {seen(value)}", guess


def _unfit(error: ErrorDetails, place: Place) -> tuple[str, str]:
    cause = error["ctx"]["error"]
    hint = cause.hint if isinstance(cause, Unfit) else ""
    return str(cause), hint or _quote_it(error["input"], place)


def _verbatim(error: ErrorDetails, _: Place) -> tuple[str, str]:
    return f"cannot be used: {error['msg']}", ""


_NUMBER = _wrong_type("a number")
_MAPPING = _wrong_type("a mapping (`key: value` lines)")
_SAYINGS: Mapping[str, Saying] = {
    "string_type": _wrong_type("text"),
    "int_type": _wrong_type("a whole number"),
    "int_from_float": _wrong_type("a whole number"),
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _wrong_type("true or false"),
    "tuple_type": _wrong_type("a list"),
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "greater_than": _limit("more than", "gt"),
    "greater_than_equal": _limit("at least", "ge"),
    "less_than_equal": _limit("at most", "le"),
    "literal_error": _choice,
    "value_error": _unfit,
}
