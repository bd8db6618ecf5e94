"""The exercises, one module a chapter: what is tried on an answer, and what it is worth."""
