# SPDX-License-Identifier: Apache-2.0
"""A gRPC server on the loopback that answers as a Ray head would, from replies that a test puts in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from rayctl.gcs.messages import MESSAGES

STATE = "/ray.rpc.autoscaler.AutoscalerStateService/GetClusterResourceState"
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
CLUSTER_ID = "/ray.rpc.NodeInfoGcsService/GetClusterId"
INFOS = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"
USAGE = "/ray.rpc.NodeResourceInfoGcsService/GetAllResourceUsage"
KV = "/ray.rpc.InternalKVGcsService/InternalKVGet"

Answer = bytes | Callable[[bytes, grpc.ServicerContext], bytes]


def encoded(name: str, **fields: Any) -> bytes:
    """The message on the wire; dicts and lists of dicts stand for the messages inside it."""
    return MESSAGES[name](**fields).SerializeToString()


def state(**fields: Any) -> bytes:
    """A reply of the autoscaler service with these fields of `ClusterResourceState`."""
    return encoded("GetClusterResourceStateReply", cluster_resource_state=fields)


def kv(values: dict[tuple[bytes, bytes], bytes]) -> Answer:
    """The key-value store, by (namespace, key)."""

    def answer(request: bytes, _: grpc.ServicerContext) -> bytes:
        asked = MESSAGES["InternalKVGetRequest"].FromString(request)
        return encoded("InternalKVGetReply", value=values.get((asked.namespace, asked.key), b""))

    return answer


class FakeGcs(grpc.GenericRpcHandler):
    """Answers each method in `answers`; any other is UNIMPLEMENTED. `requests` keeps what was asked."""

    def __init__(self, answers: dict[str, Answer], token: str) -> None:
        self.answers = {KV: kv({}), **answers}
        self.token = token
        self.requests: list[tuple[str, bytes]] = []
        self.address = ""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """What grpc asks for each call."""
        answer = self.answers.get(call.method)
        if self.token and dict(call.invocation_metadata).get("authorization") != f"Bearer {self.token}":
            return grpc.unary_unary_rpc_method_handler(_refuse)
        if answer is None:
            return None

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.requests.append((call.method, request))
            return answer(request, context) if callable(answer) else answer

        return grpc.unary_unary_rpc_method_handler(handle)


def _refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
    raise AssertionError("abort raises")


@contextmanager
def serving(answers: dict[str, Answer], *, token: str = "", port: int = 0) -> Iterator[FakeGcs]:
    """A fake head on an ephemeral port, for the length of a `with` block."""
    fake = FakeGcs(answers, token)
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=(fake,), options=(("grpc.so_reuseport", 0),))
        fake.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        server.start()
        try:
            yield fake
        finally:
            server.stop(grace=None).wait()
