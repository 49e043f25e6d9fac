# SPDX-License-Identifier: Apache-2.0
"""Around an editable install: let Ansible find the checkout's own collection from any folder.

An editable install copies the collection's folders into site-packages, where they are stale after the first edit. After it
this puts a link in their place; `--unlink` before the next one, or pip would write through the link into the checkout.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Replace the copy by a link to the checkout, or take the link away."""
    place = Path(sysconfig.get_path("purelib")) / "ansible_collections" / "rayctl" / "ray"
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    if sys.argv[1:] == ["--unlink"]:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(ROOT)


if __name__ == "__main__":
    main()
