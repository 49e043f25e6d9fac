# SPDX-License-Identifier: Apache-2.0
"""An `ansible-playbook` that loads itself before it is told what to play: `python -m rayctl.provision.standby`.

Its stdin is one line, a JSON list: the words of the command line, the program's own name first. No line: no play.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import warnings
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> NoReturn:
    """Load, wait for the line, and be `ansible-playbook` to its end."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # the thread that started this process has left them to another
    os.setsid()  # a Ctrl-C at the terminal is for the wrapper, which asks Ansible to stop
    gc.disable()
    _load()
    gc.freeze()  # what was loaded stays: neither this process nor its workers look through it from now on
    gc.enable()
    line = sys.stdin.readline()
    if line:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # Ansible has nobody to ask
        _play(json.loads(line))
    sys.exit(0)


def _load() -> None:
    """All that a play needs whatever it plays, and what the workers of its hosts would each load for themselves."""
    from ansible.cli import playbook  # noqa: F401
    from ansible.plugins import loader

    import rayctl.providers.local.provider
    import rayctl.provision.conversation
    import rayctl.transport.ssh  # noqa: F401
    from rayctl.provision.inventory import die_with_owner
    from rayctl.transport import shipping

    die_with_owner()
    loader.init_plugin_loader()
    # Ansible configures this again, as it would have done first
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    for plugins, name in (
        (loader.strategy_loader, "linear"), (loader.connection_loader, "ssh"), (loader.connection_loader, "local"),
        (loader.shell_loader, "sh"), (loader.become_loader, "ansible.builtin.sudo"), (loader.filter_loader, "default"),
        (loader.test_loader, "defined"), (loader.inventory_loader, "rayctl.ray.rayctl"),
        (loader.action_loader, "rayctl.ray.node"),
    ):  # fmt: skip
        plugins.get(name, class_only=True)
    shipping.parcel()


def _play(words: list[str]) -> None:
    from ansible.cli.playbook import PlaybookCLI

    sys.argv = words
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        PlaybookCLI.cli_executor(words)
    finally:
        gc.freeze()  # nor does the interpreter at its end


if __name__ == "__main__":
    main()
