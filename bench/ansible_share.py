# SPDX-License-Identifier: Apache-2.0
"""What Ansible's start costs, and how much of an `up` it is."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.bring_up import by_rayctl
from bench.lab import SLEEP, lab
from bench.pairs import Runs, Side, beside_python, command, in_turn
from bench.phases import ANSIBLE
from bench.report import phases, sides

EMPTY_PLAY = "- hosts: localhost\n  gather_facts: false\n  tasks: []\n"


def ansible(rounds: int) -> str:
    """Ansible's start piece by piece, then as a phase of an `up` whose start commands are `sleep 2`."""
    with tempfile.TemporaryDirectory() as folder, lab(SLEEP) as place:
        play = Path(folder) / "empty.yml"
        play.write_text(EMPTY_PLAY)
        pieces = [
            _python("pass"),
            _python("import ansible_runner"),
            _python("import ansible.cli.playbook"),
            command("`ansible-playbook`, an empty play", [beside_python("ansible-playbook"), "-i", "localhost,", str(play)]),
            Side("`rayctl up -y` with `sleep 2`", lambda: by_rayctl(place, with_ray=False)),
        ]
        runs = in_turn(pieces, rounds)
    return "\n\n".join([sides(runs), _share(runs[-1]), phases(runs[-1])])


def _python(code: str) -> Side:
    return command(f"`python -c '{code}'`", [sys.executable, "-c", code])


def _share(runs: Runs) -> str:
    parts = [dict(sample.phases) for sample in runs.samples]
    seconds = median(part[ANSIBLE] for part in parts)
    share = median(part[ANSIBLE] / sum(part.values()) for part in parts)
    return f"Ansible's start is **{seconds:.2f} s, {share:.0%}** of that `up`."
