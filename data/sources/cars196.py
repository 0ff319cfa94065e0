"""Cars-196: 16,185 photographs of 196 models of cars; 98 to train on, 98 to retrieve in.

J. Krause, M. Stark, J. Deng, L. Fei-Fei, 2013. It is not downloaded: lay out `cars196/images/<class>/*.jpg`.
"""

from repmet.data.sources.class_halves import reader

read = reader("cars196/images", (16_185, 196), "Cars-196")
