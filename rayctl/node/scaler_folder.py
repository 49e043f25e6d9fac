# SPDX-License-Identifier: Apache-2.0
"""What a scaler has on its host, all of it in one private folder, `<state_dir>/scaler`:

    key, key.pub          made here; the private half never leaves the host
    environment-<digest>/ an interpreter's packages, unpacked from `wheels/`: a virtual environment without pip
    bundle-<digest>/      the cluster file, host keys, and which contents of mounts they need (`contents.json`)
    current               the bundle that holds, a link that is replaced in one step
    mounts/<digest>/      contents of mounts
    home/                 RAYCTL_HOME of the scaler
    output, output.1      what the daemon prints

A folder gets its name when all of it is there, so that a kill at any moment leaves nothing half that counts as whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time
import zipfile
from typing import Any, Dict, Iterator, List, Sequence

from . import state
from .state import NodeError

NAME, CURRENT, KEY = "scaler", "current", "key"
BUNDLE, ENVIRONMENT = "bundle-", "environment-"
DIGEST = re.compile("[0-9a-f]{8,64}")
TRY = "import ansible, grpc, pydantic_core, yaml, rayctl.cli.main"
TRY_S = 120.0
TAIL = 4  # lines


def path_of(state_dir: str) -> str:
    """The scaler's folder, private."""
    folder = os.path.join(os.path.expanduser(state_dir), NAME)
    state.make_private(os.path.dirname(folder))
    state.make_private(folder)
    return folder


# ---- the key
def public_key(folder: str, marker: str) -> str:
    """Type and text of the scaler's public key, made at the first call for this cluster."""
    private = os.path.join(folder, KEY)
    words = _words(private + ".pub")
    if words[2:] != [marker] or not os.path.exists(private):
        for path in (private, private + ".pub"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        made = _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", marker, "-f", private])
        if made:
            raise NodeError("cannot make a key in %s: %s" % (folder, made))
        words = _words(private + ".pub")
    return " ".join(words[:2])


def _words(path: str) -> List[str]:
    return (state.text_of(path) or "").split()


# ---- the environment
def environment(folder: str, digest: str, python: str, version: str, wheels: Sequence[str]) -> str:
    """The folder of this environment, unpacked and tried out if it is not there yet. `version` is such as "3.11"."""
    place = os.path.join(folder, ENVIRONMENT + _checked(digest))
    if os.path.isdir(place):
        return place
    with _partial(folder, ENVIRONMENT) as new:
        packages = os.path.join(new, "lib", "python" + version, "site-packages")
        os.makedirs(packages)
        os.mkdir(os.path.join(new, "bin"))
        for name in ("python", "python3"):
            os.symlink(python, os.path.join(new, "bin", name))
        with open(os.path.join(new, "pyvenv.cfg"), "w", encoding="utf-8") as config:
            config.write("home = %s\ninclude-system-site-packages = false\n" % os.path.dirname(python))
        for wheel in wheels:
            _unpack(os.path.join(folder, "wheels", os.path.basename(wheel)), packages)
        failed = _run([os.path.join(new, "bin", "python"), "-I", "-B", "-c", TRY])
        if failed:
            raise NodeError("rayctl does not run there with %s: %s" % (python, failed))
        os.rename(new, place)
    return place


def _unpack(wheel: str, packages: str) -> None:
    """Install a wheel's modules; its scripts and manual pages are of no use here."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                first, _, rest = name.partition("/")
                if not first.endswith(".data"):
                    archive.extract(name, packages)
                elif rest.split("/")[0] in ("purelib", "platlib") and not name.endswith("/"):
                    target = os.path.join(packages, rest.partition("/")[2])
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    with archive.open(name) as source, open(target, "wb") as file:
                        shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, FileNotFoundError) as e:
        raise NodeError("%s did not arrive whole: %s; run the command again" % (os.path.basename(wheel), e)) from None


def _run(argv: Sequence[str]) -> str:
    """Run it; why it failed, in its last words, empty when it did not."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=TRY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    said = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return "" if done.returncode == 0 else " | ".join(said[-TAIL:]) or "exit code %d" % done.returncode


# ---- the bundle
def bundle(folder: str, digest: str, files: Dict[str, str], contents: Sequence[str]) -> bool:
    """Let the bundle with these files hold from now on; whether another did before."""
    name = BUNDLE + _checked(digest)
    place = os.path.join(folder, name)
    if not os.path.isdir(place):
        with _partial(folder, BUNDLE) as new:
            for file, text in files.items():
                state.store(os.path.join(new, os.path.basename(file)), text, durable=True)
            state.store(os.path.join(new, "contents.json"), json.dumps([_checked(one) for one in contents]))
            os.rename(new, place)
    return _point(os.path.join(folder, CURRENT), name)


def _point(link: str, name: str) -> bool:
    with contextlib.suppress(OSError):
        if os.readlink(link) == name:
            return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link + ".new")
    os.symlink(name, link + ".new")
    os.replace(link + ".new", link)
    return True


# ---- order
def sweep(folder: str, environment_kept: str, bundles_kept: Sequence[str], wheels_kept: Sequence[str]) -> None:
    """Remove what nothing needs any more. Bundles that are kept need their contents; the wheels spare the next transfer."""
    bundles = {BUNDLE + digest for digest in bundles_kept}
    contents = {one for name in bundles for one in contents_of(os.path.join(folder, name))}
    for name in os.listdir(folder):
        old = name.startswith(BUNDLE) and name not in bundles
        if old or (name.startswith(ENVIRONMENT) and name != ENVIRONMENT + environment_kept) or name.startswith("."):
            state.remove(os.path.join(folder, name))
    for place, kept in (("mounts", contents), ("wheels", set(wheels_kept))):
        for name in _names(os.path.join(folder, place)):
            if name not in kept:
                state.remove(os.path.join(folder, place, name))


def contents_of(bundle: str) -> List[str]:
    """The contents of mounts that a bundle needs."""
    try:
        found = json.loads(state.text_of(os.path.join(bundle, "contents.json")) or "[]")
    except ValueError:
        return []
    return [one for one in found if isinstance(one, str)]


def sweep_sockets(folder: str) -> None:
    """Remove what ssh's masters left that were killed, and with the last the folder, if it is ours alone."""
    if not os.path.lexists(folder):
        return
    with contextlib.suppress(OSError, NodeError):
        state.make_private(folder)
        for path in [os.path.join(folder, name) for name in os.listdir(folder)]:
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _listens(path):
                os.unlink(path)
        os.rmdir(folder)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        try:
            end.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            pass
    return True


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def _partial(folder: str, kind: str) -> Iterator[str]:
    """A new folder that is gone at the end unless it was renamed."""
    new = os.path.join(folder, ".%s%d-%d" % (kind, os.getpid(), time.monotonic_ns()))
    os.mkdir(new, 0o700)
    try:
        yield new
    except OSError as e:
        raise NodeError("cannot write %s: %s" % (e.filename or folder, e.strerror or e)) from None
    finally:
        if os.path.lexists(new):
            state.remove(new)


def _checked(digest: Any) -> str:
    """A digest as part of a name. Raises NodeError for anything else."""
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise NodeError("%r is no digest" % (digest,))
    return digest
