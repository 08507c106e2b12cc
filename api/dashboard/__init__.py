"""The dashboard: one page at `/` and its files; everything that it shows comes over the same routes that any client has."""
