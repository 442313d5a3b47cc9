"""What HTTP front ends share: the guarded edge, routes, responses, URLs, the request log.

A front end gives ``Routes`` whose handlers take a ``Request`` and return a ``Response``; nothing
of the HTTP library shows beyond ``edge`` and ``connections``.
"""
