# python3: json, hashlib, decimal, re
import collections
import datetime
import decimal
import hashlib
import json
import re
import zlib

print(json.dumps({"a": [1, 2.5, None]}), sorted(json.loads('{"k": 1}')))
print(hashlib.sha256(b"x").hexdigest(), zlib.crc32(b"x"), re.sub("a", "b", "banana"))
print(decimal.Decimal(1) / 3, collections.Counter("abca").most_common(1), datetime.date(2001, 2, 3).isoformat())
