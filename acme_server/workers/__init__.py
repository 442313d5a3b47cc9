"""Background work: validation, publication, sealing, housekeeping.

All of it starts from durable rows, can run twice without harm, and is taken over when its owner
dies.
"""
