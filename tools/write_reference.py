# SPDX-License-Identifier: Apache-2.0
"""Write the parts of the documentation that are made from the code: below the line `MARK` of each page, what is above stays.

    docs/cluster-file.md    every key, from the JSON schema, so from the model
    docs/commands.md        every command's --help
    docs/roles.md           roles from their argument_specs; modules and the inventory plugin from their documentation

Run it after a change of one of these; a test compares.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from rayctl.cli.main import cli
from rayctl.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- below this line the page is written by tools/write_reference.py -->\n"
PLUGINS = ("modules/cluster", "modules/node", "modules/exec", "modules/scaler")
ROLES = ("ray_node", "ray_head", "ray_worker", "ray_scaler")
MARKUP = re.compile(r"[CMPOV]\(([^)#]+)(?:#\w+)?\)")  # Ansible's, for what stands in fixed width


def pages() -> dict[Path, str]:
    """Each page as it should be."""
    makers: dict[str, Callable[[], str]] = {"cluster-file": _cluster_file, "commands": _commands, "roles": _roles}
    found = {}
    for name, make in makers.items():
        page = ROOT / "docs" / f"{name}.md"
        above, _, _ = page.read_text().partition(MARK)
        found[page] = f"{above}{MARK}\n{make().rstrip()}\n"
    return found


# ---- cluster file
def _cluster_file() -> str:
    schema = json_schema()
    definitions: dict[str, Any] = schema["$defs"]
    providers = [_name(ref) for ref in schema["properties"]["provider"]["oneOf"]]
    current = {key: form for key, form in schema["properties"].items() if not form.get("deprecated")}
    old = {key: form for key, form in schema["properties"].items() if form.get("deprecated")}
    blocks = [name for name in definitions if name not in providers and name not in _used_by(providers, definitions)]
    shared = {key: definitions["LocalProvider"]["properties"][key] for key in _shared(providers, definitions)}
    current["auth"] = {**current["auth"], "description": definitions["Auth"]["description"]}
    parts = ["## The file", _keys(current, schema.get("required", ()))]
    parts += [part for name in blocks for part in _block(name, definitions[name])]
    parts += ["## provider: every type", "These keys are known to all types that are checked.\n", _keys(shared, ["type"])]
    for name in providers:
        parts += _provider(name, definitions, shared)
    parts += ["## Old spellings", "They are read, and the new spelling is told.\n", _old(old)]
    return "\n\n".join(parts)


def _shared(providers: Iterable[str], definitions: Mapping[str, Any]) -> list[str]:
    closed = [definitions[name]["properties"] for name in providers if len(definitions[name]["properties"]) > 8]
    return [key for key in closed[0] if all(key in properties for properties in closed)]


def _provider(name: str, definitions: Mapping[str, Any], shared: Mapping[str, Any]) -> list[str]:
    form = definitions[name]
    kind = form["properties"]["type"]
    types = [kind["const"]] if "const" in kind else kind["enum"]
    own = {key: value for key, value in form["properties"].items() if key not in shared and key != "type"}
    parts = [f"## provider: {', '.join(types)}", form["description"]]
    parts += [_keys(own, form.get("required", ()))] if own else []
    return parts + [part for block in _used_by([name], definitions) for part in _block(block, definitions[block])]


def _block(name: str, form: Mapping[str, Any]) -> list[str]:
    mapping = next((choice for choice in form.get("anyOf", ()) if "properties" in choice), form)
    return [f"### {name}", form.get("description", ""), _keys(mapping["properties"], mapping.get("required", ()))]


def _used_by(names: Iterable[str], definitions: Mapping[str, Any]) -> list[str]:
    """The blocks that only these definitions lead to, whatever lies between."""
    found: list[str] = []
    waiting = list(names)
    while waiting:
        for name in map(_name, _references(definitions[waiting.pop(0)])):
            if name not in found:
                found.append(name)
                waiting.append(name)
    return found


def _references(form: Any) -> list[Mapping[str, Any]]:
    if isinstance(form, Mapping):
        return ([form] if "$ref" in form else []) + [found for value in form.values() for found in _references(value)]
    return [found for value in form for found in _references(value)] if isinstance(form, list) else []


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _keys(properties: Mapping[str, Any], required: Iterable[str]) -> str:
    rows = []
    for key, form in properties.items():
        default = "**required**" if key in required else _value(form.get("default"))
        rows.append((f"`{key}`", _type(form), default, _one_line(form.get("description", ""))))
    return _table(("Key", "Type", "Default", "Meaning"), rows)


def _type(form: Mapping[str, Any]) -> str:
    if "$ref" in form:
        return f"[{_name(form)}](#{_name(form).lower()})"
    if values := [form["const"]] if "const" in form else form.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    if choices := form.get("anyOf") or form.get("oneOf"):
        return "see below" if len(choices) > 4 else " or ".join(dict.fromkeys(map(_type, choices)))
    if form.get("type") == "array":
        return f"list of {_type(form.get('items', {}))}"
    if isinstance(inner := form.get("additionalProperties"), Mapping):
        return f"mapping to {_type(inner)}"
    return {"object": "mapping"}.get(form.get("type", ""), form.get("type", "any"))


def _value(default: Any) -> str:
    """A default as it would be written; nothing where it is nothing."""
    if default in (None, [], {}, ""):
        return ""
    text = default if isinstance(default, str) else yaml.safe_dump(default, default_flow_style=True).splitlines()[0]
    return f"`{text}`"


def _old(properties: Mapping[str, Any]) -> str:
    rows = [(f"`{key}`", form["description"].removeprefix("Old spelling: ")) for key, form in properties.items()]
    return _table(("Key", "Now"), rows)


# ---- commands
def _commands() -> str:
    parts = []
    for name in cli.list_commands(None):  # type: ignore[arg-type]
        text = CliRunner(env={"COLUMNS": "100"}).invoke(cli, [name, "--help"], prog_name="rayctl", terminal_width=100).output
        parts.append(f"## {name}\n\n```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


# ---- roles
def _roles() -> str:
    parts = []
    for role in ROLES:
        spec = _yaml(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
        defaults = _yaml(ROOT / "roles" / role / "defaults" / "main.yml") or {}
        parts += [f"## Role rayctl.ray.{role}", *_described(spec, defaults)]
    for path in PLUGINS:
        document = _documentation(ROOT / "plugins" / f"{path}.py")
        parts += [f"## Module rayctl.ray.{document['module']}", *_described(document, {})]
    document = _documentation(ROOT / "inventory_plugins" / "rayctl.py")
    return "\n\n".join([*parts, "## Inventory plugin rayctl.ray.rayctl", *_described(document, {})])


def _described(spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    text = spec.get("description") or []
    lines = [f"{spec['short_description']}.", *([text] if isinstance(text, str) else text)]
    rows = []
    for name, form in spec.get("options", {}).items():
        default = "**required**" if form.get("required") else _value(form.get("default", defaults.get(name)))
        rows.append((f"`{name}`", _option_type(form), default, _markdown(form["description"])))
    return [
        "\n".join(map(_markdown, lines)),
        _table(("Variable" if defaults else "Option", "Type", "Default", "Meaning"), rows),
    ]


def _option_type(form: Mapping[str, Any]) -> str:
    kind = f"list of {form['elements']}" if form.get("type") == "list" and "elements" in form else form.get("type", "str")
    return f"{kind}: {', '.join(f'`{choice}`' for choice in form['choices'])}" if "choices" in form else str(kind)


def _markdown(text: str | list[str]) -> str:
    return MARKUP.sub(r"`\1`", _one_line(text if isinstance(text, str) else " ".join(text)))


def _documentation(path: Path) -> dict[str, Any]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "DOCUMENTATION":
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(statement.value))
            return found
    raise LookupError(f"{path} has no DOCUMENTATION")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# ---- tables
def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text)
