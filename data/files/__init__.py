"""Files: downloaded, unpacked, decoded, kept, and written whole or not at all."""
