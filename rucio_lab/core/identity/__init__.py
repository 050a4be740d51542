"""Who the user is at Rucio: sign-in, tokens and their renewal, certificates."""
