"""The version of the package, which the build, the manual and `show_versions` read here."""

__version__ = "0.1.0.dev0"
