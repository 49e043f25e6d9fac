# SPDX-License-Identifier: Apache-2.0
"""The scaler on the head: what it needs there, and how it gets there, so that it works while the laptop is off.

    target.py      the Python on the head that is to run it: which wheels it takes
    wheels.py      wheels made of what is installed here, and of rayctl itself
    wheelhouse.py  all wheels for a target, in a folder named by their digest
    wheeldigest.py that digest alone, remembered
    known.py       the lines of known_hosts files that are about a host
    facts.py       as whom and at which port hosts were met, for a file that leaves it open
    resolved.py    the cluster file as the head is to read it: flags applied, nothing of this machine in it
    bundle.py      that file, host keys and mount contents, by digest
    service.py     what is run there
    wanted.py      what a head has, against what it should have; `why.py` has the reasons in words
    asking.py      requests to a host's end of the line, with the node code that is about scalers
    install.py     bringing one host to what is wanted: access for the head's key, and on the head all the rest

What runs on hosts for it is `rayctl/node/access.py` and `rayctl/node/scaler_*.py`.
"""
