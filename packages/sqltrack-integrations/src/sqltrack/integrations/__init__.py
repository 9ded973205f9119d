"""Log from training frameworks, with one module for each framework.

Import the module of your framework, such as `sqltrack.integrations.lightning`. This package imports none of them.
"""

__all__: list[str] = []
