# SPDX-License-Identifier: Apache-2.0
"""The right to change a cluster, held while something is under way; given back so that `up` and `down` need not wait."""

from __future__ import annotations

from contextlib import ExitStack

from rayctl.errors import Busy, RayctlError
from rayctl.events import EventKind
from rayctl.operations.leases import store_on
from rayctl.operations.session import Session
from rayctl.state import holder, keeper, lease, lock, paths


class Right:
    """The lock on this controller and the lease on the head, as every other writer takes them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: ExitStack | None = None
        self._keeper: keeper.LeaseKeeper | None = None
        self._waits_for = ""
        self._token = lease.LeaseToken.new()  # one for all times: what could not be given back does not stand in our way

    def hold(self) -> bool:
        """Whether it is ours; it is taken where nobody else has it."""
        try:
            if self._keeper is not None:
                self._keeper.check()
            else:
                self._take()
        except Busy as busy:
            self._tell(busy)
            self.release()
            return False
        except RayctlError as problem:  # such as a head that does not answer
            self._tell(problem)
            self.release()
            return False
        self._waits_for = ""
        return True

    def _take(self) -> None:
        session, token = self._session, self._token
        head = session.deployment.head
        if head is None:
            raise Busy(f"the cluster {session.name} has no head")
        text = f"rayctl scaler {session.name}"
        me = holder.myself(text, controller=holder.controller_id(paths.controller_file(session.root)))
        with ExitStack() as stack:
            path = paths.lock_file(session.root, session.name)
            stack.enter_context(lock.hold(path, owner_text=text, timeout_s=0, token=token.value))
            store = store_on(session.deployment, head)
            self._keeper = stack.enter_context(keeper.keep(store, me, token, timeout_s=0))
            self._held = stack.pop_all()

    def _tell(self, problem: RayctlError) -> None:
        if problem.message != self._waits_for:
            self._session.bus.emit(EventKind.NOTICE, text=f"nothing is changed now: {problem.message}")
        self._waits_for = problem.message

    def release(self) -> None:
        """Give it back."""
        held, self._held, self._keeper = self._held, None, None
        if held is not None:
            held.close()
