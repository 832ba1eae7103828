"""The twin in the browser; it knows the service only through its HTTP API."""
