"""Five megabytes in which nothing repeats: a part lost, doubled or moved changes the checksum."""

from __future__ import annotations

import hashlib
import random

PAYLOAD = random.Random(20261123).randbytes(5 << 20)
SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
