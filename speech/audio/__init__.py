"""Audio files and arrays: reading, writing, resampling, bands, tags."""
