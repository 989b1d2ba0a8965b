#!/bin/sh
# Guess:   the licence in the metadata of Unicorn's wheel is that of the library in it, version 2 of the GPL, since the
#          engine is made of QEMU.
# Reality: the fields that licence scanners read (License, License-Expression, classifiers) say BSD; the description in the
#          same metadata, which is the README, says "free software license GPLv2".  The wheel holds no COPYING.
# Why it matters: whoever decides by metadata that a tool with Unicorn inside may be shipped under any licence is wrong.
# Seen with unicorn 2.1.4.  Fails if that changes.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory/venv"
"$directory/venv/bin/pip" --quiet --disable-pip-version-check install unicorn==2.1.4
"$directory/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import distribution

unicorn = distribution("unicorn")
metadata = unicorn.metadata
fields = [f"License: {metadata['License']}"] if metadata["License"] else []
fields += [f"License-Expression: {metadata['License-Expression']}"] if metadata["License-Expression"] else []
fields += [classifier for classifier in metadata.get_all("Classifier") or [] if "License" in classifier]
description = metadata["Description"] or metadata.get_payload() or ""
texts = [str(file) for file in unicorn.files or [] if "copying" in file.name.lower()]
print(f"unicorn {unicorn.version}: {'; '.join(fields)}; GPLv2 in the description: {'GPLv2' in description}; COPYING: {texts or 'none'}")
if not any("BSD" in field for field in fields) or "GPLv2" not in description or texts:
    sys.exit("this has changed")
PYTHON
