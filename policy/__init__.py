"""The shared core: what may be issued, and the bytes of it.

The innermost room. Values, decisions and bytes; no network, no database, no clock, no log lines.
"""
