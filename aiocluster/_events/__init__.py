"""The implementation of ``on()``, ``off()``, ``wait_for()`` and ``events()``, for both sides."""
