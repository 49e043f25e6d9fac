# SPDX-License-Identifier: Apache-2.0
"""The floor on hosts: one bare ssh per host, all at once, each running one script of the same commands.

Every command runs in a login shell of its own in a session of its own, with the environment and the files that rayctl's
runner gives it. What a floor leaves out is what it is there to weigh: claims, keys, checks, state, locks, events, Ansible.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from bench.hosts.joining import until_joined
from bench.hosts.place import PORT, Cluster
from bench.pairs import Child, Sample
from rayctl.node import ports, processes
from rayctl.node.steps import login_shell
from rayctl.providers.base import Kind, Node
from rayctl.provision.deployment import Deployment
from rayctl.provision.nodeplan import Options, plan_of
from rayctl.transport.remote import remote

FOLDER = "/tmp/floor"
LOOK_S = 0.05


def bring_up(cluster: Cluster) -> Sample:
    """The start commands of rayctl's plans, over connections that are not there yet. Workers wait for the head's port."""
    scripts = _start_scripts(cluster)
    return until_joined(cluster, [[*cluster.bare_ssh(host), remote(scripts[host.name])] for host in cluster.hosts])


def set_up(cluster: Cluster, commands: Sequence[str]) -> Sample:
    """These commands on all hosts, over rayctl's own masters."""
    script = remote(_script({}, commands))
    return all_at_once([[*cluster.ssh(host), script] for host in cluster.hosts])


def all_at_once(commands: Sequence[Sequence[str]]) -> Sample:
    """Start these, and wait for the last one's end. Raises `RunFailed`."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(argv)) for argv in commands]
        ends = [child.finish() for child in children]
    last = max(child.began + end.seconds for child, end in zip(children, ends, strict=True))
    return Sample(last - children[0].began, sum(end.cpu_s for end in ends), 0.0, children[0].load)


def _start_scripts(cluster: Cluster) -> dict[str, str]:
    """How Ray is started on each host, by its name."""
    deployment = Deployment.load(cluster.file, {})
    return {node.name: _start_script(deployment, node, cluster.hosts[0].ip) for node in deployment.nodes}


def _start_script(deployment: Deployment, node: Node, head: str) -> str:
    plan = plan_of(deployment, node, {}, Options())
    ray = plan["ray"]
    commands = [command["command"] for command in ray["commands"]]
    known = {"RAY_HEAD_IP": head, "RAY_HEAD_ADDRESS": f"{head}:{PORT}"} if node.kind is Kind.WORKER else {}
    # on a new host all ports are free, so the preferred ones are those that a node takes
    flags = {"RAYCTL_RAY_FLAGS": ports.flags(ray["preferred_ports"]), processes.RAY: f"{deployment.cluster_id}/{node.name}"}
    return _script({**plan["env"], **ray["env"], **known, **flags}, commands, _wait_for(head) if known else "")


def _wait_for(head: str) -> str:
    connect = f"exec 3<>/dev/tcp/{head}/{PORT}"
    return f"until /bin/bash -c {shlex.quote(connect)} 2>/dev/null; do sleep {LOOK_S}; done\n"


def _script(env: Mapping[str, Any], commands: Sequence[str], first: str = "") -> str:
    """The script of one host; it ends with the first command that fails."""
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in env.items())
    return f"mkdir -p {FOLDER}\n{exports}{first}{''.join(map(_step, range(len(commands)), commands))}"


def _step(number: int, command: str) -> str:
    """One command. Its output goes to a file, or what it leaves in the background would hold the connection."""
    file = f"{FOLDER}/{number}.sh"
    shell = shlex.join(login_shell(file, f"{file}.begun"))
    failed = f"{{ tail -n 3 {file}.log >&2; exit 1; }}"
    return f"printf '%s\\n' {shlex.quote(command)} >{file}\nsetsid {shell} </dev/null >{file}.log 2>&1 || {failed}\n"
