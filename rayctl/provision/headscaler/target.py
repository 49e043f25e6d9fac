# SPDX-License-Identifier: Apache-2.0
"""The Python on a head that is to run the scaler, and which wheels it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from rayctl.errors import Refused

if TYPE_CHECKING:
    from packaging.tags import Tag

OLDEST = (3, 11)
LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}  # glibc -> what it was called before
OLDEST_GLIBC = 5  # of 2.x


@dataclass(frozen=True)
class Target:
    """As `node/scaler_probe.py` told it. `libc` is "glibc 2.36", "musl 1.2" or "", `platform` is "linux-x86_64".

    `abi` is "cp311", with a "t" behind it for a Python without the global lock.
    """

    python: str
    version: tuple[int, int, int]
    implementation: str
    platform: str
    libc: str
    abi: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the answer of a probe, or from what was kept of it."""
        major, minor, micro = told["version"]
        words = {key: str(told[key]) for key in ("python", "implementation", "platform", "libc", "abi")}
        return cls(version=(int(major), int(minor), int(micro)), **words)

    @property
    def minor(self) -> str:
        """Such as "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def key(self) -> list[str]:
        """What the choice of wheels depends on."""
        return [self.abi, self.implementation, self.platform, self.libc]

    @property
    def machine(self) -> str:
        """The processor, such as x86_64."""
        return self.platform.partition("-")[2].replace("-", "_")

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """The platforms that wheels for it may name, the newest first."""
        return tuple(self._platforms())

    def _platforms(self) -> Iterator[str]:
        kind, _, release = self.libc.partition(" ")
        major, _, minor = release.partition(".")
        if kind == "glibc" and major == "2":
            for number in range(int(minor), OLDEST_GLIBC - 1, -1):
                yield f"manylinux_2_{number}_{self.machine}"
                if legacy := LEGACY.get((2, number)):
                    yield f"{legacy}_{self.machine}"
        if kind == "musl":
            for number in range(int(minor), -1, -1):
                yield f"musllinux_{major}_{number}_{self.machine}"

    @cached_property
    def _tags(self) -> frozenset[Tag]:
        from packaging.tags import compatible_tags, cpython_tags

        own = cpython_tags(self.version[:2], [self.abi], self.platforms)
        return frozenset([*own, *compatible_tags(self.version[:2], self.abi, self.platforms)])

    def takes(self, wheel: str) -> bool:
        """Whether a wheel of this file name can be used there."""
        from packaging.utils import parse_wheel_filename

        return not self._tags.isdisjoint(parse_wheel_filename(wheel)[3])

    def environment(self) -> dict[str, str]:
        """What environment markers of requirements say there."""
        return {
            "python_version": self.minor, "python_full_version": ".".join(map(str, self.version)), "os_name": "posix",
            "sys_platform": "linux", "platform_system": "Linux", "platform_machine": self.machine,
            "implementation_name": self.implementation, "platform_python_implementation": "CPython",
            "implementation_version": ".".join(map(str, self.version)), "platform_release": "", "platform_version": "",
            "extra": "",
        }  # fmt: skip


def chosen(probe: Mapping[str, Any], head: str, asked: str) -> Target:
    """The target that a probe of the head found. Raises `Refused` where nothing there can run the scaler.

    `asked` is what the file's `scaler.python` says.
    """
    elsewhere = "Or let it run elsewhere: `scaler: {run_on: controller}`, and `rayctl scaler` on this machine."
    if missing := ", ".join(probe["missing"]):
        raise Refused(
            f"the scaler cannot run on the head {head}: {missing} is not installed there; nothing was touched.",
            hint=f"Install it there. {elsewhere}",
        )
    if (found := probe["python"]) is None:
        what = f"`scaler.python` names {asked}, which is" if asked else "the newest there is"
        tried = f"; {what} {probe['tried']}" if probe["tried"] else ""
        raise Refused(
            f"the scaler cannot run on the head {head}: it needs Python 3.11 or newer{tried}; nothing was touched.",
            hint=f"Name one by `scaler: {{python: ...}}`. {elsewhere}",
        )
    return Target.of(found)
