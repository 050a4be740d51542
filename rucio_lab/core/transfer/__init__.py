"""Downloads: verified, resumed, and put in their place."""
