"""What knows Rucio and nothing of Jupyter: DIDs, configuration, sign-in, search, resolution.

Nothing in this package imports tornado, IPython, jupyter_server or traitlets, so that a script or a dask worker can use
it alone.
"""
