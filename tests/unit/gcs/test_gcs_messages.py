# SPDX-License-Identifier: Apache-2.0
"""The spoken part of the protocol is Ray's, and stands beside Ray's own in one process."""

import ast
import importlib.util
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from rayctl.gcs import messages

Field = descriptor_pb2.FieldDescriptorProto
Shape = tuple[int, int, bool, str]


def _fields(message: descriptor_pb2.DescriptorProto) -> dict[str, Shape]:
    """By name: number, type, whether it repeats, and the short name of the message in it."""
    kinds = {Field.TYPE_ENUM: Field.TYPE_INT32}  # the same on the wire
    return {
        f.name: (
            f.number,
            kinds.get(f.type, f.type),
            f.label == Field.LABEL_REPEATED,
            f.type_name.rpartition(".")[2] if f.type == Field.TYPE_MESSAGE else "",
        )
        for f in message.field
    }


def _rays_own() -> dict[str, list[dict[str, Shape]]]:
    """Every message of the installed Ray, read from its generated code without importing it."""
    spec = importlib.util.find_spec("ray")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no Ray installed to compare with")
    found: dict[str, list[dict[str, Shape]]] = {}

    def add(message: descriptor_pb2.DescriptorProto, prefix: str = "") -> None:
        found.setdefault(prefix + message.name, []).append(_fields(message))
        for nested in message.nested_type:
            add(nested, f"{prefix}{message.name}.")

    generated = Path(spec.submodule_search_locations[0], "core/generated")
    for name in ("autoscaler", "common", "gcs", "gcs_service"):
        for call in ast.walk(ast.parse((generated / f"{name}_pb2.py").read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "AddSerializedFile":
                for message in descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(call.args[0])).message_type:
                    add(message)
    return found


def test_every_field_is_numbered_and_typed_as_in_the_installed_ray():
    theirs = _rays_own()
    for message in messages.file_descriptor().message_type:
        for ours in (message, *message.nested_type):
            name = ours.name if ours is message else f"{message.name}.{ours.name}"
            assert any(_fields(ours).items() <= fields.items() for fields in theirs[name]), name


def test_every_line_of_the_protocol_became_a_message_or_a_field():
    built = messages.file_descriptor().message_type
    assert len(built) == messages.PROTOCOL.count("\nmessage ")
    assert sum(len(message.field) for message in built) == messages.PROTOCOL.count(" = ")


def test_messages_stay_out_of_the_pool_that_ray_uses():
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(f"{messages.PACKAGE}.NodeState")


def test_fields_of_a_newer_ray_are_passed_over():
    newer = b"\xf8\x3e\x01" + messages.MESSAGES["CheckAliveReply"](ray_version="9.0.0").SerializeToString()
    assert messages.MESSAGES["CheckAliveReply"].FromString(newer).ray_version == "9.0.0"


@given(st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False)), st.text(), st.binary(max_size=28))
def test_a_node_survives_the_wire(resources, instance_id, node_id):
    node = messages.MESSAGES["NodeState"](node_id=node_id, instance_id=instance_id, total_resources=resources)
    again = messages.MESSAGES["NodeState"].FromString(node.SerializeToString())
    assert (dict(again.total_resources), again.instance_id, again.node_id) == (resources, instance_id, node_id)
