# SPDX-License-Identifier: Apache-2.0
"""The protocol between a controller and a node's runner: one JSON object per line, in both directions.

To the controller, each line led by MARK so that a chatty login shell does no harm:

    hello {protocol, python, adopted}           the runner is there; `adopted` when it had been started by someone else
    need  {id, what, ...}                       a question: "mounts" to be copied, or the "head" to wait for
    step  {index, phase, name, timeout_s, state, ...}
                                                state run | ok | failed | timeout | stopped; the latter four with rc,
                                                seconds, tail (last lines) and log (path on the node)
    out   {index, phase, text}                  what the running step prints
    head  {address, port, incarnation, versions}
                                                the head's GCS answers: workers may join
    relogin {}                                  initialization ran: come back through a fresh login
    done  {...}                                 the outcome (`run.Run.go`), always the last line

To the node: first the request (`front.py`), later `{"answer": id, ...}` to a `need`, and `{"cancel": reason}`.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

PROTOCOL = 1
MARK = "\x1erayctl "

Message = Dict[str, Any]


def encode(message: Message) -> bytes:
    """One line of the protocol."""
    return json.dumps(message).encode("utf-8") + b"\n"


def decode(line: bytes) -> Optional[Message]:
    """The message of a line; None for noise."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def marked(message: Message) -> bytes:
    """A line for the controller, told apart from whatever else a login shell prints."""
    return MARK.encode("utf-8") + encode(message)


def unmark(line: bytes) -> Optional[Message]:
    """The message of a marked line, wherever in the line the mark stands; None for noise."""
    _, mark, rest = line.partition(MARK.encode("utf-8"))
    return decode(rest) if mark else None


def failed(message: str) -> Message:
    """The last message of a run that could not begin or came to no end."""
    return {"event": "done", "failed": True, "cancelled": False, "changed": False, "message": message, "step": None}
