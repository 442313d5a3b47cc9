"""The values every room shares: identifiers, accounts, orders, authorizations, certificates."""
