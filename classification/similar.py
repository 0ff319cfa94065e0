"""The images most like yours, among those that `embed` has embedded.

    python -m classification.similar a.jpg --in photos.npz
    python -m classification.similar my_queries --in photos.parquet --number 20 --out work_dirs/similar

Prints, for each query, the nearest images and their squared distances, and writes `similar.csv`, `similar.json` and
`index.html`, a page of them. The file names the encoder. A query that is itself in the file is not its own answer. Exact, by
faiss where it is installed. Exit code: 0; 1 where queries could not be read and others were; 2 for an error.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from repmet.classification.embed import embedded
from repmet.classification.embedding_file import ImageEmbeddings, read_embeddings
from repmet.classification.image_encoder import open_encoder
from repmet.classification.learning import thumbnail
from repmet.classification.nearest import nearest
from repmet.classification.pictures.html_page import INDEX, PICTURES, HtmlPage, check_page, figure
from repmet.data.files.atomic import check_folder, write_text
from repmet.data.files.output_folder import output_folder
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.wording import counted, on_a_line

PROG = "python -m classification.similar"
TABLE, JSON = "similar.csv", "similar.json"
SHOWN = 200  # queries on the page, at most


def run(args: argparse.Namespace) -> int:
    """The command: everything that may refuse comes before any image is looked at."""
    if args.number < 1:
        raise UserError(f"--number is at least 1, not {args.number}")
    kept, out = read_embeddings(args.file), check_folder(args.out)
    check_page(out, (TABLE, JSON))
    inputs, unreadable = list(image_inputs(args.queries)), []
    encoder = open_encoder(kept.encoder["source"], size=kept.encoder["size"][0])
    if encoder.digest != kept.encoder["digest"]:
        raise UserError(f"{args.file}: was made with other weights of {kept.encoder['source']}; embed the images again")
    queries, vectors = embedded(encoder, inputs, args.batch_size, unreadable)
    indices, d2 = nearest(vectors, kept.vectors, args.number + 1)  # one more: a query may be in the file itself
    rows = [row_of(query, kept, *pair, args.number) for query, *pair in zip(queries, indices, d2, strict=True)]
    for row in rows:
        print(f"{on_a_line(row['query'])}:")
        for answer in row["similar"]:
            print(f"    {answer['distance']:.3f}  {on_a_line(answer['image'])}")
    text = io.StringIO()
    lines = [(row["query"], k, a["image"], a["distance"]) for row in rows for k, a in enumerate(row["similar"], 1)]
    csv.writer(text, lineterminator="\n").writerows([("query", "rank", "image", "distance"), *lines])
    with output_folder(out, renewed=PICTURES) as aside:
        write_text(aside / TABLE, text.getvalue())
        write_text(aside / JSON, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        write_page(aside, queries, rows)
    for line in unreadable:
        print(f"passed over: {on_a_line(line)}", file=sys.stderr)
    print(f"written: {out / TABLE}, of {counted(len(rows), 'image')}; look at {out / INDEX}")
    return 1 if unreadable else 0


def row_of(query: ImageInput, kept: ImageEmbeddings, indices: Any, d2: Any, number: int) -> dict[str, Any]:
    """What is written of a query: its name, and of the nearest images but itself the names and squared distances."""
    itself = None if query.path is None else query.path.resolve()
    answers = [(kept.names[i], round(float(distance), 6)) for i, distance in zip(indices, d2, strict=True)]
    others = [(name, distance) for name, distance in answers if itself is None or Path(name).resolve() != itself]
    return {"query": query.name, "similar": [{"image": name, "distance": d} for name, d in others[:number]]}


def write_page(out: Path, queries: Sequence[ImageInput], rows: Sequence[dict[str, Any]]) -> Path:
    """A row a query: the query, and the images nearest to it."""
    page, drawn = HtmlPage(out), {}

    def small(name: str, image: ImageInput | None = None) -> str:
        if name not in drawn:
            try:
                source = image or image_inputs([name])[0]
                drawn[name] = page.picture(Image.fromarray(thumbnail(source.open())), f"image_{len(drawn):05d}")
            except (UserError, OSError):  # moved since it was embedded, or an address that does not answer
                drawn[name] = ""
        return drawn[name]

    body = []
    for query, row in list(zip(queries, rows, strict=True))[:SHOWN]:
        answers = "".join(figure(small(a["image"]), f"{a['distance']:.3f}", a["image"]) for a in row["similar"])
        asked = figure(small(query.name, query), Path(query.name).name, query.name)
        body.append(f"<tr><td>{asked}</td><td>{answers}</td></tr>")
    more = f"<p>{len(rows) - SHOWN} more queries are in similar.csv.</p>" if len(rows) > SHOWN else ""
    head = "<tr><th>query</th><th>nearest images, by squared distance</th></tr>"
    return page.write("Similar images", f"{more}<table>{head}{''.join(body)}</table>")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__.replace(PROG, prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("queries", nargs="+", metavar="QUERY", help="files, folders, patterns, addresses")
    parser.add_argument("--in", dest="file", required=True, metavar="FILE", help="what embed wrote")
    parser.add_argument("--number", type=int, default=10, metavar="K", help="images of each query (10)")
    parser.add_argument("--out", default="work_dirs/similar", metavar="DIR", help="where to write (work_dirs/similar)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="B", help="images at once (default: 8)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
