"""What happens: the use cases, written against the ports in ``ports``.

Knows domain, nothing else.
"""
