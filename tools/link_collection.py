# SPDX-License-Identifier: Apache-2.0
"""After an editable install: let Ansible find the checkout's own collection from any folder.

An editable install copies the collection's folders into site-packages, where they are stale after the first edit. This
puts a link in their place.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Replace the copy by a link to the checkout."""
    place = Path(sysconfig.get_path("purelib")) / "ansible_collections" / "rayctl" / "ray"
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(ROOT)


if __name__ == "__main__":
    main()
