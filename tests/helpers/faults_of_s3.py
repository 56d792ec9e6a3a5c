"""An S3 server in a process of its own, behind a proxy that fails requests at random."""

import http.client
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import ProxyServer, await_port, s3_serving, serving


@contextmanager
def failing_s3(share: float, seed: int) -> Iterator[tuple[str, Callable[[], Counter[str]]]]:
    """The URL of a new bucket, opened by the environment, and the proxy's count of requests.

    The servers run in another process, so that this one may be forked.
    """
    command = [sys.executable, __file__, str(share), str(seed)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url, bucket = server.stdout.readline().split()
        os.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example-secret",
            "AWS_REGION": "us-east-1",
        }

        def counts() -> Counter[str]:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write("\n")
            server.stdin.flush()
            words = server.stdout.readline().split()
            return Counter({kind: int(n) for kind, n in zip(words[::2], words[1::2], strict=True)})

        try:
            yield f"s3://{bucket}/store.zarr", counts
        finally:
            server.stdin.close()


def main() -> None:
    """Serve until the input ends; every line of it is answered with the counts."""
    with s3_serving() as address:
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("PUT", f"/{bucket}")
        assert connection.getresponse().status == 200
        connection.close()
        proxy = ProxyServer(address, float(sys.argv[1]), int(sys.argv[2]))
        with serving(proxy):
            await_port(proxy.server_port)
            print(proxy.url, bucket, flush=True)
            for _ in sys.stdin:
                for kind, count in proxy.counts.items():
                    print(kind.replace(" ", "-"), count, end=" ")
                print(flush=True)


if __name__ == "__main__":
    main()
