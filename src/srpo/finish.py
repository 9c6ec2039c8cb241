"""Temporary."""


def write_report(s): ...
