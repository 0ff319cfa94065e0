"""Few-shot detection: Faster R-CNN on mmdet with the RepMet head, episodes, metrics, and the three commands."""

if __name__ == "detection":  # `python -m detection...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
else:
    from repmet.detection.mmcv_ops import quiet, table

    table.install()  # here, so that it comes before anything of mmcv
    quiet.install()
