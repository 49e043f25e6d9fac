# SPDX-License-Identifier: Apache-2.0
"""The part of Ray's GCS protocol that rayctl speaks, built at run time.

The messages live in a descriptor pool of their own. So there is no generated code that wants one version of protobuf,
and no clash with Ray's descriptors of the same name when a process imports Ray too. Names and numbers are Ray's (those of
`src/ray/protobuf`); enums are read as int32, which is the same on the wire. A field that a newer Ray adds is passed
over, one that an older Ray lacks reads as its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE: Final = "rayctl.gcs"

PROTOCOL: Final = """
// Every Ray with a gRPC GCS
message CheckAliveReply           { string ray_version = 2; }
message GetClusterIdReply         { bytes cluster_id = 2; }
message InternalKVGetRequest      { bytes key = 1; bytes namespace = 2; }
message InternalKVGetReply        { bytes value = 2; }
message InternalKVPutRequest      { bytes key = 1; bytes value = 2; bool overwrite = 3; bytes namespace = 4; }
message InternalKVPutReply        { bool added = 2; }
message InternalKVDelRequest      { bytes key = 1; bytes namespace = 2; }
message InternalKVDelReply        { int32 deleted_num = 2; }

// Ray 2.6 and later: the autoscaler service
message GetClusterResourceStateReply { ClusterResourceState cluster_resource_state = 1; }
message ClusterResourceState {
  repeated NodeState node_states = 3;
  repeated ResourceRequestByCount pending_resource_requests = 4;
  repeated GangResourceRequest pending_gang_resource_requests = 5;
  repeated ClusterResourceConstraint cluster_resource_constraints = 6;
  string cluster_session_name = 7;
}
message NodeState {
  bytes node_id = 1;
  string instance_id = 2;
  string ray_node_type_name = 3;
  map<string, double> available_resources = 4;
  map<string, double> total_resources = 5;
  map<string, string> dynamic_labels = 6;
  int32 status = 8;
  int64 idle_duration_ms = 9;
  string node_ip_address = 10;
  map<string, string> labels = 13;
}
message ResourceRequestByCount    { ResourceRequest request = 1; int64 count = 2; }
message ResourceRequest {
  map<string, double> resources_bundle = 1;
  repeated LabelSelector label_selectors = 3;
}
message LabelSelector             { repeated LabelSelectorConstraint label_constraints = 1; }
message LabelSelectorConstraint   { string label_key = 1; int32 operator = 2; repeated string label_values = 3; }
message GangResourceRequest {
  repeated ResourceRequest requests = 1;
  string details = 2;
  repeated BundleSelector bundle_selectors = 3;
}
message BundleSelector            { repeated ResourceRequest resource_requests = 1; }
message ClusterResourceConstraint { repeated ResourceRequestByCount resource_requests = 1; }
message AutoscalingState {
  int64 autoscaler_state_version = 2;
  repeated PendingInstanceRequest pending_instance_requests = 3;
  repeated ResourceRequest infeasible_resource_requests = 4;
  repeated PendingInstance pending_instances = 7;
  repeated FailedInstanceRequest failed_instance_requests = 8;
}
message PendingInstanceRequest    { string ray_node_type_name = 2; int32 count = 3; int64 request_ts = 4; }
message PendingInstance {
  string ray_node_type_name = 2;
  string instance_id = 3;
  string ip_address = 4;
  string details = 5;
}
message FailedInstanceRequest {
  string ray_node_type_name = 2;
  int32 count = 3;
  string reason = 4;
  int64 start_ts = 5;
  int64 failed_ts = 6;
}
message ReportAutoscalingStateRequest { AutoscalingState autoscaling_state = 1; }
message ReportAutoscalingStateReply { }
message DrainNodeRequest {
  bytes node_id = 1;
  int32 reason = 2;
  string reason_message = 3;
  int64 deadline_timestamp_ms = 4;
}
message DrainNodeReply            { bool is_accepted = 1; string rejection_reason_message = 2; }
message RequestClusterResourceConstraintRequest { ClusterResourceConstraint cluster_resource_constraint = 1; }
message RequestClusterResourceConstraintReply { }
message ReportClusterConfigRequest { ClusterConfig cluster_config = 1; }
message ReportClusterConfigReply  { }
message ClusterConfig             { repeated NodeGroupConfig node_group_configs = 3; }
message NodeGroupConfig {
  map<string, uint64> resources = 1;
  uint32 min_count = 2;
  int32 max_count = 3;
  string name = 4;
}

// Ray 2.5 and before
message GetAllNodeInfoReply       { repeated GcsNodeInfo node_info_list = 2; }
message GcsNodeInfo {
  bytes node_id = 1;
  string node_manager_address = 2;
  int32 state = 7;
  map<string, double> resources_total = 11;
  string instance_id = 13;
  string node_type_name = 14;
  bool is_head_node = 25;
  map<string, string> labels = 26;
}
message GetAllResourceUsageReply  { ResourceUsageBatchData resource_usage_data = 2; }
message ResourceUsageBatchData {
  repeated ResourcesData batch = 1;
  ResourceLoad resource_load_by_shape = 2;
  PlacementGroupLoad placement_group_load = 3;
}
message ResourcesData {
  bytes node_id = 1;
  map<string, double> resources_available = 2;
  map<string, double> resources_total = 4;
  int64 idle_duration_ms = 15;
  bool is_draining = 16;
}
message ResourceLoad              { repeated ResourceDemand resource_demands = 1; }
message ResourceDemand {
  map<string, double> shape = 1;
  uint64 num_ready_requests_queued = 2;
  uint64 num_infeasible_requests_queued = 3;
  int64 backlog_size = 4;
}
message PlacementGroupLoad        { repeated PlacementGroupTableData placement_group_data = 1; }
message PlacementGroupTableData   { bytes placement_group_id = 1; repeated Bundle bundles = 3; int32 strategy = 4; }
message Bundle                    { map<string, double> unit_resources = 2; bytes node_id = 3; }
"""

_MESSAGE = re.compile(r"message (\w+)\s*\{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(repeated )?(?:map<(\w+), (\w+)>|(\w+)) (\w+) = (\d+);")
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "double": _Field.TYPE_DOUBLE,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "uint32": _Field.TYPE_UINT32,
    "int32": _Field.TYPE_INT32,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def file_descriptor() -> descriptor_pb2.FileDescriptorProto:
    """`PROTOCOL` as protobuf itself describes a file."""
    file = descriptor_pb2.FileDescriptorProto(name="rayctl/gcs.proto", package=PACKAGE, syntax="proto3")
    for name, body in _MESSAGE.findall(PROTOCOL):
        message = file.message_type.add(name=name)
        for repeated, key, value, type_name, field, number in _FIELD.findall(body):
            if key:
                type_name = f"{name}.{_add_map_entry(message, field, key, value)}"  # noqa: PLW2901
            _add_field(message, field, int(number), type_name, repeated=bool(repeated or key))
    return file


def _add_map_entry(message: descriptor_pb2.DescriptorProto, field: str, key: str, value: str) -> str:
    """A map is, on the wire and to protobuf, a repeated message of key and value; returns that message's name."""
    entry = message.nested_type.add(name=field.title().replace("_", "") + "Entry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, key)
    _add_field(entry, "value", 2, value)
    return entry.name


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, type_name: str, *, repeated: bool = False
) -> None:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if type_name in _SCALARS:
        field.type = _SCALARS[type_name]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{type_name}"


def _classes() -> Iterator[tuple[str, type[Message]]]:
    pool = descriptor_pool.DescriptorPool()
    file = file_descriptor()
    pool.AddSerializedFile(file.SerializeToString())
    for message in file.message_type:
        descriptor = pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}")
        yield message.name, message_factory.GetMessageClass(descriptor)


MESSAGES: Final[Mapping[str, type[Message]]] = dict(_classes())
"""The class of every message in `PROTOCOL`, by its name."""
