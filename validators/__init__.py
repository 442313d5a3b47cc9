"""Proof of control: challenge validators and the guarded network that they use."""
