"""The typed configuration and its strict loader.

``settings`` has one frozen dataclass per section of the file, ``loader`` fills them, ``reference``
writes ``docs/configuration.md`` and ``config.example.yaml``.
"""
