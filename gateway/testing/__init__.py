"""Real stand-ins that ship with the product: a phantom scanner and a small PACS."""
