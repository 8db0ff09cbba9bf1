"""Training engines of P2R Lab: one contract (contract.py), thin adapters behind it."""
