"""Embed images: a vector each, in a file for `similar` and for tools of your own.

    python -m classification.embed --images my_photos --out photos.npz
    python -m classification.embed resnet18 --images my_photos 'more/*.jpg' --out photos.parquet

`photos.npz` holds the arrays `names` and `embeddings` (n, e), float32; a Parquet file the columns `image` and `embedding`.
Both name the encoder. Embeddings of the default encoder are of unit length. What was stopped is gone on with, and
torchrun shares the images. Exit code: 0; 1 where images could not be read and the others were embedded; 2 for an error.
"""

import argparse
import base64
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from repmet.classification.decoded_batches import batches
from repmet.classification.embedding_file import check_replaceable, check_suffix, write_vectors
from repmet.classification.image_encoder import ImageEncoder, open_encoder
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.processes import join, process_number, processes
from repmet.experiments.running.shared_images import UNFINISHED, SharedImages, asked
from repmet.progress import progress
from repmet.wording import counted, on_a_line

PROG = "python -m classification.embed"


def each_embedded(
    encoder: ImageEncoder, inputs: list[ImageInput], batch_size: int, unreadable: list[str] | None
) -> Iterator[tuple[ImageInput, np.ndarray]]:
    """Each image that can be read with its embedding (e,), in their order.

    Args:
        unreadable: as `batches` takes it.
    """
    looked = batches(inputs, encoder.pixels, batch_size, unreadable)
    for batch, pixels in progress(looked, "embedding", -(-len(inputs) // batch_size)):
        yield from zip(batch, encoder.embedded(pixels), strict=True)


def embedded(
    encoder: ImageEncoder, inputs: list[ImageInput], batch_size: int, unreadable: list[str] | None
) -> tuple[list[ImageInput], np.ndarray]:
    """The images that could be read and their embeddings (n, e). Arguments as of `each_embedded`.

    Raises:
        ValueError: none can be read.
    """
    if not (pairs := list(each_embedded(encoder, inputs, batch_size, unreadable))):
        raise UserError(f"none of {counted(len(inputs), 'image')} can be read: {(unreadable or ['?'])[0]}")
    images, vectors = zip(*pairs, strict=True)
    return list(images), np.stack(vectors)


def run(args: argparse.Namespace) -> int:
    """The command: everything that may refuse comes before any image is looked at."""
    join()
    path = check_suffix(args.out)
    if process_number() == 0:
        check_replaceable(path)
    inputs, mine = list(image_inputs(args.images)), []
    encoder = open_encoder(args.encoder, size=args.size)
    about = {"source": encoder.source, "size": list(encoder.size), "digest": encoder.digest}
    unfinished = path.with_name(f"{path.name}.{UNFINISHED}")
    shared = SharedImages(inputs, unfinished, asked(args, [], path.parent) + encoder.digest[:8])
    for image, vector in each_embedded(encoder, shared.mine, args.batch_size, mine):
        shared.add(image, {"embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()})
    if not shared.finish(mine):
        return 0
    unreadable = shared.problems()
    if len(unreadable) == len(inputs):
        shared.remove()
        raise UserError(f"none of {counted(len(inputs), 'image')} can be read: {unreadable[0]}")
    names = [image.name for image in shared.looked_at()]
    vectors = (np.frombuffer(base64.b64decode(line["embedding"]), "<f4") for _, _, line in shared.entries())
    dimensions = write_vectors(names, vectors, about, path)
    for line in unreadable:
        print(f"passed over: {on_a_line(line)}", file=sys.stderr)
    print(f"written: {path}, {counted(len(names), 'image')} in {dimensions} dimensions")
    shared.remove()
    return 1 if unreadable and processes() == 1 else 0  # torchrun takes every other code for a death


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__.replace(PROG, prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder", nargs="?", metavar="ENCODER", help="as `repmet classify` takes it")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="files, folders, patterns, addresses")
    parser.add_argument("--out", required=True, metavar="FILE", help="to write: .npz or .parquet")
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side that images are brought to (default: the encoder's)"
    )
    parser.add_argument("--batch-size", type=int, default=8, metavar="B", help="images at once (default: 8)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
