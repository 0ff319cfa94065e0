"""Annotations of VOC devkits, written by hand."""


def xml(*objects: str, size: str = "<size><width>60</width><height>40</height><depth/></size>") -> str:
    return f"<annotation><folder>x</folder>{size}{''.join(objects)}</annotation>"


def thing(name: str, x1, y1, x2, y2, more: str = "<difficult>0</difficult>") -> str:
    corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"
