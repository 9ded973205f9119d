from typing import Any

class Callback:
    params: dict[str, Any]
    @property
    def model(self) -> Any: ...
