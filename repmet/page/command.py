"""Mark one box on a page in the browser, see all others.

    repmet page my_photos
    repmet page my_photos --classes my_classes.repmet
    repmet page a.jpg b.jpg --project my_project --no-browser
    repmet page my_photos --whole

Draw a box around a thing and name it: every image shows where it is found again. Click a find to accept it, again to reject
it. With --whole images are sorted into classes instead: click a few of each, drag what is wrong. What is drawn or said is
kept at once in the project folder. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.errors import MissingPackage, UserError, exit_code

PROG = "repmet page"
PROJECT = "repmet-page"  # of a folder's own project
SAVED = b"PK"  # what a file of classes begins with
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def run(args: argparse.Namespace) -> int:
    """The command: what may refuse at once comes before the seconds that opening a detector takes."""
    try:
        import nicegui  # noqa: F401
    except ImportError:
        raise MissingPackage("the page needs the extra `page`: pip install 'repmet[page]'") from None
    from repmet.page.gallery import Gallery
    from repmet.page.project import Project
    from repmet.page.server import bound, boxes_layout, serve, whole_layout
    from repmet.page.session import Session
    from repmet.page.teacher import Teacher
    from repmet.page.whole_labels import WholeProject
    from repmet.page.whole_session import Classifier, WholeSession

    if args.whole and args.classes is not None:
        raise UserError("--classes begins with classes of boxes; --whole sorts whole images")
    if args.port is not None and not 0 <= args.port < 65536:
        raise UserError(f"a port is in 0..65535, not {args.port}")
    if args.classes is not None and not Path(args.classes).is_file():
        raise FileNotFoundError(f"{args.classes}: no such file of classes; `repmet detect --save` writes one")
    if args.classes is not None and Path(args.classes).read_bytes()[: len(SAVED)] != SAVED:
        raise UserError(f"{args.classes}: is no file of classes; `repmet detect --save` writes one")
    folder = Path(args.project) if args.project else _default_project(args.images)
    gallery = Gallery(args.images, hidden=folder)

    def open_teacher() -> Teacher:
        from repmet import FewShotDetector

        return Teacher(FewShotDetector(args.checkpoint, cache=folder / "cache"), args.classes)

    def open_classifier() -> Classifier:
        from repmet import FewShotClassifier

        return FewShotClassifier(args.checkpoint)

    sock = bound(args.host, args.port)
    session: Session | WholeSession
    try:
        if args.whole:
            session = WholeSession(gallery, WholeProject(folder), open_classifier)
        else:
            session = Session(gallery, Project(folder), open_teacher)
    except BaseException:
        sock.close()
        raise
    print(f"{len(gallery)} images; the project is kept in {folder}", flush=True)
    for path in gallery.left_out:
        print(f"passed over: {path} (a link that leads out of the folder)", file=sys.stderr)
    if args.host not in LOOPBACK:
        print(
            f"--host {args.host}: whoever can reach this machine by network and knows the address may see these images and "
            "change the marks; what is sent is not encrypted",
            file=sys.stderr,
        )
    try:
        layout = whole_layout if args.whole else boxes_layout
        serve(session, sock, host=args.host, browser=not args.no_browser, layout=layout)
    finally:
        session.end()
    return 0


def _default_project(images: Sequence[str]) -> Path:
    """Inside of the folder, where one folder is named, so that it is found again from anywhere; else the working folder."""
    only = Path(images[0]).expanduser()
    return (only if len(images) == 1 and only.is_dir() else Path()) / PROJECT


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", default=["."], metavar="FOLDER|FILE", help="images (default: this folder's)")
    parser.add_argument("--whole", action="store_true", help="sort whole images into classes instead of marking boxes")
    parser.add_argument("--project", metavar="DIR", help=f"what is drawn is kept there (default: {PROJECT} in FOLDER)")
    parser.add_argument("--classes", metavar="FILE", help="begin with these classes, as `repmet detect --save` wrote them")
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="another detector than the one that ships: a file or a run folder"
    )
    parser.add_argument("--port", type=int, metavar="N", help="of the page (default: the first free one from 8425)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where the page listens (default: 127.0.0.1, this machine alone). With another, such as 0.0.0.0, everybody who "
        "can reach this machine and knows the address with its token sees the images and changes the marks, unencrypted",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
