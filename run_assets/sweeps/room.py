"""How many trials may start: what models, servers and the budget leave."""

from collections import Counter
from collections.abc import Iterable

from run_assets.sweeps.config import Server, SweepConfig


class Room:
    """Room that is left, over all managers; it shrinks as trials take it.

    Attributes:
        full: Models that no further trial may start of.
        affordable: How many trials the budget allows; ``None`` for any number.
    """

    def __init__(
        self,
        config: SweepConfig,
        running: Iterable[tuple[str, str | None, int]],
        affordable: int | None = None,
    ) -> None:
        """Count what runs.

        Args:
            config: Of the sweep.
            running: Model, name of the server and number of trials under way.
            affordable: Trials that the budget allows; ``None`` for any number.
        """
        self._config = config
        self._models: Counter[str] = Counter()
        self._servers: Counter[str | None] = Counter()
        self.full: list[str] = []
        self.affordable = affordable
        for model, server, count in running:
            self._models[model] += count
            self._servers[server] += count

    def admits(self, model: str) -> bool:
        """There is room for a trial of the model; if not, the model is full."""
        is_limited = self._models[model] >= self._config.limit_of(model)
        is_homeless = bool(self._config.server_configs) and not self._server(model)
        if is_limited or is_homeless:
            self.full.append(model)
        return not (is_limited or is_homeless)

    def take(self, model: str) -> Server | None:
        """Reserve the room of one trial, on the server that has most of it left."""
        server = self._server(model)
        self._models[model] += 1
        if server:
            self._servers[server.name] += 1
        return server

    def _server(self, model: str) -> Server | None:
        free = {
            one: one.max_concurrent_processes - self._servers[one.name]
            for one in self._config.servers_of(model)
        }
        best = max(free, key=lambda one: free[one], default=None)
        return best if best and free[best] > 0 else None
