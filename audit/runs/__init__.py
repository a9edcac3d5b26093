"""The run folder: written once, atomically; resumed; sealed; read back."""
