"""Transports: how bytes reach a host's shell. The seam is `base`; everything above it is the same for every kind."""
