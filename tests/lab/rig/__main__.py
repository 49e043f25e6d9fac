# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.lab.rig`."""

from __future__ import annotations

import sys

from .command_line import main

sys.exit(main(sys.argv[1:]))
