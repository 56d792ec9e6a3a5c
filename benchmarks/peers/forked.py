"""A measurement in a copy of this process: everything is imported already, nothing else is shared.

What is measured must not have run in the parent before: neither threads of OpenMP nor those of
obstore live on in a copy.
"""

import json
import os
import traceback
from collections.abc import Callable
from typing import Any


def in_a_copy(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, as JSON has it; raises RuntimeError where the copy fails."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            text = json.dumps(function(*arguments))
            os.write(writing, text.encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    if os.waitpid(process, 0)[1]:
        raise RuntimeError(f"{function.__name__}{arguments} failed")
    return json.loads(text)
