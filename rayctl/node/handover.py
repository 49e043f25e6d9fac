# SPDX-License-Identifier: Apache-2.0
"""What a run leaves on a node for Ray and for people: the cluster's token, and the variables that lead to the cluster.

    <state_dir>/token   0600; Ray is told where it is, never what it says
    <state_dir>/env     0600; `. ~/.rayctl/<cluster>/env`, and `ray status` finds this cluster

The token travels beside the plan, as a secret of the request.
"""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Mapping

from . import state

HERE = "{state_dir}"
NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
TOKEN, VARIABLES = "token", "env"


def located(plan: Dict[str, Any]) -> Dict[str, Any]:
    """The plan with the node's own folder in the variables that begin with `{state_dir}`."""
    state_dir = os.path.expanduser(plan["state_dir"])
    found = dict(plan, env=_located(plan["env"], state_dir))
    if plan["ray"]:
        found["ray"] = dict(plan["ray"], env=_located(plan["ray"]["env"], state_dir))
    if plan.get("handover"):
        found["handover"] = {"env": _located(plan["handover"]["env"], state_dir)}
    return found


def _located(env: Mapping[str, str], state_dir: str) -> Dict[str, str]:
    return {k: state_dir + v[len(HERE) :] if v.startswith(HERE) else v for k, v in env.items()}


def write_token(state_dir: str, token: str) -> None:
    """Put the cluster's token where Ray and people find it; left alone where it is the same."""
    _write(state_dir, TOKEN, token)


def read_token(state_dir: str) -> str:
    """The cluster's token as it lies on this host; empty when none does."""
    return state.text_of(os.path.join(os.path.expanduser(state_dir), TOKEN)) or ""


def write_variables(plan: Mapping[str, Any], address: str, port: int) -> None:
    """Write the variables of a plan that has any to hand over, and where its cluster's head is."""
    if plan.get("handover"):
        env = dict(plan["handover"]["env"], RAY_ADDRESS="%s:%d" % (address, port))
        _write(
            plan["state_dir"],
            VARIABLES,
            "".join("export %s=%s\n" % (k, _quoted(v)) for k, v in env.items() if NAME.fullmatch(k)),
        )


def _quoted(value: str) -> str:
    """As one word of a POSIX shell."""
    return "'%s'" % value.replace("'", "'\\''")


def _write(state_dir: str, name: str, text: str) -> None:
    folder = os.path.expanduser(state_dir)
    state.make_private(folder)
    path = os.path.join(folder, name)
    if state.text_of(path) != text:
        state.store(path, text, durable=True)
