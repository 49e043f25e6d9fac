# SPDX-License-Identifier: Apache-2.0
"""All wheels that a target needs for rayctl, in one folder named by their digest, so that a head needs no network.

A dependency that is installed here in a form that the target takes is packed again from its files; the others, of another
Python or processor, are fetched by pip as it is configured, at the versions that are installed here. `cache/wheels/given` is
for wheels that a person puts there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rayctl
from rayctl.config.digest import digest
from rayctl.errors import RayctlError, Refused
from rayctl.provision.headscaler import wheels
from rayctl.provision.headscaler.target import Target
from rayctl.provision.headscaler.wheeldigest import home
from rayctl.state import private

GIVEN = "given"
KEPT = 3  # houses of other targets and times


@dataclass(frozen=True)
class Plan:
    """What goes into a house: installed distributions that are packed again, requirements to be fetched, rayctl itself.

    `own` is the digest of rayctl's own content.
    """

    target: Target
    installed: tuple[metadata.Distribution, ...]
    fetched: tuple[str, ...]
    own: str

    @property
    def digest(self) -> str:
        """Of all of it, in hex: the same wheels have the same one."""
        versions = sorted([canonicalize_name(one.name), one.version] for one in self.installed)
        return digest([self.target.key, versions, sorted(self.fetched), self.own]).partition(":")[2]


def plan(target: Target) -> Plan:
    """What a target needs. Nothing is made yet."""
    installed, fetched = [], []
    for need in _closure(target):
        if isinstance(need, str):
            fetched.append(need)
        elif _fits(need, target):
            installed.append(need)
        else:
            fetched.append(f"{need.name}=={need.version}")
    return Plan(target, tuple(installed), tuple(fetched), wheels.digest(dict(wheels.own_files())))


def _closure(target: Target) -> Iterator[metadata.Distribution | str]:
    """Everything that rayctl needs there, directly or not; what is not installed here as its requirement."""
    environment, seen = target.environment(), set[str]()
    waiting = list(wheels.requirements())
    while waiting:
        need = Requirement(waiting.pop())
        name = canonicalize_name(need.name)
        if name in seen or (need.marker is not None and not need.marker.evaluate(environment)):
            continue
        seen.add(name)
        try:
            found = metadata.distribution(need.name)
        except metadata.PackageNotFoundError:
            yield f"{need.name}{need.specifier}"
            continue
        yield found
        waiting += found.requires or ()


def _fits(distribution: metadata.Distribution, target: Target) -> bool:
    try:
        return target.takes(wheels.name_of(distribution))
    except RayctlError:
        return False


def make(wanted: Plan) -> Path:
    """The folder with the wheels, made if there is none yet. Raises `Refused` when not all of them can be had."""
    cache = private.private_dir(home())
    folder = cache / wanted.digest[:16]
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=".", dir=cache) as building:
            house = Path(building, "house")
            house.mkdir()
            _fill(house, wanted)
            with suppress(OSError):  # another rayctl was quicker
                house.rename(folder)
    folder.touch()
    _sweep(cache, folder)
    return folder


def _fill(house: Path, wanted: Plan) -> None:
    try:
        wheels.write(wheels.own(), house / f"rayctl-{rayctl.__version__}-py3-none-any.whl")
        for distribution in wanted.installed:
            wheels.write(wheels.repacked(distribution), house / wheels.name_of(distribution))
    except OSError as problem:
        raise RayctlError(f"cannot make wheels in {house.parent.parent}: {problem.strerror}: {problem.filename}") from None
    if wanted.fetched:
        _fetch(house, wanted)


def _fetch(house: Path, wanted: Plan) -> None:
    target, given = wanted.target, home() / GIVEN
    private.private_dir(given)
    constraints = house.parent / "constraints.txt"
    constraints.write_text("".join(f"{one.name}=={one.version}\n" for one in wanted.installed))
    form = [word for platform in target.platforms for word in ("--platform", platform)]
    form += ["--python-version", target.minor, "--implementation", "cp", "--abi", target.abi, "--abi", "abi3", "--abi", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:",
         *form, "--constraint", str(constraints), "--find-links", str(given), "--find-links", str(house), "--dest", str(house),
         *wanted.fetched],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise Refused(
            f"the wheels of {', '.join(wanted.fetched)} for Python {target.minor} on {target.platform} ({target.libc}) "
            f"cannot be had: {said[-1] if said else 'pip failed without a word'}",
            hint=f"Put them into {given}, or let the scaler run on this machine: `scaler: {{run_on: controller}}`.",
        )


def names(folder: Path) -> list[str]:
    """The wheels in a house."""
    return sorted(path.name for path in folder.glob("*.whl"))


def _sweep(cache: Path, used: Path) -> None:
    """Remove houses that were used long ago."""
    houses: Iterable[Path] = (path for path in cache.iterdir() if path.is_dir() and path.name not in (GIVEN, used.name))
    for old in sorted(houses, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
