"""What Rucio is asked about data: search, metadata, contents, replicas."""
