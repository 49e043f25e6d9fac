# SPDX-License-Identifier: Apache-2.0
"""How the scaler is kept running on its host, by the best of what the login user may use:

    system       a unit of systemd, where `sudo` asks for no password (or the user is root)
    user         a unit of the user's own systemd, where that may outlive the login
    supervisor   a process of ours (`scaler_launch.py`)

Nothing is started at boot without systemd: there the next `rayctl up` does it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from . import control, processes, scaler_launch, state
from .scaler_launch import DAEMON, SUPERVISOR
from .state import NodeError

KINDS = SYSTEM, USER, SUPERVISED = "system", "user", "supervisor"
MARK = "RAYCTL_SCALER"
PLACES = {SYSTEM: "/etc/systemd/system", USER: "~/.config/systemd/user"}
BOOTED = "/run/systemd/system"  # sd_booted(3)
CALL_S, START_S, WATCH_S, END_S = 60.0, 20.0, 1.5, 30.0
UNIT = """# Written by rayctl: `rayctl down` removes it.
[Unit]
Description=rayctl's scaler of the Ray cluster {cluster}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
{user}WorkingDirectory=~
{environment}
ExecStart={command}
Restart=on-failure
RestartPreventExitStatus=3
RestartSec=5
KillMode=mixed
TimeoutStopSec={end_s:.0f}
UMask=0077

[Install]
WantedBy={wanted_by}
"""
INSTALL = 'umask 022; cat > "$1.new" && mv -f "$1.new" "$1"'


class Service(NamedTuple):
    """One cluster's. `argv` starts `scaler_launch` but for its first word, `words` are the daemon's own."""

    cluster: str
    cluster_id: str
    state_dir: str
    home: str
    python: str
    words: Sequence[str]

    def argv(self, kind: str) -> List[str]:
        """How the launcher is started, as `daemon` or as `supervise`."""
        return [self.python, "-P", "-m", "rayctl.node.scaler_launch", kind, os.path.expanduser(self.state_dir), *self.words]

    @property
    def environment(self) -> Dict[str, str]:
        """All that a unit adds to what systemd gives."""
        own = {"RAYCTL_HOME": self.home, "ANSIBLE_HOME": os.path.join(self.home, "ansible-home"), MARK: self.cluster_id}
        return {"PATH": os.environ.get("PATH") or os.defpath, **own}

    def unit(self, kind: str) -> str:
        """The unit's text."""
        return UNIT.format(
            cluster=self.cluster, user="User=%s\n" % _name() if kind == SYSTEM else "", end_s=END_S,
            environment="\n".join("Environment=%s" % _word("%s=%s" % pair) for pair in self.environment.items()),
            command=" ".join(_word(word).replace("$", "$$") for word in self.argv("daemon")),
            wanted_by="multi-user.target" if kind == SYSTEM else "default.target",
        )  # fmt: skip


def _word(text: str) -> str:
    """One word of a unit file: in quotes, with C's escapes; `%` would be a specifier."""
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")


def _name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def unit_name(cluster: str) -> str:
    """Of one login user's cluster."""
    return "rayctl-scaler-%d-%s.service" % (os.geteuid(), cluster)


def _unit_path(cluster: str, kind: str) -> str:
    return os.path.join(os.path.expanduser(PLACES[kind]), unit_name(cluster))


# ---- starting
def ensure(service: Service, restart: bool) -> Dict[str, Any]:
    """See to it that the scaler runs, anew if `restart`; {kind, restarted}. Raises NodeError with its last words."""
    kinds = [kind for kind in KINDS if kind == SUPERVISED or os.path.isdir(BOOTED)]
    problems = []
    for kind in kinds:
        try:
            return {"kind": kind, "restarted": _ensure(service, kind, restart)}
        except Unavailable as e:
            problems.append("%s: %s" % (kind, e))
    raise NodeError("the scaler cannot be started: %s" % "; ".join(problems))


class Unavailable(Exception):
    """This kind of service is not to be had here."""


def _ensure(service: Service, kind: str, restart: bool) -> bool:
    changed = kind != SUPERVISED and _install(service, kind)
    _only(service, kind)
    if not changed and not restart and running(service.state_dir, kind):
        return False
    if kind == SUPERVISED:
        stop_supervisor(service.state_dir)
    else:
        _systemctl(kind, "stop", unit_name(service.cluster))
    before, size = _who(service.state_dir, DAEMON), _size(service)  # from here on only the new one notes who it is
    if kind == SUPERVISED:
        _start_supervisor(service)
    else:
        _systemctl(kind, "start", unit_name(service.cluster))
    _watch(service, before, size)
    return True


def _only(service: Service, kind: str) -> None:
    """End what an earlier `up` started in another way."""
    for other in (SYSTEM, USER):
        if other != kind and os.path.exists(_unit_path(service.cluster, other)):
            _drop_unit(service.cluster, other)
    if kind != SUPERVISED:
        stop_supervisor(service.state_dir)


def _install(service: Service, kind: str) -> bool:
    """Put the unit in place; whether it was another one, or none."""
    if kind == USER:
        _require_lingering()
    path, text = _unit_path(service.cluster, kind), service.unit(kind)
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
        if file.read() == text:
            if kind == SYSTEM:
                _call([*_root(), "true"])
            return False
    if kind == USER:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    _call([*(_root() if kind == SYSTEM else []), "/bin/sh", "-c", INSTALL, "sh", path], text)
    _systemctl(kind, "daemon-reload")
    _systemctl(kind, "enable", "--quiet", unit_name(service.cluster))
    return True


def _require_lingering() -> None:
    runtime = "/run/user/%d" % os.geteuid()
    if not os.path.isdir(runtime):
        raise Unavailable("the user has no systemd of its own")
    os.environ["XDG_RUNTIME_DIR"] = runtime
    if "yes" not in _call(["loginctl", "show-user", _name(), "--property=Linger"]):
        raise Unavailable("what the user runs ends with the login (loginctl enable-linger %s)" % _name())


def _start_supervisor(service: Service) -> None:
    user = pwd.getpwuid(os.geteuid())
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    env = dict(kept, HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name, SHELL=user.pw_shell, **service.environment)
    state.make_private(state.folder_of(service.state_dir))
    done = subprocess.run(
        service.argv("supervise"), env=env, cwd=user.pw_dir if os.path.isdir(user.pw_dir) else "/", stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=CALL_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NodeError("the scaler's supervisor ended with %d" % done.returncode)


def _watch(service: Service, before: Optional[Dict[str, Any]], size: int) -> None:
    """Wait for the new daemon, and a moment longer: one that ends at once says why."""
    end = time.monotonic() + START_S
    me = before
    while me in (None, before):  # also one that has ended again by now has noted who it was
        if time.monotonic() > end:
            raise NodeError("the scaler does not start: %s" % (_said(service, size) or "it said nothing for %g s" % START_S))
        time.sleep(0.05)
        me = _who(service.state_dir, DAEMON)
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        if not (me and processes.alive(me["pid"], me["started"])):
            raise NodeError("the scaler ended at once: %s" % (_said(service, size) or "it said nothing"))
        time.sleep(0.05)


def _living(state_dir: str, name: str) -> Optional[Dict[str, Any]]:
    who = _who(state_dir, name)
    return who if who and processes.alive(who["pid"], who["started"]) else None


def _who(state_dir: str, name: str) -> Optional[Dict[str, Any]]:
    return control.parse(state.read(os.path.join(state.folder_of(state_dir), name)))


def running(state_dir: str, kind: str) -> bool:
    """Whether the scaler runs, or who keeps it running."""
    return _living(state_dir, SUPERVISOR if kind == SUPERVISED else DAEMON) is not None


def _output(service: Service) -> str:
    return os.path.join(os.path.expanduser(service.state_dir), "scaler", scaler_launch.OUTPUT)


def _size(service: Service) -> int:
    try:
        return os.stat(_output(service)).st_size
    except OSError:
        return 0


def _said(service: Service, since: int) -> str:
    """What the daemon printed last, from this byte on."""
    try:
        with open(_output(service), "rb") as file:
            file.seek(since if since <= _size(service) else 0)
            lines = file.read(1 << 16).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-4:])


# ---- ending
def remove(cluster: str, cluster_id: str, state_dir: str) -> List[str]:
    """End the scaler however it was started, politely, with all that it runs; what does not end, in words."""
    for kind in (SYSTEM, USER):
        if os.path.exists(_unit_path(cluster, kind)):
            _drop_unit(cluster, kind)
    stop_supervisor(state_dir)
    left = processes.end([one for one in [_process(_living(state_dir, DAEMON))] if one], END_S)
    left += processes.stop(cluster_id, order=(), variables=(MARK,))
    return ["%s (pid %d)" % (process.name, process.pid) for process in dict.fromkeys(left)]


def _drop_unit(cluster: str, kind: str) -> None:
    name, path = unit_name(cluster), _unit_path(cluster, kind)
    if kind == USER:
        os.environ.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.geteuid())
    try:
        _systemctl(kind, "disable", "--quiet", "--now", name)
        _call([*(_root() if kind == SYSTEM else []), "rm", "-f", path])
        _systemctl(kind, "daemon-reload")
        with contextlib.suppress(Unavailable):  # it is not in the list of failed units
            _systemctl(kind, "reset-failed", name)
    except Unavailable as e:
        raise NodeError(
            "cannot remove the unit %s: %s; as root: systemctl disable --now %s; rm %s" % (path, e, name, path)
        ) from None


def stop_supervisor(state_dir: str) -> None:
    """End our own supervisor, if there is one, and its daemon, which may be slower to end."""
    supervisor = _process(_living(state_dir, SUPERVISOR))
    if supervisor:
        processes.end([supervisor], END_S)
        processes.end([one for one in [_process(_living(state_dir, DAEMON))] if one], END_S)


def _process(who: Optional[Dict[str, Any]]) -> Optional[processes.Process]:
    return processes.find(who["pid"]) if who else None


# ---- systemd
def _root() -> List[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def _systemctl(kind: str, *words: str) -> str:
    return _call([*_root(), "systemctl", *words] if kind == SYSTEM else ["systemctl", "--user", *words])


def _call(argv: Sequence[str], text: str = "") -> str:
    """Run it; what it printed. Raises `Unavailable` with its last words when it fails."""
    if shutil.which(argv[0]) is None:
        raise Unavailable("there is no %s" % argv[0])
    try:
        done = subprocess.run(
            argv, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=CALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("%s takes longer than %g s" % (argv[0], CALL_S)) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Unavailable(said[-1] if said else "%s ended with %d" % (argv[0], done.returncode))
    return done.stdout.decode("utf-8", "replace")
