# SPDX-License-Identifier: Apache-2.0
"""The cluster file: `load` turns it into a `ClusterConfig`, which is all that the rest of rayctl knows of it.

On the way: `places` (YAML with line numbers) -> `legacy` (old spellings) -> `model`, `provider`, `clouds` (what may be said,
made of `words`) -> `settle`, `hosts` (what is left unsaid); `judge` has all of them look, `problems` puts what is wrong into
words. From the result `steps` and `start` (with `shell`) read what runs on a node, `files` the local paths, `digest` whether
something has changed; `schema` tells editors what may be said.
"""
