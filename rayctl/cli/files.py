# SPDX-License-Identifier: Apache-2.0
"""`validate` and `schema`: about cluster files alone."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rayctl.cli.common import cluster_file, output_format


@click.command(short_help="Say what is wrong or odd in a cluster file.")
@cluster_file
@output_format
def validate(cluster_file: Path, form: str) -> int:
    """Say everything that is wrong with a cluster file, and everything that is only odd. Exit code 2 when it is unusable.

    \b
    Example: rayctl validate cluster.yaml
    """
    from dataclasses import asdict

    from rayctl.operations.validate import render
    from rayctl.operations.validate import validate as judge

    report = judge(cluster_file)
    click.echo(json.dumps({"v": 1, "valid": report.valid, **asdict(report)}, indent=2) if form == "json" else render(report))
    return 0 if report.valid else 2


@click.command(short_help="Print the JSON schema of cluster files.")
def schema() -> None:
    """Print the JSON schema of cluster files, for editors and docs.

    \b
    Example: rayctl schema > cluster.schema.json
    """
    from rayctl.config.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


COMMANDS = (validate, schema)
