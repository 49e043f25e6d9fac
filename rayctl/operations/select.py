# SPDX-License-Identifier: Apache-2.0
"""Nodes by what people call them: by name or address, or for `--limit` by the terms that Ansible's own knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from rayctl.errors import UsageError
from rayctl.providers.base import Node
from rayctl.provision.inventory import groups_of


def select(nodes: Sequence[Node], pattern: str | None) -> list[Node]:
    """The nodes that a pattern names, all without one. Terms are names, groups or globs, split by `,` or `:`.

    `&term` keeps only what the term names too, `!term` leaves it out. Raises `UsageError` when nothing is left.
    """
    if pattern is None:
        return list(nodes)
    terms = [term.strip() for term in re.split(r"[,:]", pattern) if term.strip()]
    plain = [term for term in terms if term[0] not in "&!"]
    chosen = [node for node in nodes if (terms and not plain) or any(_names(term, node) for term in plain)]
    for term in terms:
        if term[0] in "&!":
            chosen = [node for node in chosen if _names(term[1:], node) == (term[0] == "&")]
    if not chosen:
        known = ", ".join(node.name for node in nodes[:10]) or "none yet"
        raise UsageError(f"--limit {pattern} names no node of this cluster (nodes: {known})")
    return chosen


def called(nodes: Sequence[Node], name: str) -> Node:
    """The node of this name or address. Raises `UsageError`."""
    for node in nodes:
        addresses = (node.addresses.internal, node.addresses.external) if node.addresses else ()
        if name in (node.name, *addresses):
            return node
    raise UsageError(f"{name} is no node of this cluster (nodes: {', '.join(node.name for node in nodes) or 'none'})")


def _names(term: str, node: Node) -> bool:
    return term in ("all", "*") or any(fnmatchcase(name, term) for name in (node.name, *groups_of(node)))
