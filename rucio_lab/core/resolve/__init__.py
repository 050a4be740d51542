"""From DIDs to files: expand them, choose replicas, and report."""
