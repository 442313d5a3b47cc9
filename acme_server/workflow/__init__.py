"""Use cases: each reads as the sequence of its duties, one transaction each.

No HTTP and no JWS here. Front ends and workers call; ``storage`` remembers; ``policy`` decides.
"""
