"""How much memory a call takes at most, measured in a process of its own."""

import subprocess
import sys

_MEASURED = """
import resource
{before}
started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {call}
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started) * 1024)
"""


def peak(before: str, call: str, *arguments: str) -> tuple[int, str]:
    """Bytes that ``call`` takes beyond what ``before`` took, and what it raised or printed."""
    code = _MEASURED.format(before=before, call=call)
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    *words, taken = run.stdout.strip().splitlines()
    return int(taken), " ".join(words)
