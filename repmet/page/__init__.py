"""`repmet page`: mark one box on a page in the browser, see all others.

The data's way: `gallery` (the images that may be shown) and `project` (marks on disk) -> `teacher` (the detector follows the
marks) -> `finder` (looks at images in the background) -> `session` (what a person can do) -> `screen` (what is shown).
All up to `session` is plain Python without a browser. The package knows the public face of `repmet` and nothing below it.
"""
