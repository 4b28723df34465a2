"""Training of denoisers on Lightning."""
