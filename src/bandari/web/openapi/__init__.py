"""The OpenAPI 3.1 document: what is served, exactly enough to generate a client from it.

``document`` puts it together; a file per surface describes its operations, and ``shapes`` has the
types of what is sent and answered. Knows no request and no endpoint: it is a value.
"""
