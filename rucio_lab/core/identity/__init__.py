"""Who the user is to Rucio: sign-in, tokens and their renewal, certificates."""
