"""What is configured: files, presets, ``rucio.cfg`` and a site's own address, put together into instances."""
