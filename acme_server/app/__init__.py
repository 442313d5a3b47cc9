"""The composition root: the one room that builds concrete objects from settings.

``preparation`` brings database and CA to where processes can start, ``http`` builds an HTTP
worker, ``background`` the background process.
"""
