"""One module per published set: fetch, verify, lay out; `registry.read` finds them by name."""
