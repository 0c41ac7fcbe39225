"""Puts the house together: the only room that knows the concrete classes.

Configuration comes in as values and leaves as objects that know nothing of it. Nothing is imported
here, so that a command loads only what it needs.
"""
