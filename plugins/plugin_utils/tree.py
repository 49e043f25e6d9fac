# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the Python package importable: the installed one, else the one that lies beside the collection in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.errors import AnsibleError

try:
    import rayctl
except ImportError:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    try:
        import rayctl
    except ImportError:
        raise AnsibleError(
            "The collection rayctl.ray needs the Python package rayctl beside ansible-core: pip install rayctl"
        ) from None

__all__ = ["rayctl"]
