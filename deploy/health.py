"""Exit code 0 when the policy server of this container answers that it is well. PALMAR_HEALTH: another address than the usual.

The certificate is not looked at: it is for the name that clients use, and this asks the container itself.
"""

import os
import ssl
import sys
import urllib.error
import urllib.request

where = os.environ.get("PALMAR_HEALTH", "http://127.0.0.1:8000/healthz")
try:
    with urllib.request.urlopen(where, timeout=5, context=ssl._create_unverified_context()) as answer:
        print(answer.read(200).decode("utf-8", "replace").strip())
except (OSError, ValueError) as error:
    sys.exit(f"{where}: {error}")
