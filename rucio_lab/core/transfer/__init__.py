"""Downloads: verified, resumed, and stored under safe names."""
