# SPDX-License-Identifier: Apache-2.0
"""What the commands do, for programs: the calls of `ray.autoscaler.sdk`, typed, and what rayctl has beyond them.

    from rayctl import api

    api.create_or_update_cluster("cluster.yaml")
    print(api.run_on_cluster("cluster.yaml", cmd="ray status", with_output=True))
    api.teardown_cluster("cluster.yaml")

A cluster is given as its file, as the name of one that this machine has met, or as a mapping with a file's keys, whose
relative local paths count from the current folder. Nobody is asked anything. `on_event` hears all events (`rayctl.events`).
Every call raises `rayctl.errors.RayctlError`, the subclass saying which kind; `NodesFailed` carries what failed on each node.

Ray's calls that are not here: `request_resources` is a call to a running Ray, so Ray's own is the one to use;
`configure_logging` and `register_callback_handler` have their place taken by `on_event`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from rayctl.config.load import expand_local, parse
from rayctl.errors import RayctlError
from rayctl.events import Event, Sink
from rayctl.operations import down as ending
from rayctl.operations import everywhere, sync
from rayctl.operations import exec as running
from rayctl.operations import status as looking
from rayctl.operations import up as bringing
from rayctl.operations.down import DownOptions, DownResult
from rayctl.operations.exec import RunOptions
from rayctl.operations.lifetime import ended_afterwards
from rayctl.operations.machines import the_head
from rayctl.operations.opened import Listeners, opened
from rayctl.operations.proposal import Proposal
from rayctl.operations.session import Session
from rayctl.operations.status import ClusterStatus
from rayctl.operations.up import UpOptions, UpResult
from rayctl.operations.windows import Window
from rayctl.state import paths, private
from rayctl.transport.ports import Forward

ClusterConfig = Mapping[str, Any] | str | Path
OnEvent = Callable[[Event], None]
FROM_PYTHON = "from-python.yaml"  # in the cluster's folder on this controller

__all__ = [
    "CommandFailed", "bootstrap_config", "create_or_update_cluster", "fillout_defaults", "get_head_node_ip",
    "get_worker_node_ips", "plan", "rsync", "run_on_cluster", "status", "teardown_cluster",
]  # fmt: skip


class CommandFailed(RayctlError):
    """Seen when a command ran, and ended with another exit code than 0: `code`."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"the command ended with exit code {code}")
        self.code, self.output = code, output


def create_or_update_cluster(
    cluster_config: ClusterConfig,
    *,
    no_restart: bool = False,
    restart_only: bool = False,
    no_config_cache: bool = False,
    limit: str | None = None,
    on_event: OnEvent | None = None,
) -> UpResult:
    """Bring a cluster up, or to what its configuration says now, workers included. `no_config_cache`: there is none."""
    del no_config_cache
    with _session("up", cluster_config, on_event) as session:
        return bringing.up(session, _options(no_restart, restart_only, limit), _agreed)


def plan(
    cluster_config: ClusterConfig, *, no_restart: bool = False, restart_only: bool = False, limit: str | None = None
) -> Proposal:
    """What `create_or_update_cluster` would do to each node, and why; nothing is touched."""
    with _session("plan", cluster_config, None) as session:
        return bringing.propose(session, _options(no_restart, restart_only, limit))


def _options(no_restart: bool, restart_only: bool, limit: str | None) -> UpOptions:
    return UpOptions(restart="never" if no_restart else "auto", restart_only=restart_only, limit=limit)


def teardown_cluster(
    cluster_config: ClusterConfig,
    workers_only: bool = False,
    keep_min_workers: bool = False,
    *,
    on_event: OnEvent | None = None,
) -> DownResult:
    """End a cluster, or its workers, and make sure that they are gone."""
    with _session("down", cluster_config, on_event) as session:
        return ending.down(session, DownOptions(workers_only, keep_min_workers), _agreed)


def run_on_cluster(
    cluster_config: ClusterConfig,
    *,
    cmd: str,
    run_env: str = "auto",
    tmux: bool = False,
    stop: bool = False,
    no_config_cache: bool = False,
    port_forward: int | Sequence[int] | None = None,
    with_output: bool = False,
    on_event: OnEvent | None = None,
) -> str:
    """Run a shell command on the head, to its end; what it printed on stdout if `with_output`, else that goes to ours.

    `stop` ends the cluster afterwards, also when the command failed. Raises `CommandFailed`.
    """
    del no_config_cache
    ports = [port_forward] if isinstance(port_forward, int) else port_forward or ()
    options = RunOptions(tuple(Forward(port, port) for port in ports), Window.TMUX if tmux else None, run_env=run_env)
    afterwards = ended_afterwards(lambda: teardown_cluster(cluster_config, on_event=on_event)) if stop else nullcontext()
    with afterwards, _session("exec", cluster_config, on_event, head_only=True) as session:
        return _run(session, cmd, options, with_output=with_output)


def _run(session: Session, cmd: str, options: RunOptions, *, with_output: bool) -> str:
    if not with_output:
        code, output = running.run(session, cmd, options), ""
    else:
        answer = everywhere.captured(session, cmd, options)
        code, output = answer.exit_code, answer.stdout.read_text(errors="replace")
    session.exit_code = code
    if code:
        raise CommandFailed(code, output)
    return output


def rsync(
    cluster_config: ClusterConfig,
    *,
    source: str | None = None,
    target: str | None = None,
    down: bool = False,
    all_nodes: bool = False,
    no_config_cache: bool = False,
) -> None:
    """Copy files to the head or to all nodes, or `down` from the head; without paths, all file mounts."""
    del no_config_cache
    with _session("rsync-down" if down else "rsync-up", cluster_config, None, head_only=not all_nodes) as session:
        if down:
            sync.down(session, source or "", target or "")
        else:
            sync.up(session, source or "", target or "", all_nodes=all_nodes)


def get_head_node_ip(cluster_config: ClusterConfig, *, cluster_name: str | None = None) -> str:
    """The head's address."""
    with _session("get-head-ip", cluster_config, None, head_only=True, name=cluster_name) as session:
        addresses = the_head(session).addresses
        if addresses is None:
            raise RayctlError(f"the head of {session.name} has no address yet", hint="Ask again in a moment.")
        return addresses.external or addresses.internal


def get_worker_node_ips(cluster_config: ClusterConfig, *, cluster_name: str | None = None) -> list[str]:
    """The addresses of the workers that are there."""
    with _session("get-worker-ips", cluster_config, None, name=cluster_name) as session:
        found = (node.addresses for node in session.deployment.workers)
        return [addresses.external or addresses.internal for addresses in found if addresses]


def status(cluster_config: ClusterConfig, *, probe: bool = False) -> ClusterStatus:
    """The nodes, and what Ray says of them; with `probe`, what each node says of itself."""
    with _session("status", cluster_config, None) as session:
        return looking.status(session, probe=probe)


def bootstrap_config(cluster_config: ClusterConfig, no_config_cache: bool = False) -> dict[str, Any]:
    """The configuration as rayctl understands it, with all defaults filled in and old keys in their new places."""
    del no_config_cache
    if isinstance(cluster_config, Mapping):
        return fillout_defaults(cluster_config)
    with _session("validate", cluster_config, None) as session:
        return session.config.model_dump(mode="json")


def fillout_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a mapping with a file's keys; nothing is read and nothing is stored."""
    return parse(yaml.safe_dump(dict(config)), "the given configuration").config.model_dump(mode="json")


# ---- sessions
class _Hearer(Sink):
    """Hands events to a function."""

    def __init__(self, tell: OnEvent) -> None:
        self._tell = tell

    def write(self, event: Event) -> None:
        """See `Sink`."""
        self._tell(event)


@contextmanager
def _session(
    operation: str,
    config: ClusterConfig,
    on_event: OnEvent | None,
    *,
    head_only: bool = False,
    name: str | None = None,
) -> Iterator[Session]:
    listeners = Listeners([_Hearer(on_event)], text=f"rayctl.api: {operation}") if on_event else None
    with opened(operation, _file_of(config), {"cluster_name": name}, listeners, head_only=head_only) as session:
        yield session


def _file_of(config: ClusterConfig) -> Path:
    """The file of a configuration. A mapping is stored beside what else is remembered of its cluster: plays read it there."""
    if not isinstance(config, Mapping):
        return Path(config)
    folder = private.private_dir(paths.cluster_dir(paths.home(os.environ), str(config.get("cluster_name", "default"))))
    private.store(folder / FROM_PYTHON, yaml.safe_dump(_absolute(config)).encode())
    return folder / FROM_PYTHON


def _absolute(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with local paths that do not depend on the current folder."""
    found, here = dict(config), Path.cwd()
    if isinstance(mounts := config.get("file_mounts"), Mapping):
        found["file_mounts"] = {target: str(expand_local(str(source), here)) for target, source in mounts.items()}
    return found


def _agreed(_: Sequence[str]) -> None:
    """Who calls a function has agreed to what it does."""
