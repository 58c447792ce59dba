"""Empty wheels of what vLLM's CPU build names among its dependencies but does not use on a CPU.

The real ones are builds for CUDA: gigabytes, and importing them beside a CPU build of torch fails.

usage: python stub_wheels.py FOLDER
"""

import sys
import zipfile
from pathlib import Path

STUBS = {"torchvision": "0.28.0", "torchaudio": "2.11.0", "torchcodec": "0.17.0", "triton": "3.9.0"}


def write_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel with metadata and no module; its local version tells it from the real one."""
    version += "+stub"
    info = f"{name}-{version}.dist-info"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: Stands in for the CUDA build; holds no code.\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: syndigits_jax\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{info}/{file},,\n" for file in (*files, "RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in (*files.items(), ("RECORD", record)):
            wheel.writestr(f"{info}/{file}", content)
    return path


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for package, release in STUBS.items():
        print(write_wheel(target, package, release).name)
