"""Contents of files: a JSON document with its checksum, or a Parquet table with page checksums, to bytes and back."""
