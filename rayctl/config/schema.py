# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of a cluster file (draft 2020-12), for editors and for the reference documentation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from rayctl.config.legacy import SCALER_KEYS
from rayctl.config.model import EXTENSIONS, Block, ClusterConfig, ProviderBlock
from rayctl.config.provider import TYPES, block_of

_OLD: dict[str, tuple[dict[str, Any], str]] = {
    "head_node": ({"type": "object"}, "write `available_node_types: {head: {node_config: ...}}`"),
    "worker_nodes": ({"type": "object"}, "write `available_node_types: {worker: {node_config: ...}}`"),
    "worker_default_node_type": ({"type": "string"}, "delete it; every node type is launched when it is asked for"),
}

Model = tuple[type[BaseModel], Literal["validation"]]


def json_schema() -> dict[str, Any]:
    """Every key with its description and default; old spellings are marked deprecated and name the new one."""
    blocks = list(dict.fromkeys(filter(None, map(block_of, TYPES))))
    models: list[Model] = [(ClusterConfig, "validation"), *((block, "validation") for block in blocks)]
    _, schema = models_json_schema(models, schema_generator=_Generator, ref_template="#/$defs/{model}")
    definitions = schema["$defs"]
    top = definitions.pop("ClusterConfig")
    definitions.pop("ProviderBlock", None)
    top["properties"]["provider"] = {
        "description": ClusterConfig.model_fields["provider"].description,
        "oneOf": [{"$ref": f"#/$defs/{block.__name__}"} for block in blocks],
    }
    top["properties"] |= {key: _deprecated(form, hint) for key, (form, hint) in _OLD.items()}
    scaler = definitions["Scaler"]["properties"]
    top["properties"] |= {key: _deprecated(scaler[key], f"write `scaler: {{{key}: ...}}`") for key in SCALER_KEYS}
    top |= {"title": "Ray cluster file", "description": "What `rayctl` and `ray up` make a Ray cluster from."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": definitions}


def _deprecated(form: dict[str, Any], hint: str) -> dict[str, Any]:
    kept = {key: value for key, value in form.items() if key != "default"}
    return kept | {"deprecated": True, "description": f"Old spelling: {hint}."}


class _Generator(GenerateJsonSchema):
    """Adds to pydantic's generator what the models do before validation: `x-` keys, bare texts, keys without a value."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        form = super().model_schema(schema)
        form.pop("title", None)
        form["patternProperties"] = {"^x-": {}}
        form["properties"].pop(EXTENSIONS, None)
        for settings in form["properties"].values():
            settings.pop("title", None)
        model = schema["cls"]
        if issubclass(model, ProviderBlock):
            form["properties"]["type"]["description"] = ProviderBlock.model_fields["type"].description
        if issubclass(model, Block) and model.short_form:
            return {"description": form.pop("description", ""), "anyOf": [{"type": "string"}, form]}
        return form

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        """A key without a value is allowed everywhere and means the default; saying so at each key would only be noise."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        if schema.get("default") is None or isinstance(schema["default"], BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
