"""Bandari turns models into your own metered AI API."""

__version__ = "0.1.0"
