"""HTTP in: the server, its endpoints, errors at the edge, the operator's pages.

Knows service, wire and domain.
"""
