"""The public plain-HTTP side: CRLs, CA certificates, roots. OCSP will live here too."""
