# SPDX-License-Identifier: Apache-2.0
"""What rayctl keeps on a controller, and how it makes sure that one writer at a time changes a cluster.

    paths      where everything lies
    private    folders and files that nobody else can have written
    files      versioned JSON documents on top of `private`: atomic, checked, migrated
    holder     who is at work: a process, told apart from one that bears its number later
    lock       the first level: one writer of a cluster on this controller
    lease      the second level: one writer of a cluster in the world, decided by pure functions
    keeper     takes the lease, renews it while an operation runs, notices its loss
    token      the secret that Ray's processes of one cluster share
    cluster    what a controller remembers of a cluster; a cache, the provider knows better

Nothing here is the truth about which nodes exist: losing the whole folder costs a little time and no machine.
"""
