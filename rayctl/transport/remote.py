# SPDX-License-Identifier: Apache-2.0
"""Shell scripts as words that any login shell hands on unharmed."""

from __future__ import annotations

import re
import shlex

# sshd gives our words to the user's login shell. Within single quotes fish heeds `\`, and csh heeds `!` and line ends.
DELICATE = re.compile(r"['\\!\n]")


def remote(script: str) -> str:
    """What to give to ssh so that /bin/sh runs `script` there, with ssh's own stdin; fit for bash, dash, fish and csh."""
    escaped = DELICATE.sub(lambda found: f"\\0{ord(found[0]):03o}", script)
    return f"""exec /bin/sh -c 'eval "$(printf %b "$1")"' sh '{escaped}'"""


def folder_word(path: str) -> str:
    """A folder on the node as a word of a script; `~` is the user's home there."""
    home, _, rest = path.partition("/")
    return f'"$HOME"/{shlex.quote(rest)}' if home == "~" else shlex.quote(path)
