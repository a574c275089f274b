"""Serves a page in a browser on which images are answered, corrected, and the corrections kept.

What the page does is in `serving/`. How the corrections lie on disk says `serving/corrections.py`.
"""

import ipaddress
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from datamodules.vocabulary import Vocabulary
from experiments.cli import run_command

REMEDY = "pip install '.[web]' in the repository"


def serve(
    *,
    checkpoint: Path,
    out: Path,
    labels: str | None = None,
    examples: Path | None = None,
    reviewer: str = "",
    product: str = "part",
    material: str = "",
    host: str = "127.0.0.1",
    port: int = 7860,
    upload_mb: int = 50,
    device: str = "",
) -> int:
    """Serve a page on which people drop images, correct answers and keep the corrections.

    Args:
        checkpoint: a run directory, a .ckpt in it, a release
        out: where corrections go, at once: a COCO set for --source coco and --examples
        labels: words of the first answers, as for predict; the page changes them
            (default: the classes that the model was trained on)
        examples: a folder of examples, as for predict: regions are named by words and by these
        reviewer: who corrects (default: the page asks)
        product: what captions call the part
        material: what captions say that it is made of
        host: the address to listen at; another than the default lets others on the network in
        port: where the page is, 0 for any that is free
        upload_mb: the largest file that is taken
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
    """
    if find_spec("gradio") is None:
        raise ValueError(f"the page needs Gradio, which is not installed: {REMEDY}")
    if labels is not None:
        Vocabulary.parse(labels)
    if upload_mb < 1:
        raise ValueError(f"--upload_mb is {upload_mb}: expected 1 or more")
    port = free_port(host, port)
    from experiments.checkpoints import GALLERY
    from experiments.predictor import load_predictor
    from experiments.serving.corrections import Corrections
    from experiments.serving.desk import Desk
    from lightning_modules.nets.gallery import INDEX

    corrections = Corrections(out)
    predictor = load_predictor(checkpoint, device=device)
    desk = Desk(predictor, corrections, product=product, material=material)
    if examples is not None:
        predictor.use_own_gallery(examples)
    if (out / GALLERY / INDEX).is_file():  # of earlier sessions
        predictor.join_gallery(out / GALLERY)
    with TemporaryDirectory(prefix="diffuse_defect_page_") as uploads, desk:
        # Before it is imported, which reads them.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from experiments.serving.page import Page

        page = Page(desk, words=labels or desk.words, reviewer=reviewer, place=Path(uploads))
        page.launch(host=host, port=port, upload_mb=upload_mb)
        if not is_loopback(host):
            print(
                f"warning: whoever reaches {host} can use this page and correct in any name",
                file=sys.stderr,
            )
        print(f"the page is at http://{host}:{port}; corrections go to {out.resolve()}")
        sys.stdout.flush()
        Event().wait()
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """The port, any free one for 0; ValueError where it is in use or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"can't listen at {host}, port {port} ({error}): expected a free port and an "
                "address of this machine; choose another --port"
            ) from error
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    try:
        run_command(serve)
    except SystemExit as end:
        # All is cleaned up, and the server's libraries keep the interpreter from ending for minutes
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)
