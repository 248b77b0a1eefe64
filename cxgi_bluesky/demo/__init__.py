"""The demonstration: on soft devices (`run`), or over Channel Access (`over_epics`). Importing this imports nothing."""
