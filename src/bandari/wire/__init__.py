"""How it is spelled: sans-I/O codecs, bytes to domain values and back. One place per protocol.

A codec knows a protocol, not a role: the same file reads our clients' requests and writes ours to
an upstream. Nothing here knows the service, the network or a clock.
"""
