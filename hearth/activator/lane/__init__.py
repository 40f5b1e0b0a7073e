"""The lane: what a request that names an LLMService goes through, in callbacks. Compiled in the image."""
