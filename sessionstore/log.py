"""Say what happens to whoever listens: silent until the application configures logging."""

import logging

logger: logging.Logger = logging.getLogger("sessionstore")
logger.addHandler(logging.NullHandler())
