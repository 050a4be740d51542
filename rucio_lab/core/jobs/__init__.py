"""Downloads in processes of their own, which outlive the Jupyter server."""
