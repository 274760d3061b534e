"""Small IDX files for tests, a web server for them, and torchvision's data sets pointed at it."""

import gzip
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

SIZES = {"train": 30, "t10k": 12}


def idx_bytes(tensor: torch.Tensor) -> bytes:
    """A uint8 tensor in the IDX format: magic (0, 0, 8 for uint8, dimensions), each size big-endian, the bytes."""
    header = bytes([0, 0, 8, tensor.ndim]) + b"".join(n.to_bytes(4, "big") for n in tensor.shape)
    return header + tensor.numpy().tobytes()


def examples(name: str, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels of the small set's part "train" or "t10k"."""
    rng = torch.Generator().manual_seed(SIZES[name])
    images = torch.randint(256, (SIZES[name], *(shape or (28, 28))), generator=rng, dtype=torch.uint8)
    return images, torch.arange(SIZES[name], dtype=torch.uint8).remainder_(10)


def files(*shape: int) -> dict[str, bytes]:
    """The four files of the small set, by their names without .gz."""
    parts = {name: dict(zip(("images-idx3", "labels-idx1"), examples(name, *shape), strict=True)) for name in SIZES}
    return {f"{name}-{kind}-ubyte": idx_bytes(tensor) for name, part in parts.items() for kind, tensor in part.items()}


def compressed(content: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in content.items()}


def resources(served: dict[str, bytes]) -> list[tuple[str, str]]:
    """What torchvision wants to know of these files: names and MD5."""
    return [(name, hashlib.md5(data, usedforsecurity=False).hexdigest()) for name, data in served.items()]


class Server:
    """A web server on this machine. `served` may be changed at any time; `asked` counts the requests by path.

    fault: "cut" closes the connection in the middle of the body, "stall" sends half of it and then nothing,
    "silent" never answers, "slow" waits a little before it answers.
    """

    def __init__(self, served: dict[str, bytes], fault: str = "") -> None:
        self.served, self.fault, self.asked, self.released = served, fault, Counter(), threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                outer.asked[name] += 1
                if outer.fault == "silent":
                    outer.released.wait()
                    return
                if outer.fault == "slow":
                    time.sleep(0.05)
                if name not in outer.served:
                    self.send_error(404)
                    return
                body = outer.served[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                if outer.fault == "stall":
                    self.wfile.flush()
                    outer.released.wait()
                if outer.fault not in ("cut", "stall"):
                    self.wfile.write(body[len(body) // 2 :])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that went away

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def stop(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@contextmanager
def serving(served: dict[str, bytes], fault: str = "") -> Iterator[Server]:
    server = Server(served, fault)
    try:
        yield server
    finally:
        server.stop()


def write(folder: Path, content: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder
