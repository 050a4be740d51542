"""Reading one replica in byte ranges, over http, XRootD or a mount, and asking whether its server is alive."""
