# SPDX-License-Identifier: Apache-2.0
"""What runs on the head as the scaler: the words behind the interpreter's name, and where things lie there."""

from __future__ import annotations

FOLDER = "scaler"  # in the cluster's folder on the head
FILE = "{file}"
COMMAND = ("-m", "rayctl", "scaler", FILE)
"""Run with the environment's Python in the home folder; `{file}` stands for the cluster file that the head reads."""


def folder(state_dir: str) -> str:
    """The scaler's folder on the head; `~` is the login user's home there."""
    return f"{state_dir}/{FOLDER}"


def home(state_dir: str) -> str:
    """The `RAYCTL_HOME` of the rayctl that runs there."""
    return f"{folder(state_dir)}/home"


def key(state_dir: str) -> str:
    """The private key with which the scaler reaches hosts; made there, and never anywhere else."""
    return f"{folder(state_dir)}/key"


def current(state_dir: str, name: str) -> str:
    """A file of the bundle that holds, whichever that is."""
    return f"{folder(state_dir)}/current/{name}"


def marker(cluster_id: str) -> str:
    """The comment of the key, by which its line in a host's authorized_keys is known."""
    return f"rayctl:{cluster_id}"
