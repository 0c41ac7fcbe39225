"""Receipts and usage as the operator and the customers read them: JSON, JSON Lines and CSV.

``fields`` what a receipt and a row of usage say, by name; ``bodies`` them as JSON; ``tables`` as
CSV; ``exports`` the two forms of an export, to be chosen from.

Rule 1: no I/O; every function returns bytes of its own.
Rule 2: amounts and counts are integers. A time is told twice: in milliseconds since 1970 and, for
people, in ISO 8601, both UTC.
"""
