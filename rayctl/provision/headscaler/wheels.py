# SPDX-License-Identifier: Apache-2.0
"""Wheels made here, without a network: of what is installed beside rayctl, by its RECORD, and of rayctl itself.

The same content gives the same bytes. What an installer adds (bytecode, scripts, notes of its own) is left out: the head
runs modules only.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import rayctl
from rayctl.errors import RayctlError

if TYPE_CHECKING:
    import zipfile
    from importlib import metadata

EPOCH = (1980, 1, 1, 0, 0, 0)
QUICK = 1  # of zlib's levels: a second instead of four, for a tenth more
INSTALLERS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
Content = Mapping[str, Path | bytes]
"""What a wheel holds: a file or the bytes themselves, by the name in the wheel."""

COLLECTION = "ansible_collections/rayctl/ray"
ROOT = Path(rayctl.__file__).resolve().parent.parent
WHEEL = "Wheel-Version: 1.0\nGenerator: rayctl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def name_of(distribution: metadata.Distribution) -> str:
    """The file name of its wheel. Raises RayctlError for what was not installed as one."""
    tags = [line.partition(":")[2].strip().split("-") for line in _wheel(distribution) if line.startswith("Tag:")]
    if not tags:
        raise RayctlError(f"{distribution.name} was not installed from a wheel")
    pythons, abis, platforms = (".".join(dict.fromkeys(tag[place] for tag in tags)) for place in range(3))
    name = distribution.name.replace("-", "_").replace(".", "_")
    return f"{name}-{distribution.version.replace('-', '_')}-{pythons}-{abis}-{platforms}.whl"


def _wheel(distribution: metadata.Distribution) -> list[str]:
    return (distribution.read_text("WHEEL") or "").splitlines()


def repacked(distribution: metadata.Distribution) -> Content:
    """The files of an installed distribution. Raises RayctlError where some of them are gone."""
    found: dict[str, Path | bytes] = {}
    for file in distribution.files or ():
        if _belongs(file):
            path = Path(str(distribution.locate_file(file)))
            if not path.is_file():
                raise RayctlError(f"{path} is missing, which {distribution.name} was installed with")
            found[str(PurePosixPath(file))] = path
    if not found:
        raise RayctlError(f"nobody noted which files {distribution.name} was installed with")
    return found


def _belongs(file: metadata.PackagePath) -> bool:
    outside = file.is_absolute() or ".." in file.parts  # scripts, manual pages
    installers = file.parent.name.endswith(".dist-info") and file.name in INSTALLERS
    return not (outside or installers or file.suffix == ".pyc")


# ---- rayctl itself
def is_checkout(root: Path = ROOT) -> bool:
    """Whether this rayctl runs from a checkout, and not from what was installed."""
    return (root / "pyproject.toml").is_file() and (root / "galaxy.yml").is_file()


def own(root: Path = ROOT) -> Content:
    """rayctl as its wheel would hold it, the collection included."""
    if is_checkout(root):
        return _of_checkout(root)
    from importlib import metadata

    return repacked(metadata.distribution("rayctl"))


def own_files(root: Path = ROOT) -> Iterator[tuple[str, Path]]:
    """Its files, by their names in the wheel, without what describes it."""
    yield from _tree(root / "rayctl", "rayctl")
    if not is_checkout(root):
        yield from _tree(root / COLLECTION, COLLECTION)
        return
    for source, target in _project(root)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        place = root / source
        yield from [(target, place)] if place.is_file() else _tree(place, target)


def _project(root: Path) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((root / "pyproject.toml").read_text())


def _of_checkout(root: Path) -> Content:
    project, found = _project(root), dict(own_files(root))
    info = f"rayctl-{rayctl.__version__}.dist-info"
    return {**found, f"{info}/WHEEL": WHEEL.encode(), f"{info}/METADATA": _metadata(project["project"]).encode(),
            f"{info}/entry_points.txt": _entry_points(project["project"]).encode()}  # fmt: skip


def _tree(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _metadata(project: Mapping[str, object]) -> str:
    needs: Iterable[object] = project["dependencies"]  # type: ignore[assignment]
    lines = ["Metadata-Version: 2.1", "Name: rayctl", f"Version: {rayctl.__version__}"]
    lines += [f"Requires-Python: {project['requires-python']}", *(f"Requires-Dist: {one}" for one in needs), ""]
    return "\n".join(lines)


def _entry_points(project: Mapping[str, object]) -> str:
    groups: Mapping[str, Mapping[str, str]] = project.get("entry-points", {})  # type: ignore[assignment]
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items()), ""]
    return "\n".join(lines)


def requirements(root: Path = ROOT) -> list[str]:
    """What this rayctl needs, extras left out."""
    if is_checkout(root):
        needs: list[str] = _project(root)["project"]["dependencies"]
        return needs
    from importlib import metadata

    return metadata.requires("rayctl") or []


def digest(content: Content) -> str:
    """Of names and bytes, in hex."""
    total = hashlib.sha256()
    for name in sorted(content):
        data = _bytes(content[name])
        total.update(f"{name}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def write(content: Content, path: Path) -> None:
    """Make a wheel file of it."""
    import zipfile

    record = []
    info = next(name.partition("/")[0] for name in content if name.partition("/")[0].endswith(".dist-info"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=QUICK) as wheel:
        for name in sorted(content):
            data = _bytes(content[name])
            _add(wheel, name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{_quoted(name)},sha256={digest},{len(data)}\n")
        _add(wheel, f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]).encode())


def _add(wheel: zipfile.ZipFile, name: str, data: bytes) -> None:
    import zipfile

    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
    wheel.writestr(entry, data)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name


def _bytes(part: Path | bytes) -> bytes:
    return part if isinstance(part, bytes) else part.read_bytes()
