"""One module per data source: fetch or make, verify, lay out. The files land beside it, ignored by git."""
