# SPDX-License-Identifier: Apache-2.0
"""`python -m rayctl`: the command, for where nobody put it on the path."""

from rayctl.cli.main import main

if __name__ == "__main__":
    main()
