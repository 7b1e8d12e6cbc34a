"""Shows a host name as it is sent."""

import os
import sys

import idna
import six

for name in sys.argv[1:]:
    print(name, idna.encode(name).decode(), six.__version__, os.environ.get("APP_MODE"))
