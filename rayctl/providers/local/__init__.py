# SPDX-License-Identifier: Apache-2.0
"""Hosts of your own: machines that the cluster file names, reached by ssh, shared with whoever else may use them.

To launch a host is to claim it, to terminate it is to end what is ours there and to release the claim. A claim lies on the
host itself (`node/claim.py`), so that two clusters never take one host, whoever runs them and from wherever.

    hosts.py      the declared hosts: names, types, connections
    claims.py     claiming and releasing one host, and how a refusal is told
    provider.py   the contract's calls, in terms of the rest
"""

from rayctl.providers.local.provider import LocalProvider

__all__ = ["LocalProvider"]
