"""The package's version, in one place; and when this process began to import the package."""

import time

VERSION = "0.1.0"
imported = time.time()  # seconds, as the times of files are; no constant: it is another one in each process
