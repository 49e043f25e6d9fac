# SPDX-License-Identifier: Apache-2.0
"""`up`: from a cluster file to a running cluster.

    machines    launch what is missing, end what is above a maximum        plan.py, machines.py
    survey      ask every node what it has done and what runs              survey.py
    play        bring those that differ to their wanted state              play.py, playbooks/up.yml
    scaler      install it on the head, or hand it what changed            headscaler.py
    joined      ask Ray which nodes it knows                               joined.py

A cluster in its wanted state is recognised by the survey and one look at Ray; no playbook starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rayctl import plan
from rayctl.errors import Interrupted, NodeFailure, NodesFailed, Refused, Unreachable, UsageError
from rayctl.events import EventKind
from rayctl.gcs.errors import GcsError, GcsUnauthenticated
from rayctl.operations import afterwards, diff, hosts, joined, machines, notices, play, scalerwork
from rayctl.operations import proposal as proposals
from rayctl.operations.options import UpOptions, UpResult
from rayctl.operations.proposal import Proposal
from rayctl.operations.scaling import handover
from rayctl.operations.select import select
from rayctl.operations.session import Session
from rayctl.operations.survey import Work, survey
from rayctl.providers.base import DeclaresHosts, Kind, Node
from rayctl.provision.driver import Outcome, Playbook
from rayctl.provision.nodeplan import PHASES, Options, set_up_steps

if TYPE_CHECKING:
    from rayctl.operations.scaling.following import Watch

JOIN_S, KNOWN_S = 90.0, 10.0


def propose(session: Session, options: UpOptions) -> Proposal:
    """What `up` would do, found out without touching anything."""
    _prepare(session)
    return _Up(session, replace(options, check=True), lambda _: None).propose().proposal


def _prepare(session: Session) -> None:
    session.refuse_what_is_not_built()
    session.require_local_files()
    notices.tell(session)


def up(session: Session, options: UpOptions, confirm: Callable[[Sequence[str]], None]) -> UpResult:
    """Bring the cluster to what its file says. `confirm` is shown the plan and raises when the answer is no."""
    began = time.monotonic()
    _prepare(session)
    # a check touches nothing, so it need not keep others from doing so
    writer = nullcontext() if options.check else session.one_writer(options.lock_timeout_s, accept_other=options.accept_other)

    def bring() -> tuple[UpResult, Watch | None]:
        work = _Up(session, options, confirm)
        return work.run(), work.left

    try:
        with writer:
            result, left = session.replanned(bring)
            if not options.check and handover.lives(session):
                handover.hand_over(session)
        if left is not None:
            result = left.finish(result, options.timeout_s, _resume(session, options))
        return replace(result, seconds=time.monotonic() - began)
    except (Interrupted, KeyboardInterrupt) as e:
        raise Interrupted(str(e) or "interrupted; what was done stays done", hint=_resume(session, options)) from None


def _resume(session: Session, options: UpOptions) -> str:
    flags = {"min_workers": "--min-workers", "max_workers": "--max-workers"}
    numbers = [word for key, flag in flags.items() if key in session.overrides for word in (flag, str(session.overrides[key]))]
    return session.command("up", *numbers, *options.words())


def _for_nodes(options: UpOptions, no_restart_in_file: bool) -> Options:
    """What is wanted of each node."""
    restart = "never" if no_restart_in_file and options.restart == "auto" else options.restart
    return Options(
        phases=("start",) if options.restart_only else PHASES,
        restart="always" if options.restart_only else restart,
        rerun_from=options.rerun_from - 1 if options.rerun_from else None,
        check=options.check,
    )


class _Up:
    def __init__(self, session: Session, options: UpOptions, confirm: Callable[[Sequence[str]], None]) -> None:
        self.session, self.options, self.confirm = session, options, confirm
        self.left: Watch | None = None  # the scaler to which machines are left, where one is at work
        self.node_options = _for_nodes(options, session.config.no_restart)
        self.failures: list[NodeFailure] = []
        self.launched: list[Node] = []
        self.outcome = Outcome("successful")
        self.scaler_changed = False

    def propose(self) -> _Found:
        """Ask whatever there is to ask, and decide."""
        machines.require_head(self.session.provider)
        scaler = self._scaler_work()  # first: a head that cannot run one is refused before all else
        wanted = self._wanted_machines()
        ending = {item.node.id for item in wanted.endings}
        new_head = any(launch.kind is Kind.HEAD for launch in wanted.launches)
        works = self._survey([node for node in self._existing() if node.id not in ending], head_restarts=new_head)
        strangers: list[Work] = []
        known: dict[str, object] | None = None
        if not wanted and not any(work.needed for work in works):
            known = self._ask_ray([work.node for work in works if work.expects_ray], KNOWN_S)
            strangers = _strangers(works, known)
        proposal = replace(self._proposal(wanted, works, strangers), scaler=tuple(scaler.lines()))
        return _Found(wanted, works, strangers, known, scaler, proposal)

    def _proposal(self, wanted: plan.Machines, works: Sequence[Work], strangers: Sequence[Work]) -> Proposal:
        anew = {work.node.id: work for work in strangers} if self._starts_strangers else {}
        told = [anew.get(work.node.id, work) for work in works]
        chosen = {node.name: (node.kind.value, node.type) for node in self._chosen()}
        silent = [failure for failure in machines.silent(self.session.provider) if failure.node in chosen]
        return proposals.propose(
            self.session.name, self.session.deployment.cluster_id, wanted=wanted, works=told, silent=silent, kinds=chosen,
            steps_of=self._new_steps,
        )  # fmt: skip

    def _new_steps(self, kind: Kind, node_type: str) -> list[str]:
        if "setup" not in self.node_options.phases:
            return []
        return [step.name for step in set_up_steps(self.session.deployment, kind, node_type)]

    @property
    def _starts_strangers(self) -> bool:
        return self.node_options.restart != "never"

    def run(self) -> UpResult:
        found = self.propose()
        wanted, works, proposal = found.wanted, found.works, found.proposal
        self.failures = list(proposal.unreachable) if self.options.check else self._unasked()
        if self.options.agreed and proposal.fingerprint != self.options.agreed:
            raise Refused(
                f"{self.session.name} is not as it was when the plan was made; nothing was touched.",
                hint=f"See what would be done now: {self.session.command('plan')}",
            )
        if self.options.check:
            return self._check(works, proposal)
        if found.known is not None:
            return self._known(found, found.known)
        self.session.expect_play()
        if proposal.touches:  # of hosts that do not answer nobody can say what will be done
            self.confirm(proposal.lines())
        self._prepare_scaler(found.scaler)
        silent = self._silent()
        if wanted:
            self.left = handover.watch(self.session)
        if wanted and self.left is None:  # else the scaler alone launches and ends workers
            self.launched, self.failures = machines.apply(self.session, wanted)
            self.session.take_lease()
            works = self._survey(self._existing())
        self._play([work for work in works if work.needed])
        late = self._late(silent)
        self._scale(found.scaler, late)
        return self._result([*works, *late], JOIN_S)

    # ---- the scaler on the head
    def _scaler_work(self) -> scalerwork.Work:
        """What is to be done about it. Who limits this `up` to other nodes than the head, or to Ray, leaves it alone."""
        if self.options.restart_only or not scalerwork.concerns(self.session):
            return scalerwork.NOTHING
        limited = self.options.limit is not None and self.session.deployment.head is not None
        if limited and all(node.kind is not Kind.HEAD for node in self._chosen()):
            return scalerwork.NOTHING
        from rayctl.operations import headscaler

        return headscaler.find_out(self.session, check=self.options.check)

    def _prepare_scaler(self, work: scalerwork.Work) -> None:
        if work:
            from rayctl.operations import headscaler

            headscaler.prepare(work)

    def _scale(self, work: scalerwork.Work, late: Sequence[Work]) -> None:
        """Do it, once the nodes are as they should be: hosts that answered late let the scaler in too."""
        if not work or work.head in {failure.node for failure in self.failures}:
            return
        from rayctl.operations import headscaler

        further = (node.node.name for node in late)
        work = replace(work, hosts=tuple(dict.fromkeys([*work.hosts, *further])))
        self.scaler_changed, failures = headscaler.carry_out(self.session, work)
        self.failures += failures

    def _silent(self) -> set[str]:
        """Declared hosts that did not answer yet. They hold up nobody: the others are brought up first."""
        return set(self.session.provider.silent()) if isinstance(self.session.provider, DeclaresHosts) else set()

    def _late(self, silent: set[str]) -> list[Work]:
        """Those of them that answered meanwhile, brought up after the others."""
        if not silent:
            return []
        self.session.refresh()
        late = silent - self._silent()
        if not late:
            return []
        self.failures = [failure for failure in self.failures if failure.node not in late]
        known = {failure.node for failure in self.failures}
        if self.left is None:
            late_ones = replace(self._wanted_machines(), endings=())  # nobody was asked about an end
            launched, failures = machines.apply(self.session, late_ones)
            self.launched += launched
            self.failures += [failure for failure in failures if failure.node not in known]
        works = self._survey([node for node in self._existing() if node.name in late])
        self._play([work for work in works if work.needed])
        return works

    def _wanted_machines(self) -> plan.Machines:
        head, config = self.session.deployment.head, self.session.config
        if head is not None and head.type != config.head_type:
            raise UsageError(
                f"the head {head.name} is of the type `{head.type}`, but the file's head type is `{config.head_type}`",
                hint=f"Give the type its old name, or begin anew: {self.session.command('down')}",
            )
        if self.options.limit is not None or self.options.restart_only:
            if head is None:
                flag = "--limit" if self.options.limit is not None else "--restart-only"
                raise UsageError(
                    f"{flag} is for a cluster that is there, and {self.session.name} is not up",
                    hint=f"Leave it out the first time: {self.session.command('up')}",
                )
            return plan.Machines()
        return machines.wanted(self.session)

    def _existing(self) -> list[Node]:
        """The nodes that this `up` is about; those of a type that the file no longer has only wait for their end."""
        return [node for node in self._chosen() if node in self.session.deployment.nodes]

    def _chosen(self) -> list[Node]:
        """The same with declared hosts that do not answer, whatever they are to the cluster."""
        deployment, provider, silent = self.session.deployment, self.session.provider, self._silent()
        declared = provider.declared() if isinstance(provider, DeclaresHosts) else []
        nodes = [*([deployment.head] if deployment.head else []), *deployment.workers]
        nodes += [host for host in declared if host.name in silent]
        return select([node for node in nodes if node.type in deployment.config.available_node_types], self.options.limit)

    def _unasked(self) -> list[NodeFailure]:
        """Who does not answer, where nothing is launched: a launch tells it by itself."""
        if self.options.limit is None and not self.options.restart_only:
            return []
        chosen = {node.name for node in self._chosen()}
        return [failure for failure in machines.silent(self.session.provider) if failure.node in chosen]

    def _survey(self, nodes: Sequence[Node], *, head_restarts: bool = False) -> list[Work]:
        works = survey(self.session, self.node_options, nodes, head_restarts=head_restarts)
        if not self.options.check:
            hosts.look(self.session)
        steps = max((len(work.plan["steps"]) for work in works), default=0)
        if self.options.rerun_from and works and self.options.rerun_from > max(steps, 1):
            raise UsageError(f"--rerun {self.options.rerun_from}: there are only {steps} set-up steps")
        return works

    def _play(self, works: Sequence[Work]) -> None:
        if not works:
            return
        names = tuple(work.node.name for work in works)
        playbook = Playbook(
            "up", self.session.loaded.path.resolve(), self.session.overrides, names,
            {"ray_node_restart": self.node_options.restart, "ray_node_rerun_from": self.options.rerun_from or 0},
            self.options.check, self.options.diff, self.node_options.phases, self.options.become_password,
        )  # fmt: skip
        steps = {work.node.name: work.steps for work in works}
        outcome = play.run(self.session, playbook, steps, self.options.timeout_s)
        self.outcome = outcome.after(self.outcome)
        failures = play.failures(outcome, names)
        for failure in failures:
            if failure.node not in self.outcome.nodes:  # nobody has told of its end yet
                status = "unreachable" if failure.unreachable else "failed"
                self.session.bus.emit(EventKind.NODE_ENDED, failure.node, status=status, text=failure.reason)
        self.failures += failures

    def _check(self, works: Sequence[Work], proposal: Proposal) -> UpResult:
        self._play([work for work in works if work.needed])
        self._raise_failures(works)
        return replace(self._summary(works, {}), proposal=proposal)

    def _known(self, asked: _Found, found: dict[str, object]) -> UpResult:
        """Nothing to do by the nodes' own word; Ray's word counts too."""
        works, strangers = asked.works, asked.strangers if self._starts_strangers else ()
        if strangers or asked.scaler:
            self.confirm(asked.proposal.lines())
            self._prepare_scaler(asked.scaler)
        if strangers:
            self.node_options = replace(self.node_options, restart="always")
            self._play(strangers)
        self._scale(asked.scaler, ())
        return self._result(works, JOIN_S if strangers else 0.0, found)

    def _result(self, works: Sequence[Work], patience_s: float, found: dict[str, object] | None = None) -> UpResult:
        failed = {failure.node for failure in self.failures}
        expected = [work.node for work in works if work.expects_ray and work.node.name not in failed]
        if patience_s or found is None:
            found = self._ask_ray(expected, patience_s)
        for node in expected:
            if node.id not in found:
                reason = f"Ray runs there, but the head does not know it (waited {patience_s:g} s)"
                self.failures.append(NodeFailure(node.name, reason))
            elif node.name in self.outcome.nodes:
                self.session.bus.emit(EventKind.NODE_JOINED, node.name)
        self._raise_failures(works)
        return self._summary(works, found)

    def _ask_ray(self, nodes: Sequence[Node], patience_s: float) -> dict[str, object]:
        if not nodes:
            return {}

        def tell(count: int) -> None:
            self.session.bus.emit(EventKind.HEARTBEAT, text=f"{count} of {len(nodes)} nodes joined")

        tell(0)
        try:
            found: dict[str, object] = dict(joined.wait(self.session, nodes, patience_s, tell))
        except GcsUnauthenticated:
            raise  # a restart would throw out whoever has the right token
        except GcsError as e:
            self.session.bus.emit(EventKind.WARNING, text=e.message, hint=e.hint)
            return {}
        return found

    def _summary(self, works: Sequence[Work], found: dict[str, object]) -> UpResult:
        changed = tuple(name for name, done in self.outcome.nodes.items() if done["changed"])
        names = [work.node.name for work in works]  # not in the order in which they happened to end
        diffs = tuple((name, part) for name in names for part in map(diff.text, self.outcome.diffs.get(name, ())))
        head = self.session.deployment.head
        return UpResult(
            cluster=self.session.name, changed=changed, launched=tuple(node.name for node in self.launched),
            expected=sum(work.expects_ray for work in works), joined=len(found), seconds=0.0,
            address=joined.gcs_address(self.session) if head else "", diffs=diffs,
            next=afterwards.commands(self.session) if head and not self.options.check else (),
            scaler_changed=self.scaler_changed,
        )  # fmt: skip

    def _raise_failures(self, works: Sequence[Work]) -> None:
        if not self.failures:
            return
        resume = _resume(self.session, self.options)
        failed = {failure.node for failure in self.failures}
        well = len({work.node.name for work in works} - failed)
        if not well and all(failure.unreachable for failure in self.failures) and not self.outcome.nodes:
            raise Unreachable("no node answered: " + "; ".join(f"{f.node}: {f.reason}" for f in self.failures), hint=resume)
        rest = f"the other {well} nodes are up" if well > 1 else "the other node is up"
        others = f"; {rest}" if well and not self.options.check else ""
        message = f"{len(failed)} node{'s' if len(failed) > 1 else ''} failed{others}"
        raise NodesFailed(message, tuple(self.failures), hint=resume)


@dataclass(frozen=True)
class _Found:
    """What was found out before anything is done.

    `known` is what Ray told, where it was asked; `strangers` are nodes that it does not know, with what is to be done there.
    `scaler` is what is to be done about the one on the head.
    """

    wanted: plan.Machines
    works: Sequence[Work]
    strangers: Sequence[Work]
    known: dict[str, object] | None
    scaler: scalerwork.Work
    proposal: Proposal


def _strangers(works: Sequence[Work], known: dict[str, object]) -> list[Work]:
    """Nodes whose Ray runs and that Ray does not know: it is started anew there, of a lost head on all nodes.

    A Ray that knows nobody is perhaps only busy, or out of reach from here: jobs may run, so it is not restarted unasked.
    Raises `NodesFailed`.
    """
    lost = [work for work in works if work.expects_ray and work.node.id not in known]
    if lost and not known:
        head = lost[0].node
        reason = f"its Ray runs, but does not answer from here (waited {KNOWN_S:g} s); `up --restart` starts it anew"
        raise NodesFailed(f"{head.name} does not answer", (NodeFailure(head.name, reason),))
    if any(work.node.kind is Kind.HEAD for work in lost):
        return [_started(work, "the head is lost to its own Ray") for work in works]
    return [_started(work, "the head does not know it") for work in lost]


def _started(work: Work, why: str) -> Work:
    return replace(work, wanted=work.wanted._replace(ray=why))


__all__ = ["UpOptions", "UpResult", "propose", "up"]
