"""Caltech-UCSD Birds 200-2011: 11,788 photographs of 200 species; 100 to train on, 100 to retrieve in.

C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie, 2011. It is not downloaded: lay out `cub200/images/<class>/*.jpg`.
"""

from repmet.data.sources.class_halves import reader

read = reader("cub200/images", (11_788, 200), "CUB-200-2011")
