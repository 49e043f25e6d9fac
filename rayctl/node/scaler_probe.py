# SPDX-License-Identifier: Apache-2.0
"""What there is on this host that a scaler could run with: an interpreter that is new enough, and the programs it calls."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Optional

NEWEST = ("python3.13", "python3.12", "python3.11", "python3")
ELSEWHERE = ("/usr/local/bin", "/usr/bin")  # where PATH of a command over ssh may not lead
PROGRAMS = ("ssh", "ssh-keygen")
OLDEST = (3, 11)
LOOK_S = 20.0
# told as JSON: an interpreter of a virtual environment names the one below it
TELL = """import json,os,platform,sys,sysconfig
try: libc=os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError,OSError): libc=""
if not libc:
 for n in sorted(os.listdir("/lib")):
  if n.startswith("ld-musl-"): libc="musl 1.2"
print(json.dumps({"python":getattr(sys,"_base_executable","") or sys.executable,"version":sys.version_info[:3],
"implementation":sys.implementation.name,"platform":sysconfig.get_platform(),"libc":libc,
"abi":"cp%d%d%s"%(sys.version_info[0],sys.version_info[1],getattr(sys,"abiflags","").replace("m",""))}))"""


def probe(asked: str) -> Dict[str, Any]:
    """{python: what the best interpreter tells of itself or None, tried: what was found instead, missing: programs}.

    `asked` names the only interpreter that will do; empty for the newest there is.
    """
    tried = []
    for name in [asked] if asked else NEWEST:
        told = _told(name)
        if told is not None and tuple(told["version"]) >= OLDEST and told["implementation"] == "cpython":
            return {"python": told, "tried": "", "missing": _missing()}
        if told is not None:
            tried.append("%s %s" % (told["implementation"], ".".join(map(str, told["version"]))))
    return {
        "python": None,
        "tried": ", ".join(dict.fromkeys(tried)) or ("not there" if asked else "none"),
        "missing": _missing(),
    }


def _missing() -> List[str]:
    return [name for name in PROGRAMS if _found(name) is None]


def _found(name: str) -> Optional[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ELSEWHERE])
    return shutil.which(os.path.expanduser(name), path=path)


def _told(name: str) -> Optional[Dict[str, Any]]:
    """What an interpreter says of itself; None when there is none of this name, or none that runs."""
    path = _found(name)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", TELL], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=LOOK_S, check=False,
        )  # fmt: skip
        told = json.loads(done.stdout.decode())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return told if isinstance(told, dict) else None
