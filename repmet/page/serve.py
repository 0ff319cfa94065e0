"""A detector for Label Studio: it pre-annotates, and what is drawn there teaches it.

    repmet serve my_photos --label-studio http://localhost:8080

Prints an address for Label Studio's settings, Model, Connect Model. The address holds a token; keep it to yourself. Marks
are kept in a project folder, which `repmet page` opens too.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repmet.errors import MissingPackage, UserError, exit_code
from repmet.page.command import LOOPBACK, PROJECT

PROG = "repmet serve"
PORT = 9090  # where Label Studio's documentation has backends


def run(args: argparse.Namespace) -> int:
    """The command: what may refuse at once comes before the seconds that opening a detector takes."""
    try:
        import fastapi  # noqa: F401
    except ImportError:
        raise MissingPackage("the backend needs the extra `page`: pip install 'repmet[page]'") from None
    import uvicorn

    from repmet.page.backend import Backend
    from repmet.page.label_studio_app import application
    from repmet.page.project import Project
    from repmet.page.server import bound
    from repmet.page.task_images import TaskImages
    from repmet.page.teacher import Teacher

    folder = Path(args.folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    project_folder = Path(args.project) if args.project else folder / PROJECT
    key = args.api_key or os.environ.get("LABEL_STUDIO_API_KEY")
    images = TaskImages(folder, project_folder.absolute() / "fetched", args.label_studio, key)
    sock = bound(args.host, args.port)
    project = Project(project_folder)
    try:
        from repmet import FewShotDetector

        teacher = Teacher(FewShotDetector(args.checkpoint, cache=project.folder / "cache"), args.classes)
        token = kept_token(project.folder / "token")
        app = application(Backend(project, teacher, images), token)
        name = f"[{args.host}]" if ":" in args.host else args.host
        sock.listen(128)
        print(f"the project is kept in {project.folder}")
        print(f"connect Label Studio to http://{name}:{sock.getsockname()[1]}/{token}", flush=True)
        if args.host not in LOOPBACK:
            line = "whoever can reach this machine by network and knows the address may see proposals and change the marks"
            print(f"--host {args.host}: {line}; what is sent is not encrypted", file=sys.stderr)
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        config = uvicorn.Config(app, log_level="warning", proxy_headers=False, server_header=False)
        uvicorn.Server(config).run(sockets=[sock])
    finally:
        project.close()
    return 0


def kept_token(path: Path) -> str:
    """The token of a project: the same at every start, as Label Studio keeps the address; for its owner's eyes alone."""
    if path.is_file():
        token = path.read_text(encoding="ascii", errors="replace").strip()
        if len(token) < 20 or not token.replace("-", "").replace("_", "").isalnum():
            raise UserError(f"{path}: holds no token; delete it, then another one is made")
        return token
    token = secrets.token_urlsafe(24)
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w") as file:
        file.write(token + "\n")
    return token


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options: list[tuple[str, dict[str, Any]]] = [
        ("--label-studio", {"default": "http://localhost:8080", "metavar": "URL", "help": "where it runs (%(default)s)"}),
        ("--api-key", {"metavar": "KEY", "help": "of an account there, for uploaded images (or LABEL_STUDIO_API_KEY)"}),
        ("--project", {"metavar": "DIR", "help": f"what is learnt is kept there (default: {PROJECT} in FOLDER)"}),
        ("--classes", {"metavar": "FILE", "help": "begin with these classes, as `repmet detect --save` wrote them"}),
        ("--checkpoint", {"metavar": "PATH", "help": "another detector than the one that ships"}),
        ("--port", {"type": int, "default": PORT, "metavar": "N", "help": "where to listen (%(default)s)"}),
        (
            "--host",
            {"default": "127.0.0.1", "metavar": "ADDRESS", "help": "who may connect: this machine alone (%(default)s)"},
        ),
    ]
    what = "the images; the same as Label Studio's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT (default: this folder)"
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help=what)
    for name, more in options:
        parser.add_argument(name, **more)
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
