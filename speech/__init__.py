"""Speech enhancement by diffusion around the noisy recording (the package's issue builds it on the shared core)."""
