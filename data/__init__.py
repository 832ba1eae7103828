"""Files that ship with the product, read through importlib.resources."""
