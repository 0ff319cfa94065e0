"""Numbers of things in messages: 1 class, 2 classes."""


def counted(number: int, thing: str) -> str:
    """The number with its noun, in the plural where it is not one: 0 images, 1 image, 3 boxes."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}es" if thing.endswith(("s", "x", "ch", "sh")) else f"{number} {thing}s"
