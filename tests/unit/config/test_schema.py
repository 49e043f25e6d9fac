# SPDX-License-Identifier: Apache-2.0
"""The JSON schema says what the models say."""

import jsonschema
import pytest
import yaml

from rayctl.config.model import ClusterConfig
from rayctl.config.schema import json_schema

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def definitions():
    return [("file", SCHEMA), *((name, form) for name, form in SCHEMA["$defs"].items())]


def object_of(form):
    return next((part for part in form.get("anyOf", []) if part.get("type") == "object"), form)


def test_it_is_a_schema_of_the_2020_dialect():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["required"] == ["cluster_name", "provider"]


def test_every_key_has_a_description():
    for name, form in definitions():
        for key, settings in object_of(form)["properties"].items():
            referred = SCHEMA["$defs"].get(settings.get("$ref", "").rpartition("/")[2], {})
            assert settings.get("description") or referred.get("description"), f"{name}.{key}"


def test_every_mapping_of_ours_keeps_x_keys_and_rejects_others():
    for name, definition in definitions():
        form = object_of(definition)
        assert form["patternProperties"] == {"^x-": {}}, name
        if name not in ("ExternalProvider", "UncheckedProvider"):
            assert form["additionalProperties"] is False, name


@pytest.mark.parametrize(
    "key", ["head_node", "worker_nodes", "initial_workers", "autoscaling_mode", "target_utilization_fraction"]
)
def test_old_keys_are_deprecated_and_name_the_new_spelling(key):
    assert SCHEMA["properties"][key]["deprecated"] is True
    assert "write `" in SCHEMA["properties"][key]["description"]


def test_every_field_of_the_model_is_there_with_its_default():
    assert set(ClusterConfig.model_fields) - {"extensions"} <= set(SCHEMA["properties"])
    assert SCHEMA["properties"]["idle_timeout_minutes"]["default"] == 5.0


def test_fixtures_fit_the_schema(cluster_file):
    data = {key: value for key, value in yaml.safe_load(cluster_file.read_text()).items() if value is not None}
    data["provider"] = {key: value for key, value in data["provider"].items() if value is not None}
    assert [error.message for error in VALIDATOR.iter_errors(data) if "''" not in error.message] == []


@pytest.mark.parametrize("text", ["cluster_nam: c", "max_workers: two", "provider: {type: awss}", "auth: {ssh_prt: 1}"])
def test_what_is_wrong_does_not_fit(text):
    data = {"cluster_name": "c", "provider": {"type": "embedded"}} | yaml.safe_load(text)
    assert not VALIDATOR.is_valid(data)
