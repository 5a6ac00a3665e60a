"""Values as JSON can say them."""

import math
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any


class Cleaner:
    """Makes values fit for JSON, and counts what JSON cannot say."""

    def __init__(self) -> None:
        self.n_nonfinite = 0

    def clean(self, value: Any) -> Any:
        """The value with null for NaN and infinities, which are counted."""
        match value:
            case dict():
                return {str(name): self.clean(one) for name, one in value.items()}
            case list() | tuple():
                return [self.clean(one) for one in value]
            case Decimal() | float():
                return self._number(float(value))
        return _plain(value)

    def _number(self, value: float) -> float | None:
        if math.isfinite(value):
            return value
        self.n_nonfinite += 1
        return None


def _plain(value: Any) -> Any:
    """Values of one piece that JSON does not know."""
    match value:
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
    return value
