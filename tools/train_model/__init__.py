"""Trains the small model that ships inside Bandari. See README.md in this folder."""
