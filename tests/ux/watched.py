# SPDX-License-Identifier: Apache-2.0
"""The real `rayctl`, with made-up clusters for it to see: `python watched.py SIGHT[,SIGHT...] WORDS...`.

Each look sees the next one of the `sights`, the last for ever; `error` is a look that fails.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace

import sights

from rayctl import api
from rayctl.cli.main import main
from rayctl.errors import Unreachable

LOOK_S = 0.3  # longer than what test_watch.py takes for one moment, so that a blank one shows
names = sys.argv.pop(1).split(",")
looks = itertools.count(1)


def status(*_: object, **__: object) -> object:
    """As `api.status`."""
    number = next(looks)
    time.sleep(LOOK_S)
    name = names[min(number, len(names)) - 1]
    if name == "error":
        raise Unreachable("the head does not answer.", hint="Is it powered on?")
    return replace(getattr(sights, name)(), cluster=f"look-{number}")


api.status = status
main()
