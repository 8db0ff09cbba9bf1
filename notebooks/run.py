"""Runs one notebook from its own folder and writes it with its outputs: run.py NOTEBOOK OUTPUT. A cell that fails ends it with an error."""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.util import ensure_async

CELL_SECONDS = 300
FLUSH_SECONDS = 30



class LateOutputClient(NotebookClient):
    """Keeps what the kernel shows after it has called the cell ended: on a busy machine Deno sends a display behind the `idle` it belongs before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_cell_executed = self.take_late_outputs

    async def take_late_outputs(self, cell: Any, cell_index: int, execute_reply: dict[str, Any]) -> None:
        """Runs nothing once more: whatever the cell has shown comes before that request's own `idle`."""
        assert self.kc is not None
        cell_request = execute_reply["parent_header"]["msg_id"]
        flush_request = await ensure_async(self.kc.execute("void 0;", silent=True, store_history=False))
        while True:
            message = await ensure_async(self.kc.get_iopub_msg(timeout=FLUSH_SECONDS))
            parent, kind = message["parent_header"].get("msg_id"), message["msg_type"]
            if parent == flush_request and kind == "status" and message["content"]["execution_state"] == "idle":
                return
            if parent in (cell_request, flush_request) and kind == "display_data":
                self.process_message(message, cell, cell_index)


source, target = Path(sys.argv[1]), Path(sys.argv[2])
notebook = nbformat.read(source, as_version=4)
client = LateOutputClient(
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
