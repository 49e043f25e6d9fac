# SPDX-License-Identifier: Apache-2.0
"""`up` and `down`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayctl.cli import become, looks
from rayctl.cli.common import (
    accept_other,
    asker,
    cluster_file,
    cluster_name,
    lock_timeout,
    looking,
    no_config_cache,
    no_usage_stats,
    output_format,
    telling,
    together,
    yes,
)
from rayctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rayctl.operations.options import Command, Overrides, UpOptions, UpResult


PLANNED = ("cluster_name", "min_workers", "max_workers", "no_restart", "restart", "restart_only", "rerun", "limit")


class Up(click.Command):
    """Knows that the file in `--rerun cluster.yaml` is not the number of `--rerun [N]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the number out where there is none."""
        pairs = zip(args, [*args[1:], ""], strict=False)  # of no words there is no pair
        args = ["--rerun=1" if word == "--rerun" and not after.lstrip("-").isdecimal() else word for word, after in pairs]
        return super().parse_args(ctx, args)


what = together(
    cluster_name,
    click.option("--no-restart", is_flag=True, help="Never restart a Ray that works."),
    click.option("--restart", is_flag=True, help="Restart Ray on all nodes, though nothing changed."),
    click.option("--restart-only", is_flag=True, help="Only restart Ray: no mounts, no set-up."),
    click.option(
        "--rerun", type=click.IntRange(min=1), metavar="[N]",
        help="Run the set-up steps again, all or from step N, though nothing changed.",
    ),
    click.option("--min-workers", type=click.IntRange(min=0), metavar="N", help="Instead of the file's."),
    click.option("--max-workers", type=click.IntRange(min=0), metavar="N", help="Instead of the file's."),
    click.option("--limit", metavar="PATTERN", help="Only these nodes: names, globs, ray_head, ray_worker, !name."),
)  # fmt: skip

as_rays = together(
    click.option(
        "--redirect-command-output", is_flag=True, expose_value=False,
        help="As Ray's, without effect: the output of every step is kept in a file on its node in any case.",
    ),
    click.option(
        "--use-login-shells/--use-normal-shells", default=True, expose_value=False,
        help="As Ray's, without effect: steps run in login shells, whose complaints are left out.",
    ),
)  # fmt: skip


@click.command(cls=Up)
@cluster_file
@yes
@what
@click.option("--check", is_flag=True, help="Say what would be done; touch nothing.")
@click.option("--diff", is_flag=True, help="Show steps and files before and after.")
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Do what `plan --out FILE` has found, with its flags, and nothing else; do not ask.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Give up after so long, and stop what runs.",
)  # fmt: skip
@become.become_password
@lock_timeout
@accept_other
@no_config_cache
@no_usage_stats
@as_rays
@looks.options
@output_format
def up(cluster_file: Path, yes: bool, form: str, **flags: Any) -> None:
    """Bring a cluster up, or to what its file says now.

    Nodes that are as wanted are left alone: a second `up` changes nothing and interrupts nobody. Ray is restarted on a node
    when it does not work, when its start commands changed, or when a set-up step ran there since it was started.

    \b
    Example: rayctl up cluster.yaml --max-workers 8 --no-restart
    """
    from rayctl import api

    agreed = _heed(flags) if flags["plan_file"] else ""
    options = _up_options(flags, agreed)
    confirm = asker(yes=yes or options.check or bool(agreed))
    result = api.up(cluster_file, options, overrides=overridden(flags), confirm=confirm, on_event=telling(form))
    if not options.check:
        looks.current().summary(_up_text(result), form)
    elif form == "text":
        click.echo(_check_text(result))


def _heed(flags: dict[str, Any]) -> str:
    """Take the flags of a plan; the fingerprint of what it is about. Raises `UsageError` where others are given beside it."""
    from rayctl.operations import planfile

    if any(flags[key] for key in PLANNED):
        others = ", ".join(f"--{key.replace('_', '-')}" for key in PLANNED if flags[key])
        raise UsageError(f"--plan brings its own flags, so {others} cannot be given beside it")
    kept = planfile.load(flags["plan_file"])
    flags.update(kept.flags)
    return kept.fingerprint


@click.command(cls=Up, short_help="Say what `up` would do to each node, and why.")
@cluster_file
@what
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Keep it for `up --plan FILE`.")
@click.option(
    "--detailed-exitcode",
    is_flag=True,
    help="Exit with 0 if there is nothing to do, 2 if there is, 1 on errors.",
)
@output_format
def plan(cluster_file: Path, out: Path | None, detailed_exitcode: bool, form: str, **flags: Any) -> int:
    """Say what `up` would do to each node and why, and whether jobs are interrupted. Nothing is touched.

    \b
    Example: rayctl plan cluster.yaml --out tomorrow.plan
    """
    from rayctl.cli import planned
    from rayctl.cli.report import explain

    try:
        return planned.show(cluster_file, flags, out, form=form, detailed=detailed_exitcode)
    except Exception as e:
        code = explain(e)
        return 1 if detailed_exitcode else code


@click.command(short_help="Start Ray anew on all nodes, or some.")
@cluster_file
@yes
@cluster_name
@click.option("--limit", metavar="PATTERN", help="Only these nodes: names, globs, ray_head, ray_worker, !name.")
@lock_timeout
@accept_other
@looks.options
@output_format
def restart(cluster_file: Path, yes: bool, limit: str | None, form: str, **flags: Any) -> None:
    """Start Ray anew on all nodes: no mounts, no set-up. Jobs on these nodes are interrupted.

    \b
    Example: rayctl restart cluster.yaml --limit demo-worker-1
    """
    from rayctl import api

    options = api.UpOptions(limit=limit, lock_timeout_s=flags["lock_timeout"], accept_other=flags["accept_other_cluster"])
    overrides = api.Overrides(flags["cluster_name"])
    result = api.restart(cluster_file, options, overrides=overrides, confirm=asker(yes=yes), on_event=telling(form))
    text = f"{result.cluster}: Ray was started anew on {', '.join(result.changed)}, {result.seconds:.1f} s"
    looks.current().summary(text, form)


@click.command("kill-random-node", short_help="End a worker by chance, to see what becomes of it.")
@cluster_file
@yes
@cluster_name
@click.option("--hard", is_flag=True, help="End its machine, not only its Ray.")
@lock_timeout
@accept_other
def kill_random_node(cluster_file: Path, yes: bool, hard: bool, **flags: Any) -> None:
    """End the Ray of a worker that is chosen by chance: for trying out what a cluster and its jobs endure.

    \b
    Example: rayctl kill-random-node cluster.yaml --hard
    """
    from rayctl.operations.chaos import kill_random_node as kill

    with looking("kill-random-node", cluster_file, flags["cluster_name"]) as session:
        confirm = asker(yes=yes)
        name = kill(session, confirm, hard=hard, timeout_s=flags["lock_timeout"], accept_other=flags["accept_other_cluster"])
        back = session.command("up")
    click.echo(f"{name}: {'its machine' if hard else 'its Ray'} was ended; to bring it back: {back}")


def overridden(flags: dict[str, Any]) -> Overrides:
    """What the flags say instead of the file."""
    from rayctl.operations.options import Overrides

    return Overrides(flags["cluster_name"], flags["min_workers"], flags["max_workers"])


def wanted(flags: dict[str, Any]) -> UpOptions:
    """The options of `up` that say what is to be done. Raises `UsageError` where they contradict each other."""
    from rayctl.operations.options import UpOptions

    chosen = [name for name in ("no_restart", "restart", "restart_only") if flags[name]]
    if len(chosen) > 1 and "no_restart" in chosen:
        others = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise UsageError(f"{others} contradict each other")
    if flags["restart_only"] and flags["rerun"]:
        raise UsageError("--restart-only and --rerun contradict each other: the one leaves set-up out, the other runs it")
    return UpOptions(
        restart="never" if flags["no_restart"] else "always" if flags["restart"] else "auto",
        restart_only=flags["restart_only"], rerun_from=flags["rerun"], limit=flags["limit"],
    )  # fmt: skip


def _up_options(flags: dict[str, Any], agreed: str) -> UpOptions:
    return replace(
        wanted(flags), check=flags["check"], diff=flags["diff"], lock_timeout_s=flags["lock_timeout"],
        timeout_s=flags["timeout"], accept_other=flags["accept_other_cluster"], agreed=agreed,
        become_password=become.given(flags["ask_become_pass"], flags["become_password_file"]),
    )  # fmt: skip


def _check_text(result: UpResult) -> str:
    return "\n".join([*_diffs(result), *(result.proposal.lines() if result.proposal else ())])


def _diffs(result: UpResult) -> list[str]:
    return [f"--- {name}\n{text}".rstrip() for name, text in result.diffs]


def _up_text(result: UpResult) -> str:
    changed = len(result.changed)
    did = "nothing changed" if not changed and not result.launched else f"{changed} node{'s' if changed != 1 else ''} changed"
    did += ", the scaler too" if changed and result.scaler_changed else ""
    did = "the scaler changed" if result.scaler_changed and not changed and not result.launched else did
    joined = f"{result.joined} of {result.expected} nodes joined" if result.expected else "no Ray was asked for"
    is_up = f"{result.cluster} is up: {joined}, {did}, {result.seconds:.1f} s"
    following = [line for group in result.next for line in _commented(group)]
    address = [f"Ray's address is {result.address}"] if result.expected else []
    return "\n".join([*_diffs(result), is_up, "", *following, *address])


def _commented(rows: Sequence[Command]) -> list[str]:
    width = max(len(command) for command, _ in rows)
    return [f"  {command:<{width}}  # {what}" for command, what in rows]


@click.command(short_help="End a cluster, or its workers.")
@cluster_file
@yes
@cluster_name
@click.option("--workers-only", is_flag=True, help="Leave the head.")
@click.option("--keep-min-workers", is_flag=True, help="Leave the head and each type's minimum of workers.")
@lock_timeout
@accept_other
@looks.options
@output_format
def down(cluster_file: Path, yes: bool, cluster_name: str | None, form: str, **flags: Any) -> None:
    """End a cluster: its machines, and everything of ours that runs on them. Nothing else is touched.

    \b
    Example: rayctl down cluster.yaml --workers-only
    """
    from rayctl import api

    timeout_s, accept_other = flags["lock_timeout"], flags["accept_other_cluster"]
    options = api.DownOptions(flags["workers_only"], flags["keep_min_workers"], timeout_s, accept_other)
    overrides = api.Overrides(cluster_name)
    result = api.down(cluster_file, options, overrides=overrides, confirm=asker(yes=yes), on_event=telling(form))
    kept = f", {len(result.kept)} kept: {', '.join(result.kept)}" if result.kept else ""
    ended = f"{len(result.ended)} node{'s' if len(result.ended) != 1 else ''} ended" if result.ended else "nothing to end"
    looks.current().summary(f"{result.cluster}: {ended}{kept}, {result.seconds:.1f} s", form)


COMMANDS = (up, down, plan, restart, kill_random_node)
