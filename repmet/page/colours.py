"""Colours of classes that people with any colour vision tell apart: Okabe and Ito's (2008), without black and yellow.

Colour never stands alone: every box also carries its class's digit and name, and its line says what was decided.
"""

_OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")


def colour(number: int) -> str:
    """Of the class with a number from 0; after six they come again, with another digit."""
    return _OKABE_ITO[number % len(_OKABE_ITO)]


def ink(number: int) -> str:
    """What is read on that colour: the one of black and white with more contrast."""
    red, green, blue = (int(colour(number)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2
    return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"
