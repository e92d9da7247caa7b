"""Compile the core and record its checksum.

    make core

In:  the C files of this folder; the compiler of requirements-dev.txt (`ziglang`).
Out: core.wasm; its checksum in wasm.py. The same files give the same bytes on every machine.
"""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# No library, no system: the module imports nothing. One megabyte of stack holds MAX_DEPTH nested macros.
OPTIONS = (
    "-target wasm32-freestanding -O3 -flto -msimd128 -mbulk-memory -nostdlib -ffreestanding -s "
    "-Wall -Wextra -Werror -Wno-missing-field-initializers -Wl,--no-entry -Wl,-z,stack-size=1048576"
).split()


def compile_core(output: Path) -> None:
    """Compile the C files of this folder to the module `output`."""
    sources = sorted(path.name for path in FOLDER.glob("*.c"))
    command = [sys.executable, "-m", "ziglang", "cc", *OPTIONS, "-o", str(output), *sources]
    subprocess.run(command, check=True, cwd=FOLDER)


def main() -> None:
    """Make core.wasm."""
    module, runner = FOLDER / "core.wasm", FOLDER / "wasm.py"
    compile_core(module)
    checksum = hashlib.sha256(module.read_bytes()).hexdigest()
    code = re.sub(r'^SHA256 = ".*"$', f'SHA256 = "{checksum}"', runner.read_text("utf-8"), flags=re.MULTILINE)
    runner.write_text(code, "utf-8")
    print(f"{module}: {module.stat().st_size} bytes, {checksum}")


if __name__ == "__main__":
    main()
