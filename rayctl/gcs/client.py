# SPDX-License-Identifier: Apache-2.0
"""Asking a running Ray head: one channel, a deadline on every call, errors that say what to do.

Requests go out empty on purpose. Ray's protocol lets a caller send the version that it saw last, and a head that
restarted since, so that its own count is below it, aborts. An empty request cannot do that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from google.protobuf.message import DecodeError

from rayctl.gcs import decode
from rayctl.gcs.errors import GcsError, GcsUnauthenticated, GcsUnavailable, GcsUnexpected
from rayctl.gcs.messages import MESSAGES
from rayctl.gcs.view import ClusterView, Demand, RayNode

TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.2


@contextmanager
def _quiet_grpc() -> Iterator[None]:
    """Keep grpc's C core, which asks its environment once at import, from printing what we report as errors anyway.

    The variable does not stay: commands that are run for the user inherit our environment.
    """
    if "GRPC_VERBOSITY" in os.environ:
        yield
        return
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        yield
    finally:
        del os.environ["GRPC_VERBOSITY"]


with _quiet_grpc():
    import grpc

_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
    # A head that comes up is seen within half a second; grpc's own back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # One client's failed connection must not slow down the next client's first.
    ("grpc.use_local_subchannel_pool", 1),
)
_STATE: Final = "autoscaler.AutoscalerStateService/GetClusterResourceState"
_KV_GET: Final = "InternalKVGcsService/InternalKVGet"


class _NotServed(GcsUnexpected):
    """The head is too old for this call, or no Ray head."""


class GcsClient:
    """A reader of the head at `address` ("host:port"); a context manager, for it holds a connection.

    Nothing is sent before the first question. Each question is one to three calls of at most `timeout_s` seconds each,
    and raises `GcsUnavailable`, `GcsUnauthenticated` or `GcsUnexpected`. `via` is where to connect to instead, such as
    `unix:/path` of a socket that leads to the address.
    """

    def __init__(self, address: str, *, token: str = "", timeout_s: float = TIMEOUT_S, via: str = "") -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {token.strip()}"),) if token.strip() else ()
        self._channel = grpc.insecure_channel(via or address, _OPTIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the client is of no use afterwards."""
        self._channel.close()

    def ray_version(self) -> str:
        """The version of Ray that the head runs, for instance "2.9.3"."""
        version: str = self._call("NodeInfoGcsService/CheckAlive").ray_version
        return version

    def cluster_id(self) -> str:
        """The hex identity of this run of the head, another one after a restart without Redis; "" on Ray 2.5 and before."""
        try:
            identity: bytes = self._call("NodeInfoGcsService/GetClusterId").cluster_id
        except _NotServed:
            return ""
        return identity.hex()

    def cluster(self, *, stored: bool = True) -> ClusterView:
        """Nodes and demand, all of one moment.

        `request_resources()` goes to the service or to the key-value store, by the mode that the head was started in; who
        knows that it does not go to the store leaves out what is `stored`.
        """
        try:
            view = decode.cluster_view(self._call(_STATE).cluster_resource_state)
        except _NotServed:
            return self._legacy_cluster()
        return view if view.requested or not stored else replace(view, requested=self._requested())

    def nodes(self, *, timeout_s: float | None = None) -> tuple[RayNode, ...]:
        """The nodes alone, for those who ask often."""
        try:
            return decode.cluster_view(self._call(_STATE, timeout_s=timeout_s).cluster_resource_state).nodes
        except _NotServed:
            return decode.legacy_nodes(self._infos(timeout_s), self._usage(timeout_s))

    def dashboard(self) -> tuple[str, int] | None:
        """Where the head's dashboard listens, as host and port; None while it does not."""
        host, _, port = self._kv(b"dashboard", b"dashboard").decode(errors="replace").rpartition(":")
        return (host.strip("[]"), int(port)) if host and port.isdecimal() else None

    def _legacy_cluster(self) -> ClusterView:
        session = self._kv(b"session_name", b"session").decode(errors="replace")
        return decode.legacy_view(self._infos(), self._usage(), session, self._requested())

    def _infos(self, timeout_s: float | None = None) -> Any:
        return self._call("NodeInfoGcsService/GetAllNodeInfo", timeout_s=timeout_s).node_info_list

    def _usage(self, timeout_s: float | None = None) -> Any:
        return self._call("NodeResourceInfoGcsService/GetAllResourceUsage", timeout_s=timeout_s).resource_usage_data

    def _requested(self) -> tuple[Demand, ...]:
        try:
            return decode.requested_bundles(self._kv(b"autoscaler_resource_request"))
        except ValueError as error:
            raise GcsUnexpected(self.address, f"its stored resource request cannot be read: {error}") from error

    def _kv(self, key: bytes, namespace: bytes = b"") -> bytes:
        """The value in the head's key-value store, empty when there is none."""
        request = MESSAGES["InternalKVGetRequest"](key=key, namespace=namespace)
        value: bytes = self._call(_KV_GET, request.SerializeToString()).value
        return value

    def _call(self, method: str, request: bytes = b"", *, timeout_s: float | None = None) -> Any:
        """The reply of one call; its message is named like the method."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        ask = self._channel.unary_unary(f"/ray.rpc.{method}")
        try:
            reply = ask(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._explained(error, method, timeout_s) from error
        try:
            return MESSAGES[f"{method.rpartition('/')[2]}Reply"].FromString(reply)
        except DecodeError as error:
            raise GcsUnexpected(self.address, f"its answer to {method} cannot be read") from error

    def _explained(self, error: Any, method: str, timeout_s: float) -> GcsError:
        code, details = error.code(), error.details() or ""
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                # grpc tells the whole way to the failure; its last words are the failure itself
                return GcsUnavailable(self.address, f"no connection ({details.rpartition(': ')[2]})")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return GcsUnavailable(self.address, f"no answer within {timeout_s:g} s")
            case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                sent = "refuses our token" if self._metadata else "wants a token, and we have none"
                return GcsUnauthenticated(self.address, sent)
            case grpc.StatusCode.UNIMPLEMENTED:
                return _NotServed(self.address, f"it has no call {method}")
        return GcsUnexpected(self.address, f"{method} failed with {code.name}: {details}")


def wait_for_nodes(
    address: str,
    wanted: Set[str],
    *,
    deadline_s: float,
    token: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    on_change: Callable[[int], None] = lambda _: None,
    via: str = "",
) -> tuple[RayNode, ...]:
    """Wait until Ray is alive on every node whose instance id is `wanted`, or `deadline_s` seconds have passed.

    Returns those that are alive, so fewer than wanted after a deadline. A head that does not answer counts as one
    without nodes; one that wants another token raises at once. `on_change` gets the count of joined nodes, from 0 up.
    """
    ends, count = clock() + deadline_s, 0
    with GcsClient(address, token=token, via=via) as client:
        while wanted:
            left = ends - clock()
            alive = _alive(client, wanted, min(TIMEOUT_S, max(left, POLL_S)))
            joined = len({node.instance_id for node in alive})
            if joined != count:
                count = joined
                on_change(count)
            if joined == len(wanted) or left <= 0:
                return alive
            sleep(min(POLL_S, left))
    return ()


def _alive(client: GcsClient, wanted: Set[str], timeout_s: float) -> tuple[RayNode, ...]:
    try:
        nodes = client.nodes(timeout_s=timeout_s)
    except GcsUnavailable:
        return ()
    return tuple(node for node in nodes if node.instance_id in wanted and node.state.alive)
