"""What a named host is, asked read-only: one protocol a file, and the profile that fits best."""
