"""Real stand-ins that ship with the product: a phantom scanner, a small PACS, HealthImaging."""
