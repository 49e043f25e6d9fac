# SPDX-License-Identifier: Apache-2.0
"""A small client of a running Ray head: what its GCS (global control service) knows, read without importing Ray.

What flows through here: `client` asks the head over gRPC, `autoscaler` tells it what an autoscaler tells, `messages` holds
the part of Ray's protocol that is spoken, `decode` turns replies into the plain data of `view`, `errors` says what can go
wrong. One client serves every Ray that has a gRPC GCS: fields it does not know are passed over, and a head too old for the
autoscaler service (Ray 2.5 and before) is asked through the calls that it does have.

Importing this package, `view` or `errors` loads neither grpc nor protobuf.
"""
