"""What storages are shown and trusted with: tokens, TLS, schemes and redirects."""
