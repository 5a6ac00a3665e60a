"""A W&B-compatible server on loopback, for the unmodified SDK and without an account.

Tests enter `wandb_server()`; `python -m tests.support.wandb_server` starts one by hand.
"""

from tests.support.wandb_server.exports import filed_history
from tests.support.wandb_server.faults import (
    Fault,
    Faults,
    dropped,
    hanging,
    html_page,
    late,
    refused,
    throttled,
    truncated,
)
from tests.support.wandb_server.requests import Request, RequestLog
from tests.support.wandb_server.server import (
    API_KEY,
    WandbServer,
    append_rows,
    wandb_server,
)
from tests.support.wandb_server.storage import Run, Store
from tests.support.wandb_server.switches import Switches

__all__ = [
    "API_KEY",
    "Fault",
    "Faults",
    "Request",
    "RequestLog",
    "Run",
    "Store",
    "Switches",
    "WandbServer",
    "append_rows",
    "dropped",
    "filed_history",
    "hanging",
    "html_page",
    "late",
    "refused",
    "throttled",
    "truncated",
    "wandb_server",
]
