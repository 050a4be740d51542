"""How storages are accessed: which credentials they get, TLS, schemes, redirects, and what their answers mean."""
