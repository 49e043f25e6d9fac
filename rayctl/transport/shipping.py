# SPDX-License-Identifier: Apache-2.0
"""How `rayctl/node/` gets to a node: as source, through the stdin of one exec, into memory.

Nothing is installed or left on the node, a full disk is no obstacle, and there is no file that someone could have planted.
The modules are a few kilobytes compressed; they need Python 3.8 and its standard library.
"""

from __future__ import annotations

import json
import shlex
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rayctl import node
from rayctl.node import wire

# in the order in which they import each other
MODULES = (
    "processes", "wire", "noise", "state", "ending", "steps", "supervisor", "sudo", "sources", "rootshell", "control",
    "follower", "hub", "look", "ray", "probe", "claims", "launched", "claim", "leaving", "orphan", "lease", "handover", "ops",
    "ports", "work", "synced", "watch", "start", "run", "runner", "front",
)  # fmt: skip
# sent along by who asks about scalers (`rayctl/node/scaler_ops.py`), behind all others
SCALER = (
    "access", "scaler_probe", "scaler_folder", "scaler_home", "scaler_launch", "scaler_service", "scaler_ops",
)  # fmt: skip
NO_PYTHON = 88  # exit status when no interpreter will do
# argv: this text, and the interpreters that are left to try
BOOT = f"""import sys,os
if sys.version_info<(3,8):
 b=sys.argv[1]
 for i in range(2,len(sys.argv)):
  try:os.execvp(sys.argv[i],[sys.argv[i],'-I','-S','-c',b,b]+sys.argv[i+1:])
  except OSError:pass
 sys.exit({NO_PYTHON})
import json,zlib,types
b=sys.stdin.buffer
m=json.loads(zlib.decompress(b.read(int(b.readline()))).decode())
class L:
 def __init__(self,s):self.s=s
 def get_source(self,n):return self.s
p=types.ModuleType('rayctl_node');p.__path__=[];sys.modules['rayctl_node']=p
for n,s in m:
 t=types.ModuleType('rayctl_node.'+n);t.__package__='rayctl_node';t.__loader__=L(s);sys.modules[t.__name__]=t
 exec(compile(s,'rayctl_node/'+n+'.py','exec'),t.__dict__);setattr(p,n,t)
p.front.main()
"""
TRY = (
    'while [ $# -gt 0 ]; do p=$1; shift; command -v "$p" >/dev/null 2>&1 && exec "$p" -I -S -c "$b" "$b" "$@"; done; '
    f"exit {NO_PYTHON}"
)


@cache
def parcel(further: tuple[str, ...] = ()) -> bytes:
    """The package and `further` modules as BOOT reads them: a line with the length, then JSON [[module, source], ...]."""
    folder = Path(node.__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in (*MODULES, *further)]
    body = zlib.compress(json.dumps(sources).encode("utf-8"), 6)
    return b"%d\n%b" % (len(body), body)


def boot_command(interpreters: Sequence[str]) -> str:
    """The shell command that starts the node's end of the line in the first of these interpreters that is 3.8 or newer."""
    return f"b={shlex.quote(BOOT)}; set -- {shlex.join(interpreters)}; {TRY}"


def opening(request: Mapping[str, Any], further: tuple[str, ...] = ()) -> bytes:
    """All that is sent before the first answer: the package and the request."""
    return parcel(further) + wire.encode(dict(request))
