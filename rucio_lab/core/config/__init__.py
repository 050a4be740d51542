"""Configuration: files, presets, ``rucio.cfg`` and the remote file of a site, put together into instances."""
