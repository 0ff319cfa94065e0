"""A program that draws one box after another in a project, until it is killed."""

DRAWS = """
import sys
from repmet.page.marks import Mark
from repmet.page.project import Project
project = Project(sys.argv[1])
project.sizes["a.png"] = (500, 500)
while True:
    number = project.new_number()
    project.change(project.state.with_mark(Mark(number, "a.png", (0, 0, 2 + number % 400, 50), "nut")))
    print(number, flush=True)
"""
