"""From a checked request to the exact bytes that a signer signs, and back to a certificate."""
