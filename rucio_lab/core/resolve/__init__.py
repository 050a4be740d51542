"""From DIDs to files: expand DIDs, choose replicas, and report what cannot be read."""
