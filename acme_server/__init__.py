"""The running server: everything a client talks to, and the process around it."""

__version__ = "0.1.0"
