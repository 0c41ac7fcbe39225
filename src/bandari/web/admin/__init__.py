"""The operator API, under ``/admin/v1``: what the command line does, over HTTP and for several.

One file for each thing; ``entrance`` is who may come in, ``table`` which URL is whose.
"""
