"""Everything that knows Rucio and not Jupyter: DIDs, configuration, sign-in, search, resolution.

Nothing in this package imports tornado, IPython, jupyter_server or traitlets, so a script or a dask worker can use it
alone.
"""
