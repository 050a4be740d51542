"""Settings of gunicorn that have no command line option."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any


def ssl_context(_config: Any, default_ssl_context_factory: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Also accept proxy certificates (RFC 3820), which grid users sign in with."""
    context = default_ssl_context_factory()
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context
