"""The page that people read: the OpenAPI document as one HTML page, without a script or a request.

Knows the document and nothing of what it describes: a new surface appears by itself.
"""
