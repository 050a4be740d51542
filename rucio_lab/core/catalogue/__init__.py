"""Questions to Rucio about data: search, metadata, contents, replicas."""
