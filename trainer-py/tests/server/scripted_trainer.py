"""The real server with the scripted child. At its end it tells which of torch's modules it has imported."""

import json
import sys
from pathlib import Path

from bora_trainer.__main__ import main, parse

if __name__ == "__main__":
    status = main(child_command=(sys.executable, str(Path(__file__).with_name("scripted_child.py"))))
    imported = sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "transformers"))
    parse(None).run_root.mkdir(parents=True, exist_ok=True)
    parse(None).run_root.joinpath("imported.json").write_text(json.dumps(imported))
    sys.exit(status)
