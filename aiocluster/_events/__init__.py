"""BOTH SIDES. What is behind ``on()``, ``off()``, ``wait_for()`` and ``events()``."""
