"""Readers of layouts: VOC, COCO, folders of classes, trees over classes; and what they give."""
