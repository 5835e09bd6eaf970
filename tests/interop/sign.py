"""Signs the messages on stdin, one JSON object a line, by the published Python package; one signature a line."""

import datetime
import json
import os
import sys

from standardwebhooks import Webhook

key = Webhook(os.environ["HOOK_KEY"])
for line in sys.stdin:
    message = json.loads(line)
    at = datetime.datetime.fromtimestamp(message["at"], datetime.timezone.utc)
    print(key.sign(message["id"], at, message["payload"]))
