"""The JSON objects of the HTTP API as types, a file per surface, in their protocols' spelling.

They describe and do not decode: the codecs in ``wire`` do that. ``schema`` makes JSON schemas of
them. A class's docstring, and a text in ``Annotated``, is what the reader of the document is told.
"""
