"""The controller: applies what the translator renders for every LLMService, and writes its status."""
