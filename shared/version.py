"""The version of the distribution that all three packages come in."""

from importlib import metadata

try:
    __version__ = metadata.version("anchored-diffusion")
except metadata.PackageNotFoundError:  # run from a clone that is not installed
    __version__ = "0+unknown"
