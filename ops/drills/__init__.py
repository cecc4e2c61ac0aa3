"""Drills: something is destroyed on purpose and brought back, and how long that took is kept on record."""
