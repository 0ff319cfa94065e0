"""One face for images and for pixels: (B, C) stays, (B, C, H, W) becomes B * H * W rows and is put together again."""

from torch import Tensor


def as_rows(values: Tensor) -> Tensor:
    """(B, C) as it is; (B, C, H, W) as (B * H * W, C).

    Raises:
        ValueError: another number of dimensions.
    """
    if values.dim() == 2:
        return values
    if values.dim() == 4:
        return values.movedim(1, -1).flatten(0, 2)
    raise ValueError(f"one row an image, (B, C), or one a pixel, (B, C, H, W), is expected, not {tuple(values.shape)}")


def as_given(rows: Tensor, values: Tensor) -> Tensor:
    """The rows (n, K) in the form of the `values` that they were made of: (B, K) or (B, K, H, W)."""
    if values.dim() == 2:
        return rows
    batch, _, height, width = values.shape
    return rows.unflatten(0, (batch, height, width)).movedim(-1, 1)


def rows_and_labels(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (n, K) and labels (n,), of (B, K) and (B,), or of (B, K, H, W) and (B, H, W).

    Raises:
        ValueError: shapes that do not fit.
    """
    rows = as_rows(scores)
    if labels.shape != scores.shape[:1] + scores.shape[2:]:
        raise ValueError(
            f"scores (B, K) go with labels (B,), and (B, K, H, W) with (B, H, W), not {tuple(scores.shape)} with "
            f"{tuple(labels.shape)}"
        )
    return rows, labels.flatten()
