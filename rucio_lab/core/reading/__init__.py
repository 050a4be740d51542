"""Reading byte ranges of one replica over http, XRootD or a mount, and probing its server."""
