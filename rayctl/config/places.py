# SPDX-License-Identifier: Apache-2.0
"""YAML text -> plain data, and where in the text each piece of it stands.

The text is read event by event rather than by PyYAML's constructor, because that knows neither lines nor limits: here a
bomb of aliases is refused at the alias that makes it one, a tag that would build an object is an error with a line, and a
key given twice is a warning. What comes out goes to `legacy` and then to the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import AliasEvent, Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from rayctl.errors import ConfigError, Problem

MOST_BYTES = 4 << 20
MOST_VALUES = 50_000  # with every alias written out
DEEPEST = 64

Path = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = {"map", "seq"}
_SCALARS = {"null", "bool", "int", "float", "str", "timestamp", "value", "merge"}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OCTAL = re.compile(r"[-+]?0[0-7_]*[0-7]")
_ADVICE = (  # part of what PyYAML says -> what helps
    ("tab character", "YAML is indented with spaces, never with tabs"),
    ("mapping values are not allowed", "a value that holds `: ` must be in quotes; also look at the indentation of this line"),
    ("did not find expected key", "look at the indentation of this line and the one before it"),
    ("did not find expected ',' or", "a `[` or `{` is not closed, or a text that starts with one is not in quotes"),
    ("found unknown escape", "in double quotes a backslash must be doubled; in single quotes it stands for itself"),
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("cannot start any token", "a value that starts with this character must be in quotes"),
)


@dataclass(frozen=True)
class Place:
    """Where a key or value stands, counted from 1; for a scalar also its text, and whether it stands there unquoted."""

    line: int
    column: int
    text: str = ""
    plain: bool = False


@dataclass(frozen=True)
class Document:
    """The data of a cluster file with the place of every key and value, and what was odd about it."""

    data: dict[str, Any]
    keys: Mapping[Path, Place]
    values: Mapping[Path, Place]
    warnings: tuple[Problem, ...] = ()

    def surprises(self) -> Iterator[tuple[Path, str]]:
        """Numbers that YAML reads otherwise than people do: `010` is 8, `1:30` is 90."""
        for path, place in self.values.items():
            if place.plain and ":" in place.text:
                yield path, f"is `{place.text}`, which YAML reads as a number in base 60"
            elif place.plain and _OCTAL.fullmatch(place.text):
                yield path, f"is `{place.text}`, which YAML reads as octal: {int(place.text.replace('_', ''), 8)}"


def shown(path: Path) -> str:
    """A path as people write it: `auth.ssh_user`, `setup_commands[0]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def read(text: str, source: str) -> Document:
    """The mapping that a cluster file holds. Raises `ConfigError` for anything that is not plain data within the limits."""
    try:
        _refuse_unprintable(text)
        return _Reader(text).document()
    except _Refusal as refusal:
        raise ConfigError(source, (refusal.problem,)) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, (_syntax_problem(error),)) from None


class _Refusal(Exception):
    """One problem that makes the rest of the file unreadable."""

    def __init__(self, message: str, line: int, column: int, hint: str = "") -> None:
        self.problem = Problem("", message, line, column, hint)


@dataclass(frozen=True)
class _Scalar:
    place: Place
    value: Any
    tag: str
    size: int = 1


@dataclass(frozen=True)
class _List:
    place: Place
    items: list[_Tree]
    size: int


@dataclass(frozen=True)
class _Map:
    place: Place
    entries: dict[str, tuple[Place, _Tree]]
    size: int


_Tree = _Scalar | _List | _Map


@dataclass
class _Pairs:
    """The entries of one mapping while it is read; merged ones (`<<`) yield to those written in place."""

    written: dict[str, tuple[Place, _Tree]] = field(default_factory=dict)
    merged: dict[str, tuple[Place, _Tree]] = field(default_factory=dict)

    def merge(self, tree: _Tree) -> None:
        sources = tree.items if isinstance(tree, _List) else [tree]
        for source in sources:
            if not isinstance(source, _Map):
                raise _Refusal("`<<` can only merge a mapping, or a list of them", tree.place.line, tree.place.column)
            self.merged = source.entries | self.merged

    def all(self) -> dict[str, tuple[Place, _Tree]]:
        return self.merged | self.written


class _Reader:
    """One pass over the parser's events. Recursion is as deep as the text is nested, and that is limited."""

    def __init__(self, text: str) -> None:
        self._loader = _Loader(text)
        self._anchors: dict[str, _Tree | None] = {}  # None: still being read
        self._warnings: list[Problem] = []

    def document(self) -> Document:
        self._next()  # stream start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise _Refusal("the file is empty", 1, 1, "a cluster file holds at least `cluster_name:` and `provider:`")
        tree = self._tree(self._next(), ())
        self._next()  # document end
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            place = _place(after)
            raise _Refusal("a second YAML document begins here", place.line, place.column, "keep one cluster per file")
        if not isinstance(tree, _Map):
            what = "a list" if isinstance(tree, _List) else "a single value"
            raise _Refusal(f"the file holds {what}, not `key: value` lines", 1, 1, "begin with `cluster_name: NAME`")
        return _flat(tree, tuple(self._warnings))

    def _next(self) -> Event:
        return self._loader.get_event()  # type: ignore[no-any-return]

    def _tree(self, event: Event, path: Path) -> _Tree:
        place = _place(event)
        if len(path) > DEEPEST:
            raise _Refusal(f"nested deeper than {DEEPEST} levels", place.line, place.column)
        if isinstance(event, AliasEvent):
            return self._aliased(event.anchor or "", place)
        assert isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent)
        if event.anchor:
            self._anchors[event.anchor] = None
        tree = self._composed(event, place, path)
        if event.anchor:
            self._anchors[event.anchor] = tree
        return tree

    def _composed(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent, place: Place, path: Path) -> _Tree:
        if isinstance(event, ScalarEvent):
            return self._scalar(event, place)
        _safe_tag(event.tag, place, _COLLECTIONS)
        return self._list(place, path) if isinstance(event, SequenceStartEvent) else self._map(place, path)

    def _aliased(self, anchor: str, place: Place) -> _Tree:
        if anchor not in self._anchors:
            raise _Refusal(f"`*{anchor}` refers to nothing: no `&{anchor}` comes before it", place.line, place.column)
        tree = self._anchors[anchor]
        if tree is None:
            raise _Refusal(f"`*{anchor}` refers to the very thing it stands in", place.line, place.column)
        return tree

    def _scalar(self, event: ScalarEvent, place: Place) -> _Scalar:
        tag = _safe_tag(event.tag, place, _SCALARS)
        if not tag:
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit).removeprefix(_TAG)
        if tag not in {"null", "bool", "int", "float"}:
            return _Scalar(place, event.value, tag)
        node = yaml.ScalarNode(f"{_TAG}{tag}", event.value)
        try:
            value = getattr(self._loader, f"construct_yaml_{tag}")(node)
        except (ValueError, KeyError, OverflowError):
            raise _Refusal(f"`{event.value[:40]}` is no {tag} that can be read", place.line, place.column) from None
        if isinstance(value, float) and value - value != 0:  # an infinity or not a number
            raise _Refusal(f"`{event.value}` is no finite number", place.line, place.column)
        return _Scalar(Place(place.line, place.column, event.value, not event.style), value, tag)

    def _list(self, place: Place, path: Path) -> _List:
        items: list[_Tree] = []
        size = 1
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(tree := self._tree(event, (*path, len(items))))
            size += tree.size
            _refuse_bomb(size, _place(event))
        return _List(place, items, size)

    def _map(self, place: Place, path: Path) -> _Map:
        pairs, size = _Pairs(), 1
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            name = key.value if isinstance(key.value, str) else key.place.text
            event = self._next()
            tree = self._tree(event, (*path, name))
            size += tree.size + 1
            _refuse_bomb(size, _place(event))
            if key.tag == "merge":
                pairs.merge(tree)
                continue
            if name in pairs.written:
                self._warn_twice((*path, name), pairs.written.pop(name)[0], key.place)
            pairs.written[name] = (key.place, tree)
        return _Map(place, pairs.all(), size)

    def _key(self, event: Event, path: Path) -> _Scalar:
        """A key is always text, as written: `no:` and `1:` mean "no" and "1", not false and a number."""
        tree = self._tree(event, path)
        if isinstance(tree, _Scalar):
            return tree
        hint = "a text that starts with `{` or `[` must be in quotes"
        raise _Refusal("a mapping or list cannot be a key", tree.place.line, tree.place.column, hint)

    def _warn_twice(self, path: Path, first: Place, second: Place) -> None:
        message = f"`{shown(path)}` is given twice, in lines {first.line} and {second.line}; the last one counts"
        self._warnings.append(Problem(shown(path), message, second.line, second.column, f"delete line {first.line}"))


def _flat(tree: _Map, warnings: tuple[Problem, ...]) -> Document:
    keys: dict[Path, Place] = {}
    values: dict[Path, Place] = {}

    def data(tree: _Tree, path: Path) -> Any:
        values[path] = tree.place
        if isinstance(tree, _Scalar):
            return tree.value
        if isinstance(tree, _List):
            return [data(item, (*path, index)) for index, item in enumerate(tree.items)]
        for name, (place, _) in tree.entries.items():
            keys[*path, name] = place
        return {name: data(value, (*path, name)) for name, (_, value) in tree.entries.items()}

    return Document(data(tree, ()), keys, values, warnings)


def _place(event: Event) -> Place:
    mark = event.start_mark
    assert mark is not None  # every event of a parser has one
    return Place(mark.line + 1, mark.column + 1)


def _safe_tag(tag: str | None, place: Place, known: set[str]) -> str:
    """The short name of an explicit tag, "" where there is none."""
    if tag is None or tag == "!":
        return "str" if tag and "str" in known else ""
    short = tag.removeprefix(_TAG)
    if short in known:
        return short
    hint = "a cluster file is plain data: text, numbers, true and false, lists and mappings; remove the tag"
    raise _Refusal(f"the tag `{'!!' + short if tag.startswith(_TAG) else tag}` is not allowed", place.line, place.column, hint)


def _refuse_bomb(size: int, place: Place) -> None:
    if size > MOST_VALUES:
        hint = "aliases (`*name`) count as what they stand for; keep large data in files of its own"
        raise _Refusal(f"the file holds more than {MOST_VALUES:,} values here", place.line, place.column, hint)


def _refuse_unprintable(text: str) -> None:
    if found := _UNPRINTABLE.search(text):
        before = text[: found.start()]
        column = found.start() - before.rfind("\n")
        raise _Refusal(f"the character U+{ord(found[0]):04X} is not allowed in YAML", before.count("\n") + 1, column)


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    said = error.problem or "it cannot be read"
    hint = next((advice for part, advice in _ADVICE if part in said), "")
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem("", f"this is no valid YAML: {said}", line, column, hint)
