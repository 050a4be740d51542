"""Downloads as processes of their own, which outlive the Jupyter server."""
