"""The schema's history, one file for each revision; run by ``migrate.py``."""
