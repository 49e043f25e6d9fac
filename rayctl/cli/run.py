# SPDX-License-Identifier: Apache-2.0
"""`exec`, `attach` and `submit`: the remote exit code comes back; rayctl's own failures are 125, as docker's."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayctl.cli import looks
from rayctl.cli.common import (
    cluster_file,
    cluster_name,
    in_passing,
    no_config_cache,
    no_usage_stats,
    output_format,
    telling,
    together,
)
from rayctl.errors import UsageError

if TYPE_CHECKING:
    from rayctl.operations.options import Listeners, Overrides, RunOptions

OWN_FAILURE = 125

start = click.option("--start", is_flag=True, help="Bring the cluster up first, as `up` does.")
stop = click.option("--stop", is_flag=True, help="End the cluster afterwards, as `down` does.")
windows = together(
    click.option("--tmux", is_flag=True, help="In a tmux of the node."),
    click.option("--screen", is_flag=True, help="In a screen of the node."),
)
port_forward = click.option(
    "-p", "--port-forward", "ports", multiple=True, metavar="PORT",
    help="While it runs, this port of this machine leads to the node's; LOCAL:REMOTE where they differ. May be repeated.",
)  # fmt: skip
run_env = click.option(
    "--run-env", type=click.Choice(["auto", "host", "docker"]), default="auto", show_default=True,
    help="On the host or in its container.",
)  # fmt: skip


class WrongUsage(click.UsageError):
    """A wrong command line of a command that returns another's exit code."""

    exit_code = OWN_FAILURE


class Remote(click.Command):
    """A command whose exit codes are the remote command's, so that a wrong command line here must not look like one."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click's, with our own exit code for usage errors."""
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as e:
            raise WrongUsage(e.format_message(), e.ctx) from None


class Submit(Remote):
    """Takes its options before the script, wherever they stand there: what follows the script is the script's.

    With a `--` among that, options of ours between the script and the `--` are taken too, as Ray's `submit` does.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move our options to the front; click then leaves the rest alone."""
        options, names, rest = self._split(args, names=2)
        if "--" in rest:
            sign = rest.index("--")
            more, words, _ = self._split(rest[:sign], names=sign)
            if all(_spelling(word) in self._known for word in more if word.startswith("-")):
                options, rest = [*options, *more], ["--", *words, *rest[sign + 1 :]]
        return super().parse_args(ctx, [*options, *names, *rest])

    @property
    def _known(self) -> set[str]:
        return {name for param in self.params if isinstance(param, click.Option) for name in param.opts}

    def _split(self, words: Sequence[str], names: int) -> tuple[list[str], list[str], list[str]]:
        """Our options with their values, the first words that are none, so many, and what follows them."""
        valued = [param for param in self.params if isinstance(param, click.Option) and not (param.is_flag or param.count)]
        takes_a_value = {name for param in valued for name in param.opts}
        options: list[str] = []
        found: list[str] = []
        left = iter(words)
        while len(found) < names and (word := next(left, None)) is not None:
            (options if word.startswith("-") and word != "-" else found).append(word)
            if word.replace("_", "-") in takes_a_value:  # with its value in the next word
                options += [value for value in (next(left, None),) if value is not None]
        return options, found, list(left)


def _spelling(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


@click.command("exec", cls=Remote, short_help="Run a shell command on the head.")
@cluster_file
@click.argument("command")
@start
@stop
@windows
@port_forward
@run_env
@click.option("-A", "--all-nodes", is_flag=True, help="On all nodes at once.")
@click.option("--workers", is_flag=True, help="On all workers at once.")
@click.option("--limit", metavar="PATTERN", help="On these nodes at once: names, globs, ray_head, ray_worker, !name.")
@cluster_name
@click.option("--with-output", is_flag=True, help="With --format json: all of the output, not only its last 64 KiB.")
@output_format
@no_config_cache
@no_usage_stats
@looks.options
def exec_(cluster_file: Path, command: str, **flags: Any) -> int:
    """Run a shell command on the head, in a login shell where `ray.init()` and `ray status` find this cluster.

    On several nodes it has no input, and what some of them answer alike is shown once. The exit code is 0 if all were 0.

    \b
    Example: rayctl exec cluster.yaml 'ray status'
    Example: rayctl exec cluster.yaml --all-nodes 'df -h /'
    """
    from rayctl import api

    def act(options: RunOptions, overrides: Overrides, heard: Listeners) -> int:
        if flags["form"] == "json" or flags["all_nodes"] or flags["workers"] or flags["limit"]:
            return _collected(cluster_file, command, flags, options, overrides, heard)
        return api.run(cluster_file, command, options, overrides=overrides, on_event=heard)

    return _code(cluster_file, flags, act, leaves=True)


def _collected(
    path: Path, command: str, flags: dict[str, Any], options: RunOptions, overrides: Overrides, heard: Listeners
) -> int:
    """Output that is not passed on as it comes: that of several nodes, or for a program."""
    from rayctl.cli import answers
    from rayctl.operations import everywhere
    from rayctl.operations.opened import opened

    several = flags["all_nodes"] or flags["workers"] or flags["limit"]
    if several and (options.window or options.forwards):
        raise UsageError("--tmux, --screen and --port-forward are for one node")
    with opened("exec", path, vars(overrides), heard, head_only=not several) as session:
        if several:
            found = everywhere.run(session, command, workers=flags["workers"], limit=flags["limit"])
        else:
            found = everywhere.on_head(session, command, options)
        if flags["form"] == "json":
            answers.emit(found, session.bus, whole=flags["with_output"])
        else:
            answers.show(found)
        session.exit_code = found.exit_code if several else found.answers[0].exit_code if found.answers else OWN_FAILURE
        return session.exit_code


@click.command(cls=Remote, short_help="Open a shell on the head, or on another node.")
@cluster_file
@click.option("--start", is_flag=True, help="Bring the cluster up first, as `up` does.")
@windows
@click.option("-N", "--new", is_flag=True, help="A new tmux or screen, though there is one.")
@port_forward
@click.option("--node-ip", metavar="NODE", help="Another node than the head, by its address or name.")
@cluster_name
@no_config_cache
@looks.options
def attach(cluster_file: Path, node_ip: str | None, new: bool, **flags: Any) -> int:
    """Open a shell on the head, where `ray.init()` and `ray status` find this cluster.

    With --tmux or --screen, go to the newest one, such as `exec --tmux` has left.

    \b
    Example: rayctl attach cluster.yaml -p 8265
    """
    from rayctl import api

    def act(options: RunOptions, overrides: Overrides, heard: Listeners) -> int:
        return api.attach(cluster_file, options, node=node_ip or "", new=new, overrides=overrides, on_event=heard)

    return _code(cluster_file, flags, act)


@click.command(
    cls=Submit, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Copy a Python script to the head and run it there.",
)  # fmt: skip
@cluster_file
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@start
@stop
@windows
@port_forward
@click.option("--args", "more", metavar="TEXT", help="Arguments as one text. Better write them after the script.")
@click.option("--extra-screen-args", metavar="TEXT", help="Further options of --screen's screen.")
@cluster_name
@no_config_cache
@no_usage_stats
@looks.options
def submit(cluster_file: Path, script: Path, arguments: tuple[str, ...], more: str | None, **flags: Any) -> int:
    """Copy a Python script to the head and run it there. Arguments arrive exactly as given.

    Options of rayctl stand before the script, or between it and a `--`. A folder is copied whole, and its __main__.py runs.

    \b
    Example: rayctl submit cluster.yaml train.py --epochs 3 --name 'a b'
    Example: rayctl submit cluster.yaml train.py --start -- --epochs 3
    """
    given = [*shlex.split(more or ""), *(arguments[1:] if arguments[:1] == ("--",) else arguments)]
    from rayctl import api

    def act(options: RunOptions, overrides: Overrides, heard: Listeners) -> int:
        return api.submit(cluster_file, script, given, options, overrides=overrides, on_event=heard)

    return _code(cluster_file, flags, act, leaves=True)


def _code(
    path: Path, flags: dict[str, Any], act: Callable[[RunOptions, Overrides, Listeners], int], *, leaves: bool = False
) -> int:
    """The exit code of a command in a cluster that is brought up before and ended afterwards, if that was asked for.

    `leaves`: what runs in a window is left alone there, to be looked at by `attach`.
    """
    from rayctl import api
    from rayctl.cli.report import explain
    from rayctl.operations.lifetime import ended_afterwards

    form, overrides = flags.get("form", "text"), api.Overrides(flags["cluster_name"])
    try:
        options = _options(flags)
        heard = in_passing() if form == "text" else telling(form, failure=OWN_FAILURE)
        if flags.get("start"):
            api.up(path, overrides=overrides, on_event=telling())  # on stderr: stdout is the command's
        end = partial(api.down, path, overrides=overrides)
        waits = flags.get("stop") and not options.window
        with ended_afterwards(lambda: end(on_event=telling())) if waits else nullcontext():
            code = act(options, overrides, heard)
        if leaves and options.window and code == 0:
            name = ["-n", flags["cluster_name"]] if flags["cluster_name"] else []
            look = shlex.join(["rayctl", "attach", str(path), *name, f"--{options.window}"])
            click.echo(f"To look at it: {look}", err=True)
    except Exception as e:
        return 130 if explain(e) == 130 else OWN_FAILURE
    return code


def _options(flags: dict[str, Any]) -> RunOptions:
    from rayctl.operations.options import RunOptions
    from rayctl.operations.windows import Window
    from rayctl.transport.ports import Forward

    if flags["tmux"] and flags["screen"]:
        raise UsageError("--tmux and --screen contradict each other")
    window = Window.TMUX if flags["tmux"] else Window.SCREEN if flags["screen"] else None
    if flags.get("extra_screen_args") and window is not Window.SCREEN:
        raise UsageError("--extra-screen-args is for --screen")
    return RunOptions(
        forwards=tuple(map(Forward.parse, flags["ports"])), window=window,
        ends_cluster=bool(flags.get("stop") and window),
        screen_options=tuple(shlex.split(flags.get("extra_screen_args") or "")), run_env=flags.get("run_env", "auto"),
    )  # fmt: skip


COMMANDS = (exec_, attach, submit)
