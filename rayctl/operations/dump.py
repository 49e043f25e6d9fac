# SPDX-License-Identifier: Apache-2.0
"""`cluster-dump`: what may tell why something went wrong, from all nodes and from here, in one archive."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rayctl.errors import NodeFailure, RayctlError, Unreachable, UsageError
from rayctl.operations import history
from rayctl.operations.everywhere import AT_ONCE, chosen
from rayctl.operations.exec import ray_environment
from rayctl.operations.machines import declared
from rayctl.operations.select import called
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.transport.base import into_files
from rayctl.transport.remote import folder_word

RUNS = 20  # logs of this controller's last runs
# Where a run of Ray keeps its logs, its processes are told on their command lines. Of rayctl's own folder only the steps'
# output is taken, never the token. Links are followed: what is large is not copied first.
COLLECT = r"""umask 077; dir=$(mktemp -d) || exit; trap 'cd / && rm -r "$dir"' EXIT; cd "$dir" || exit
(uname -a; uptime; df -h; free -m) > machine.txt 2>&1
{extras}
for pid in {pids}; do
  logs=$(tr '\0' '\n' < /proc/$pid/cmdline 2>/dev/null | sed -n 's/^--log[-_]dir=//p')
  if [ -n "$logs" ]; then ln -s "$logs" ray; break; fi
done
for steps in {state}/*/logs; do [ ! -d "$steps" ] || ln -s "$steps" steps; done 2>/dev/null
tar --warning=no-file-changed --warning=no-file-removed {without}-czhf - . || [ $? -eq 1 ]"""
PIP, PROCESSES = "pip list > pip.txt 2>&1", "ps -e -ww -o user,pid,ppid,pcpu,rss,etime,{} > processes.txt"
DEBUG_STATE = "--exclude='debug_state*.txt' "


@dataclass(frozen=True)
class DumpOptions:
    """What is collected. `limit`, and `hosts` by address or name: of these nodes alone.

    `debug_state`: of Ray's logs, the files in which its processes tell their state. `processes_verbose`: whole command lines.
    """

    logs: bool = True
    debug_state: bool = True
    pip: bool = True
    processes: bool = True
    processes_verbose: bool = True
    hosts: tuple[str, ...] = ()
    limit: str | None = None


def dump(session: Session, target: Path, options: DumpOptions) -> tuple[NodeFailure, ...]:
    """Write the archive; the nodes of which it holds nothing. Raises RayctlError where nothing can be written."""
    if target.exists() or not target.parent.is_dir():
        why = "there is such a file already" if target.exists() else f"there is no folder {target.parent}"
        raise UsageError(f"cannot write {target}: {why}")
    nodes, silent = chosen(session, workers=False, limit=options.limit)
    if options.hosts:
        known = [*session.deployment.nodes, *declared(session.provider)]
        names = {called(known, host).name for host in options.hosts}
        nodes = [node for node in nodes if node.name in names]
        silent = [failure for failure in silent if failure.node in names]
    folder = session.folder()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        collected = list(pool.map(lambda node: _collect(session, node, folder / f"{node.name}.tar.gz", options), nodes))
    try:
        with tarfile.open(target, "x:gz", compresslevel=1) as archive:
            for node, problem in zip(nodes, collected, strict=True):
                if problem is None:
                    archive.add(folder / f"{node.name}.tar.gz", f"{target.name.partition('.')[0]}/{node.name}.tar.gz")
            for log in history.run_logs(session.root, session.name)[-RUNS:]:
                archive.add(log, f"{target.name.partition('.')[0]}/controller/{log.parent.name}-{log.name}")
    except OSError as e:
        raise RayctlError(f"cannot write {target}: {e.strerror}") from None
    target.chmod(0o600)
    return (*(problem for problem in collected if problem), *silent)


def _collect(session: Session, node: Node, target: Path, options: DumpOptions) -> NodeFailure | None:
    transport, said = session.transport(node), target.with_suffix(".said")
    try:
        known = transport.probe(session.mark(node))["ray"]
        script = _script([pid for pid, _, _ in known["processes"]] if known else [], transport.connection.state_dir, options)
        with into_files(target, said) as ends:
            code = transport.run(script, ray_environment(session), ends=ends)
    except RayctlError as e:
        return NodeFailure(node.name, e.message, unreachable=isinstance(e, Unreachable))
    if code:
        last = tuple(said.read_text(errors="replace").splitlines()[-5:])
        return NodeFailure(node.name, "its files could not be collected", exit_code=code, tail=last)
    return None


def _script(pids: Sequence[int], state_dir: str, options: DumpOptions) -> str:
    processes = PROCESSES.format("args" if options.processes_verbose else "comm")
    extras = [command for command, wanted in ((PIP, options.pip), (processes, options.processes)) if wanted]
    return COLLECT.format(
        extras="; ".join(extras) or ":", pids=" ".join(map(str, pids if options.logs else ())), state=folder_word(state_dir),
        without="" if options.debug_state else DEBUG_STATE,
    )  # fmt: skip
