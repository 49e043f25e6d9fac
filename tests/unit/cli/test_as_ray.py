# SPDX-License-Identifier: Apache-2.0
"""What the commands of Ray's launcher take ours take, compared with those of the Ray that is installed here."""

from __future__ import annotations

import click
import rays_commands

from rayctl.cli.main import cli

RAYS = rays_commands.options()


def ours(name: str) -> dict[str, click.Option]:
    options = [param for param in cli.commands[name].params if isinstance(param, click.Option)]
    return {spelling: option for option in options for spelling in (*option.opts, *option.secondary_opts)}


def test_every_option_of_ray_s_is_one_of_ours() -> None:
    assert len(RAYS) > 80, "Ray's commands were found"
    missing = {(name, spelling) for name, spelling, _ in RAYS if spelling not in ours(name)}
    assert missing == {("status", "--address")}


def test_and_takes_a_value_where_ray_s_does() -> None:
    known = [(name, spelling, flag) for name, spelling, flag in RAYS if spelling in ours(name)]
    other = {
        (name, spelling) for name, spelling, flag in known
        if flag != (ours(name)[spelling].is_flag or ours(name)[spelling].count)
    }  # fmt: skip
    assert other == set()
