# SPDX-License-Identifier: Apache-2.0
"""What the commands do, for programs: the calls of `ray.autoscaler.sdk`, typed, and what rayctl has beyond them.

    from rayctl import api

    api.create_or_update_cluster("cluster.yaml")
    print(api.run_on_cluster("cluster.yaml", cmd="ray status", with_output=True))
    api.teardown_cluster("cluster.yaml")

A cluster is given as its file, as the name of one that this machine has met, or as a mapping with a file's keys, whose
relative local paths count from the current folder. Nobody is asked anything, unless by `confirm`. `on_event` hears all
events (`rayctl.events`). Every call raises `rayctl.errors.RayctlError`, the subclass saying which kind; `NodesFailed`
carries what failed on each node.

Ray's calls that are not here: `request_resources` is a call to a running Ray, so Ray's own is the one to use;
`configure_logging` and `register_callback_handler` have their place taken by `on_event`.

The commands of the same names are these calls. What a call needs is imported by it, so that a command starts soon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayctl.errors import RayctlError
from rayctl.events import Event
from rayctl.operations.lifetime import ended_afterwards
from rayctl.operations.options import DownOptions, DownResult, Listeners, Overrides, RunOptions, UpOptions, UpResult
from rayctl.operations.windows import Window
from rayctl.transport.ports import Forward

if TYPE_CHECKING:
    from rayctl.operations.explain import Told
    from rayctl.operations.proposal import Proposal
    from rayctl.operations.session import Session
    from rayctl.operations.status import ClusterStatus
    from rayctl.operations.sync import OnProgress, Synced

ClusterConfig = Mapping[str, Any] | str | Path
Confirm = Callable[[Sequence[str]], None]
"""Is shown what is about to be done, in lines, and raises where that must not be."""

OnEvent = Callable[[Event], None] | Listeners | None
"""Hears what happens, from any thread; one that raises hears no more. The commands give `Listeners`."""

__all__ = [
    "CommandFailed", "DownOptions", "DownResult", "Forward", "Overrides", "RunOptions", "UpOptions", "UpResult", "Window",
    "attach", "bootstrap_config", "create_or_update_cluster", "down", "explain", "fillout_defaults", "get_head_node_ip",
    "get_worker_node_ips", "plan", "restart", "rsync", "rsync_down", "rsync_up", "run", "run_on_cluster", "scaler", "status",
    "submit", "teardown_cluster", "up",
]  # fmt: skip


class CommandFailed(RayctlError):
    """Seen when a command ran, and ended with another exit code than 0: `code`."""

    def __init__(self, code: int, output: str) -> None:
        super().__init__(f"the command ended with exit code {code}")
        self.code, self.output = code, output


def agreed(_: Sequence[str]) -> None:
    """Who calls a function has agreed to what it does."""


# ---- as ray.autoscaler.sdk
def create_or_update_cluster(
    cluster_config: ClusterConfig,
    *,
    no_restart: bool = False,
    restart_only: bool = False,
    no_config_cache: bool = False,
    on_event: OnEvent = None,
) -> UpResult:
    """Bring a cluster up, or to what its configuration says now, workers included. `no_config_cache`: there is none."""
    del no_config_cache
    return up(cluster_config, UpOptions("never" if no_restart else "auto", restart_only), on_event=on_event)


def teardown_cluster(
    cluster_config: ClusterConfig,
    workers_only: bool = False,
    keep_min_workers: bool = False,
    *,
    on_event: OnEvent = None,
) -> DownResult:
    """End a cluster, or its workers, and make sure that they are gone."""
    return down(cluster_config, DownOptions(workers_only, keep_min_workers), on_event=on_event)


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
    on_event: OnEvent = None,
) -> str:
    """Run a shell command on the head, to its end; what it printed on stdout if `with_output`, else that goes to ours.

    `stop` ends the cluster afterwards, also when the command failed; after a command in a `tmux` the scaler does. Raises
    `CommandFailed`, and `Refused` where there is no scaler to do it.
    """
    del no_config_cache
    ports = [port_forward] if isinstance(port_forward, int) else port_forward or ()
    options = RunOptions(
        tuple(Forward(port, port) for port in ports), Window.TMUX if tmux else None, stop and tmux, run_env=run_env
    )
    with ended_afterwards(lambda: down(cluster_config, on_event=on_event)) if stop and not tmux else nullcontext():
        if with_output:
            code, output = _captured(cluster_config, cmd, options, on_event)
        else:
            code, output = run(cluster_config, cmd, options, on_event=on_event), ""
        if code:
            raise CommandFailed(code, output)
    return output


def _captured(cluster: ClusterConfig, command: str, options: RunOptions, on_event: OnEvent) -> tuple[int, str]:
    from rayctl.operations import everywhere

    with _session("exec", cluster, on_event, head_only=True) as session:
        answer = everywhere.captured(session, command, options)
        session.exit_code = answer.exit_code
        return answer.exit_code, answer.stdout.read_text(errors="replace")


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
    if down:
        rsync_down(cluster_config, source or "", target or "")
    else:
        rsync_up(cluster_config, source or "", target or "", all_nodes=all_nodes)


def get_head_node_ip(cluster_config: ClusterConfig, *, overrides: Overrides | None = None, on_event: OnEvent = None) -> str:
    """The head's address."""
    from rayctl.operations.machines import the_head

    with _session("get-head-ip", cluster_config, on_event, overrides, head_only=True) as session:
        addresses = the_head(session).addresses
        if addresses is None:
            raise RayctlError(f"the head of {session.name} has no address yet", hint="Ask again in a moment.")
        return addresses.external or addresses.internal


def get_worker_node_ips(
    cluster_config: ClusterConfig, *, overrides: Overrides | None = None, on_event: OnEvent = None
) -> list[str]:
    """The addresses of the workers that are there."""
    with _session("get-worker-ips", cluster_config, on_event, overrides) as session:
        found = (node.addresses for node in session.deployment.workers)
        return [addresses.external or addresses.internal for addresses in found if addresses]


def bootstrap_config(cluster_config: ClusterConfig, no_config_cache: bool = False) -> dict[str, Any]:
    """The configuration as rayctl understands it, with all defaults filled in and old keys in their new places."""
    del no_config_cache
    if isinstance(cluster_config, Mapping):
        return fillout_defaults(cluster_config)
    with _session("validate", cluster_config, None) as session:
        return session.config.model_dump(mode="json")


def fillout_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a mapping with a file's keys; nothing is read and nothing is stored."""
    import yaml

    from rayctl.config.load import parse

    return parse(yaml.safe_dump(dict(config)), "the given configuration").config.model_dump(mode="json")


# ---- rayctl's own, with everything that the commands can be told
def up(
    cluster: ClusterConfig,
    options: UpOptions | None = None,
    *,
    overrides: Overrides | None = None,
    confirm: Confirm = agreed,
    on_event: OnEvent = None,
) -> UpResult:
    """Bring a cluster up, or to what its configuration says now; with `check`, only say what that would be."""
    asked = options or UpOptions()
    return _up("up", cluster, asked, overrides=overrides or Overrides(), confirm=confirm, on_event=on_event)


def restart(
    cluster: ClusterConfig,
    options: UpOptions | None = None,
    *,
    overrides: Overrides | None = None,
    confirm: Confirm = agreed,
    on_event: OnEvent = None,
) -> UpResult:
    """Start Ray anew, without mounts and set-up, whatever else these options say of that."""
    from dataclasses import replace

    only = replace(options or UpOptions(), restart="auto", restart_only=True)
    return _up("restart", cluster, only, overrides=overrides or Overrides(), confirm=confirm, on_event=on_event)


def _up(
    name: str, cluster: ClusterConfig, options: UpOptions, *, overrides: Overrides, confirm: Confirm, on_event: OnEvent
) -> UpResult:
    from rayctl.operations import ahead
    from rayctl.operations.given import file_of

    file = file_of(cluster)
    flags = {**vars(overrides), "limit": options.limit, "no_restart": options.restart == "never"}
    forced = bool(options.rerun_from or options.restart == "always" or options.restart_only)
    brings_nothing_about = options.check or options.restart_only
    with ahead.of_up(file, flags, forced=forced, check=brings_nothing_about) as ansible:
        from rayctl.operations.up import up as bring_up  # while Ansible loads

        with _session(name, file, on_event, overrides) as session:
            session.ansible_ahead = ansible
            session.bus.register_secret(options.become_password)
            return bring_up(session, options, confirm)


def plan(
    cluster: ClusterConfig,
    options: UpOptions | None = None,
    *,
    overrides: Overrides | None = None,
    on_event: OnEvent = None,
) -> Proposal:
    """What `up` would do to each node, and why; nothing is touched."""
    from rayctl.operations.up import propose

    with _session("plan", cluster, on_event, overrides) as session:
        return propose(session, options or UpOptions())


def down(
    cluster: ClusterConfig,
    options: DownOptions | None = None,
    *,
    overrides: Overrides | None = None,
    confirm: Confirm = agreed,
    on_event: OnEvent = None,
) -> DownResult:
    """End a cluster, or its workers, and make sure that they are gone."""
    from rayctl.operations.down import down as take_down

    with _session("down", cluster, on_event, overrides) as session:
        return take_down(session, options or DownOptions(), confirm)


def run(
    cluster: ClusterConfig,
    command: str,
    options: RunOptions | None = None,
    *,
    overrides: Overrides | None = None,
    on_event: OnEvent = None,
) -> int:
    """Run a shell command on the head; its own exit code."""
    from rayctl.operations import exec as running

    with _session("exec", cluster, on_event, overrides, head_only=True) as session:
        session.exit_code = running.run(session, command, options or RunOptions())
        return session.exit_code


def attach(
    cluster: ClusterConfig,
    options: RunOptions | None = None,
    *,
    node: str = "",
    new: bool = False,
    overrides: Overrides | None = None,
    on_event: OnEvent = None,
) -> int:
    """Open a shell on the head, or on the node of this name or address; its exit code."""
    from rayctl.operations import exec as running

    with _session("attach", cluster, on_event, overrides, head_only=not node) as session:
        session.exit_code = running.attach(session, options or RunOptions(), node=node, new=new)
        return session.exit_code


def submit(
    cluster: ClusterConfig,
    script: Path,
    arguments: Sequence[str] = (),
    options: RunOptions | None = None,
    *,
    overrides: Overrides | None = None,
    on_event: OnEvent = None,
) -> int:
    """Copy a Python script, or a folder with a `__main__.py`, to the head and run it there; its exit code."""
    from rayctl.operations import exec as running

    with _session("submit", cluster, on_event, overrides, head_only=True) as session:
        session.exit_code = running.submit(session, script, arguments, options or RunOptions())
        return session.exit_code


def rsync_up(
    cluster: ClusterConfig,
    source: str = "",
    target: str = "",
    *,
    all_nodes: bool = False,
    overrides: Overrides | None = None,
    on_progress: OnProgress | None = None,
    on_event: OnEvent = None,
) -> list[Synced]:
    """Copy files to the head or to all nodes; without paths, all file mounts. `on_progress`: see `operations.sync.up`."""
    from rayctl.operations import sync

    with _session("rsync-up", cluster, on_event, overrides, head_only=not all_nodes) as session:
        return sync.up(session, source, target, all_nodes=all_nodes, on_progress=on_progress)


def rsync_down(
    cluster: ClusterConfig,
    source: str = "",
    target: str = "",
    *,
    overrides: Overrides | None = None,
    on_progress: OnProgress | None = None,
    on_event: OnEvent = None,
) -> list[Synced]:
    """Copy files from the head; without paths, all file mounts to where they come from."""
    from rayctl.operations import sync

    with _session("rsync-down", cluster, on_event, overrides, head_only=True) as session:
        return sync.down(session, source, target, on_progress)


def status(
    cluster: ClusterConfig, *, probe: bool = False, overrides: Overrides | None = None, on_event: OnEvent = None
) -> ClusterStatus:
    """The nodes, and what Ray says of them; with `probe`, what each node says of itself."""
    from rayctl.operations.status import status as look

    with _session("status", cluster, on_event, overrides) as session:
        return look(session, probe=probe)


def explain(cluster: ClusterConfig, *, overrides: Overrides | None = None, on_event: OnEvent = None) -> Told:
    """What a scaler decides for the cluster as it is now, and why; or, for the path of a saved snapshot, decided then."""
    from rayctl.operations.explain import of_cluster, of_file

    if isinstance(cluster, str | Path) and (told := of_file(Path(cluster))):
        return told
    with _session("explain", cluster, on_event, overrides) as session:
        return of_cluster(session)


def scaler(cluster: ClusterConfig, *, overrides: Overrides | None = None, on_event: OnEvent = None) -> None:
    """Keep a cluster as large as its work needs, until SIGTERM or Ctrl-C. Raises `Busy` where another scaler has it."""
    from rayctl.operations.scaling import daemon

    with _session("scaler", cluster, on_event, overrides) as session:
        daemon.run(session)


# ---- sessions
@contextmanager
def _session(
    operation: str, cluster: ClusterConfig, on_event: OnEvent, overrides: Overrides | None = None, *, head_only: bool = False
) -> Iterator[Session]:
    from rayctl.operations.given import file_of, listeners_of
    from rayctl.operations.opened import opened

    told, given = listeners_of(operation, on_event), vars(overrides or Overrides())
    with opened(operation, file_of(cluster), given, told, head_only=head_only) as session:
        yield session
