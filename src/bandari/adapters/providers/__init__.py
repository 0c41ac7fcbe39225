"""Upstreams over HTTP: one file per protocol that they speak, one transport for all."""
