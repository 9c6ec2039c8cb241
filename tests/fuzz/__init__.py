"""Fuzzing of what reads untrusted text and bytes."""
