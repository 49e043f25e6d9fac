# SPDX-License-Identifier: Apache-2.0
"""What a controller may ask of a node in one line and get answered in one line.

{op: "probe", state_dir, mark}               what this node remembers, and whether its Ray lives
{op: "cancel", state_dir}                    end the runner of this node
{op: "claim", state_dir, claim {...}}        take this host (`claim.Request`), or hear who has it: `held`
{op: "release", state_dir, cluster_id}       end what is ours here and free the host; `left` are processes that do not end
{op: "stop_ray", state_dir, mark}            end this node's own Ray; `left` are processes that do not end
{op: "set_tags", state_dir, cluster_id, tags}
{op: "lease_read", state_dir}                the cluster's lease, which lies on its head
{op: "lease_set", state_dir, expected, lease}
{op: "token", state_dir}                     the cluster's Ray token, for a controller that has none
"""

from __future__ import annotations

from typing import Callable, Dict

from . import claim, claims, control, handover, lease, leaving, probe, processes, state
from .wire import Message, failed


def answer(request: Message) -> Message:
    """The reply to a request, also to one that fails."""
    try:
        return dict(ANSWERS[request["op"]](request), event="done")
    except state.NodeError as e:
        return failed(str(e))
    except (KeyError, TypeError) as e:
        return failed("the node does not understand %r: %s: %s" % (request.get("op"), type(e).__name__, e))


def _probe(request: Message) -> Message:
    return probe.look(request["state_dir"], request["mark"])


def _cancel(request: Message) -> Message:
    return {"stopped": control.stop_runner(request["state_dir"])}


def _claim(request: Message) -> Message:
    wanted = claim.Request(**dict({"resources": {}, "labels": {}, "tags": {}}, **request["claim"]))
    got = claim.take(request["state_dir"], wanted, claims.PLACE)
    if isinstance(got, claim.Held):
        whose = {key: getattr(got.claim, key) for key in ("cluster", "cluster_id", "node", "node_kind", "owner", "uid")}
        return {"held": dict(whose, user=got.user, remaining_s=got.remaining_s)}
    remaining_s = claims.remaining_s(got, processes.boot_id(), processes.uptime())
    return {"cluster_id": got.cluster_id, "generation": got.generation, "expires": got.expires, "remaining_s": remaining_s}


def _release(request: Message) -> Message:
    left = leaving.release(request["state_dir"], request["cluster_id"], claims.PLACE)
    return {"left": left or [], "released": left == []}


def _stop_ray(request: Message) -> Message:
    return {"left": ["%s (pid %d)" % (process.name, process.pid) for process in processes.stop(request["mark"])]}


def _set_tags(request: Message) -> Message:
    claim.set_tags(request["state_dir"], request["cluster_id"], request["tags"], claims.PLACE)
    return {}


def _lease_read(request: Message) -> Message:
    return lease.read(state.folder_of(request["state_dir"]))._asdict()


def _lease_set(request: Message) -> Message:
    stored = lease.compare_and_set(state.folder_of(request["state_dir"]), request["expected"], request["lease"])
    return {"stored": stored}


def _token(request: Message) -> Message:
    return {"token": handover.read_token(request["state_dir"])}


ANSWERS: Dict[str, Callable[[Message], Message]] = {
    "probe": _probe,
    "cancel": _cancel,
    "claim": _claim,
    "release": _release,
    "stop_ray": _stop_ray,
    "set_tags": _set_tags,
    "lease_read": _lease_read,
    "lease_set": _lease_set,
    "token": _token,
}
