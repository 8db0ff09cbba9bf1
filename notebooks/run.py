"""Runs one notebook from its own folder and writes it with its outputs: run.py NOTEBOOK OUTPUT. A cell that fails ends it with an error."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELL_SECONDS = 300

source, target = Path(sys.argv[1]), Path(sys.argv[2])
notebook = nbformat.read(source, as_version=4)
client = NotebookClient(
    notebook,
    timeout=CELL_SECONDS,
    kernel_name="deno",
    resources={"metadata": {"path": str(source.resolve().parent)}},
)
try:
    client.execute()
finally:
    for cell in notebook.cells:
        # Times of execution would make every run another file.
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, target)
